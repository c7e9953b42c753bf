"""What a run in the guest came to: one line per step, from the files that it left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.kernel.plans import Step

UNFINISHED_CODE = 20


def tell(folder: Path, steps: Sequence[Step], seconds: float) -> tuple[str, int]:
    """Return the closing lines, and the first exit code of a step that is not 0; a step that never ended has one too."""
    lines, codes = [], []
    for step in steps:
        result = folder / f"{step.name}.json"
        if result.exists():
            code = int(json.loads(result.read_text(encoding="utf-8"))["code"])
            lines.append(f"{step.name}: {count(folder / f'{step.name}.xml')}, exit code {code}")
        else:
            code = UNFINISHED_CODE
            lines.append(f"{step.name}: did not end")
        codes.append(code)
    lines.append(f"user-mode Linux took {seconds / 60:.1f} minutes")
    return "\n".join(lines), next((code for code in codes if code), 0)


def count(records: Path) -> str:
    """Return how many tests passed, failed and were skipped, and why they were; the last attempt of a test counts."""
    if not records.exists():
        return "no test was counted"
    attempts = list(ET.parse(records).getroot().iter("testcase"))  # noqa: S314 - our own file
    cases = {(case.get("classname"), case.get("name")): case for case in attempts}.values()
    skips = [case.find("skipped") for case in cases]
    reasons = Counter(skip.get("message", "") for skip in skips if skip is not None)
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    passed = len(cases) - failed - reasons.total()
    text = f"{passed} passed, {failed} failed, {reasons.total()} skipped"
    if len(attempts) > len(cases):
        text += f", {len(attempts) - len(cases)} repeated"
    return f"{text} ({'; '.join(f'{number} for {reason}' for reason, number in reasons.most_common())})" if reasons else text
