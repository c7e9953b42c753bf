"""What the bench of the release gate makes of its trials and outages."""

from __future__ import annotations

from bench.gate import GATE, PAIRS
from hitless.words import JsonObject


def trial(hold_ms: float | None, verdict: str = "PASS", lost: int = 0) -> JsonObject:
    return {"verdict": verdict, "lost": lost, "hold_ms": hold_ms}


def decision(growth_ms: float, verdict: str = "PASS") -> list[JsonObject]:
    """Seven pairs; the candidate of the last has another verdict."""
    verdicts = ["PASS"] * (PAIRS - 1) + [verdict]
    return [
        {"baseline": trial(80 + number), "candidate": trial(80 + number + growth_ms, said)}
        for number, said in enumerate(verdicts)
    ]


def test_decisions_are_counted_by_the_primary_rule_and_an_inconclusive_trial_decides_nothing() -> None:
    outage = {"least": 2.0, "most": 3.0, "outages": 8, "found": 8, "samples": 64, "samples_found": 32}
    empty = {"least": 3.0, "most": 4.0, "outages": 0, "found": 0, "samples": 0, "samples_found": 0}
    decisions = [decision(0), decision(0), decision(100), decision(0, "INCONCLUSIVE")]
    counts, outages = GATE.show({"rate_hz": 50.0, "decisions": decisions, "outages": [outage, empty]})
    assert counts.rows[0] == ("in the lab", "4", "2", "1", "1")
    assert counts.rows[1][:2] == ("simulated from the same trials", "4")
    assert "Of 56 gated trials, 1 was inconclusive and 0 were with loss" in counts.note
    assert "With 1 false stop in 4 decisions, the probability of one is at most 75%" in counts.note
    assert outages.rows == (("2 to 3", "8", "8", "100.0%", "50.0%"), ("3 to 4", "0", "0", "", ""))
