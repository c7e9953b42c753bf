"""What a test needs of the kernel: it is skipped where that is missing, with the name and the remedy."""

from __future__ import annotations

import os

import pytest

from clusters.lab.machine import capabilities, examine_lab
from hitless.words import Capability

CPUS = len(os.sched_getaffinity(0))


def second_cpu(reason: str) -> pytest.MarkDecorator:
    """Skip where there is one CPU: what the test observes is lost there in the lateness of the agents."""
    return pytest.mark.skipif(CPUS == 1, reason=f"missing: a second CPU, for {reason}")


def need(capability: Capability) -> None:
    """Skip the test where the lab does not offer this on this machine; the capability has the name of the kernel's feature."""
    if capability not in capabilities():
        remedies = [feature.remedy for feature in examine_lab() if feature.name == capability]
        pytest.skip(f"missing: {capability}: {'; '.join(remedies)}")
