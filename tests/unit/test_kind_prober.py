"""The kind prober where no pod ever ran an agent."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from clusters.kubernetes.prober import KindProber
from clusters.kubernetes.prober_pods import ProberPods
from hitless.errors import WorldError


class CrashedPods:
    """Pods whose program ends before it says anything."""

    endpoints = ()

    def each(self, names: object, _do: object) -> dict[str, object]:
        if tuple(cast("tuple[str, ...]", names)):
            raise AssertionError("there is no agent to ask")
        return {}


def test_a_run_whose_probers_never_ran_has_no_records_and_says_so(tmp_path: Path) -> None:
    prober = KindProber(cast("ProberPods", CrashedPods()))
    prober._directory = tmp_path
    with pytest.raises(WorldError, match="no records: no prober reported that it is running"):
        prober.collect()
