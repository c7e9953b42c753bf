"""The double's decision in an observed case, in the words of the table."""

from __future__ import annotations

from dataclasses import replace

from gardener.feature_gates import FeatureGates
from gardener.gate import GateDecision, GateInput, Outcome, Reason, decide
from gardener.manifests.render import render
from gardener.observed.cases import Case
from gardener.releases import ExtensionRelease
from gardener.shoot import parse_shoot
from hitless.errors import UsageError
from hitless.words import JsonObject


def render_before(case: Case, release: ExtensionRelease) -> tuple[JsonObject, ...]:
    """Return the manifest of the Shoot before the change. Raises UsageError."""
    status = {key: value for key, value in case.shoot.get("status", {}).items() if key != "lastOperation"}
    earlier = replace(case, networking=case.networking or {}, kubernetes={}, shoot={**case.shoot, "status": status})
    return render(parse_shoot(earlier.make_shoot(case.before), "before"), _gates(release))


def ask_double(case: Case, release: ExtensionRelease) -> GateDecision | None:
    """Return the double's decision, or None where it refuses the Shoot, before the gate or after it."""
    try:
        manifest = list(render_before(case, release))
        shoot = parse_shoot(case.make_shoot(case.after), "after")
        decision = decide(
            GateInput(
                feature_gates=_gates(release),
                shoot=shoot,
                last_manifest=case.edit(manifest),
                nodes=case.make_nodes(),
                api_error=case.api_error or None,
            )
        )
        if decision.outcome is not Outcome.HOLD:
            render(shoot, _gates(release))
    except UsageError:
        return None
    return decision


def say(decision: GateDecision | None) -> str:
    """Return a decision in the table's words; `refused` where the double refuses the Shoot."""
    match decision:
        case None:
            return "refused"
        case GateDecision(outcome=Outcome.HOLD, missing=()):
            return "hold(api)"
        case GateDecision(reason=Reason.MANIFEST_UNREADABLE):
            return "not-applicable(unreadable)"
        case _:
            return decision.outcome.value


def _gates(release: ExtensionRelease) -> FeatureGates:
    return FeatureGates(seamless_overlay_switch=True, release=release)
