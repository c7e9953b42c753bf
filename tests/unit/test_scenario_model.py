"""Scenario files: what is shipped loads, and every mistake gives one message that names file, place, found and allowed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitless.documents import read_document
from hitless.errors import UsageError
from hitless.words import MILLISECOND, SECOND, Arm, Mode, Overlay, Profile
from scenarios.loading import CATALOGUE, catalogue, find_scenario, load_scenario
from scenarios.parts import PerProfile
from scenarios.plan import Options, make_case

PLAIN: dict[str, Any] = read_document(CATALOGUE / "plain-switch.yaml")
DOCUMENTS: list[dict[str, Any]] = [read_document(path) for path in catalogue()]
Change = Callable[[dict[str, Any]], object]


def write(folder: Path, document: object, name: str = "plain-switch") -> Path:
    """Write a scenario as a file that lies where the shipped ones do, next to their shoots."""
    path = folder / "scenarios" / f"{name}.yaml"
    if not path.parent.exists():
        path.parent.mkdir()
        for kind in ("shoots", "configurations"):
            shutil.copytree(CATALOGUE.parent / kind, folder / kind)
    path.write_text(json.dumps(document, sort_keys=True).replace("Infinity", ".inf").replace("NaN", ".nan"))
    return path


def changed(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(PLAIN)
    change(document)
    return document


def set_at(value: object, *keys: str) -> Change:
    """Return a change that puts `value` at a place, making the mappings on the way."""

    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document.setdefault(key, {})
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize("path", catalogue(), ids=lambda path: path.stem)
def test_what_is_shipped_loads(path: Path) -> None:
    scenario = load_scenario(path)
    assert (scenario.name, scenario.file) == (path.stem, path)
    assert set(scenario.arm_plans) <= {Arm.UNGATED, Arm.GATED}
    case = make_case(scenario, Options())
    assert (case.overlay, case.shoot.overlay) == (scenario.overlays[0], scenario.overlays[0])
    modes = [shoot.mode for shoot in (case.shoot, *case.wanted)]
    assert (modes[0], modes[-1]) == (scenario.start, scenario.wanted)


def test_the_catalogue_is_what_the_project_promises() -> None:
    assert {path.stem for path in catalogue()} >= {
        "plain-switch",
        "slow-routes",
        "route-quota",
        "strict-filter",
        "route-api-outage",
        "admission-unavailable",
        "feature-gate-off",
        "native-to-overlay",
        "other-configuration",
        "nothing-happens",
        "mutant-first-node",
        "mutant-ignores-reason",
    }


@pytest.mark.parametrize(
    ("change", "place", "found", "allowed"),
    [
        (lambda d: d.pop("title"), "title", "nothing", "a value"),
        (set_at(1, "titel"), "titel", "1", "Extra inputs are not permitted"),
        (set_at("Plain Switch", "name"), "name", "Plain Switch", "String should match pattern"),
        (set_at("other", "name"), "name", "other", "plain-switch, the name of the file"),
        (set_at("", "title"), "title", "", "at least 1 character"),
        (set_at("../shoots/none.yaml", "shoot"), "", "No such file or directory", "a readable file"),
        (set_at("a\0b", "shoot"), "", "embedded null byte", "a readable file"),
        (set_at("../configurations/defaults.yaml", "shoot"), "apiVersion", "calico.networking", "core.gardener.cloud/v1beta1"),
        (set_at("../shoots/aws-1.36.yaml", "controller_configuration"), "", "", "ControllerConfiguration"),
        (set_at("overlay", "start"), "start", "overlay", "'OVERLAY' or 'NATIVE'"),
        (set_at([], "overlays"), "overlays", "[]", "at least 1 item"),
        (set_at(["geneve"], "overlays"), "overlays.0", "geneve", "'ipip' or 'vxlan'"),
        (set_at("perhaps", "request", "overlay"), "request.overlay", "perhaps", "valid boolean"),
        (set_at("many", "request", "veth_mtu"), "request.veth_mtu", "'many'", ""),
        (set_at(1440, "request", "veth_mtu"), "request.veth_mtu", "1440", "valid string"),
        (set_at(0, "topology", "zones"), "topology.zones", "0", "greater than or equal to 1"),
        (set_at(27, "topology", "zones"), "topology.zones", "27", "less than or equal to 26"),
        (set_at({"zones": 1, "nodes_per_zone": 1}, "topology"), "topology.nodes_per_zone", "1 * 1 nodes", "2 to 255"),
        (set_at({"zones": 2, "nodes_per_zone": 128}, "topology"), "topology.nodes_per_zone", "2 * 128 nodes", "2 to 255"),
        (set_at(3, "rp_filter"), "rp_filter", "3", "0, 1 or 2"),
        (set_at("best", "cloud", "route_controller"), "cloud.route_controller", "best", "'ideal' or 'faithful'"),
        (set_at(-1, "cloud", "create_ms"), "cloud.create_ms.fast", "-1", "greater than or equal to 0"),
        (set_at({"fast": 1}, "cloud", "create_ms"), "cloud.create_ms.gardener", "nothing", "a value"),
        (set_at(float("inf"), "cloud", "create_ms"), "cloud.create_ms.fast", "inf", "finite number"),
        (set_at({"c": 2}, "cloud", "quota"), "cloud.quota", "zone c", "the topology's zones a, b"),
        (set_at({"a": -2}, "cloud", "quota"), "cloud.quota.a", "-2", "greater than or equal to 0"),
        (set_at(0, "duration_s"), "duration_s.fast", "0", "at least 0.1"),
        (set_at(-1, "cloud", "calls_per_s"), "cloud.calls_per_s.fast", "-1", "greater than or equal to 0"),
        (set_at([{"name": "x"}], "faults"), "faults.0.at_ms", "nothing", "a value"),
        (
            set_at([{"name": "x", "at_ms": 7000}], "faults"),
            "faults.0.at_ms.fast",
            "7000",
            "at most 6000 ms, the end of the run",
        ),
        (set_at(["magic"], "needs"), "needs", "magic", "'overlay-ipip'"),
        (set_at(0.5, "rate_hz"), "rate_hz", "0.5", "greater than or equal to 1"),
        (set_at(20_000, "rate_hz"), "rate_hz", "20000", "less than or equal to 10000"),
        (set_at(float("nan"), "duration_s"), "duration_s.fast", "nan", "finite number"),
        (set_at([6], "duration_s"), "duration_s", "[6]", "a valid number"),
        (set_at([], "flows"), "flows.fast", "[]", "at least 1 item"),
        (set_at(["icmp"], "flows"), "flows.fast", "icmp", "udp as well"),
        (set_at(["udp", "sctp"], "flows"), "flows.fast.1", "sctp", "'udp', 'udp-overlay-mtu'"),
        (set_at(["udp", "udp-native-mtu"], "flows"), "flows.fast", "udp-native-mtu", "no such flows with start OVERLAY"),
        (set_at(["udp", "node-port"], "flows"), "flows.fast", "node-port", "add services to the checks of"),
        (set_at(["udp", "tcp-connect"], "flows"), "flows.fast", "tcp-connect", "add connections to the checks of"),
        (set_at({}, "arms", "GATED", "checks"), "arms.GATED.checks", "{}", "at least 1 item"),
        (set_at("later", "until"), "until", "later", "'settled' or 'end'"),
        (set_at({}, "arms"), "arms", "{}", "at least 1 item"),
        (set_at({}, "arms", "HALF"), "arms", "HALF", "'UNGATED' or 'GATED'"),
        (set_at("pass", "arms", "GATED", "expect"), "arms.GATED.expect", "pass", "'PASS', 'FAIL' or 'INCONCLUSIVE'"),
        (
            set_at(["magic"], "arms", "UNGATED", "because"),
            "arms.UNGATED.because",
            "magic",
            "a check of the arm: books, continuity",
        ),
        (set_at(["books"], "arms", "GATED", "because"), "arms.GATED.because", "books", "no entry, because every check passes"),
        (
            set_at("sleepy", "arms", "GATED", "mutant"),
            "arms.GATED.mutant",
            "sleepy",
            "opens-on-first-node, looks-at-first-node",
        ),
        (set_at({}, "arms", "GATED", "checks", "magic"), "arms.GATED.checks", "magic", "coverage, instrument, continuity"),
        (
            set_at({"downtime": 0}, "arms", "GATED", "checks", "continuity"),
            "arms.GATED.checks.continuity",
            "downtime",
            "corrupted, downtime_ms",
        ),
        (
            set_at({"downtime_ms": "none"}, "arms", "GATED", "checks", "continuity"),
            "arms.GATED.checks.continuity.downtime_ms",
            "'none'",
            "a number that is not negative, or null",
        ),
    ],
)
def test_a_mistake_gives_one_message(change: Change, place: str, found: str, allowed: str, tmp_path: Path) -> None:
    path = write(tmp_path, changed(change))
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    error = caught.value
    assert Path(error.where).is_relative_to(tmp_path)
    assert place in error.place
    assert found in str(error)
    assert allowed in str(error)
    assert str(error).count("\n") == 0
    assert str(error).startswith(f"{error.where}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_at(Mode.OVERLAY, "arms", "UNGATED", "end"), None),
        (
            set_at("yes", "request", "overlay"),
            "arms.GATED.end: found NATIVE; expected the start mode or the requested mode: OVERLAY",
        ),
        (
            lambda d: d.pop("request"),
            "arms.GATED.end: found NATIVE; expected the start mode or the requested mode: OVERLAY",
        ),
        (
            set_at("../shoots/aws-1.36-native.yaml", "shoot"),
            "request: found the values that the Shoot already has; expected a change of ",
        ),
        (set_at(Mode.NATIVE, "start"), "start: found NATIVE; expected OVERLAY, as .*aws-1.36.yaml says"),
        (set_at("../shoots/aws-1.36-vxlan.yaml", "shoot"), None),
        (set_at(["ipip", "vxlan"], "overlays"), None),
        (set_at(["vxlan"], "overlays"), "overlays: found vxlan; expected overlays that include ipip, as .*aws-1.36.yaml says"),
    ],
)
def test_an_arm_ends_in_the_start_mode_or_in_the_one_that_is_asked_for_and_the_shoot_is_not_contradicted(
    change: Change, message: str | None, tmp_path: Path
) -> None:
    document = changed(change)
    document |= {"start": str(document["start"])} if "start" in document else {}
    document["arms"]["UNGATED"]["end"] = str(document["arms"]["UNGATED"]["end"])
    path = write(tmp_path, document)
    if message is None:
        load_scenario(path)
        return
    with pytest.raises(UsageError, match=message):
        load_scenario(path)


def test_the_shoot_decides_what_the_scenario_does_not_say(tmp_path: Path) -> None:
    path = write(tmp_path, changed(set_at("../shoots/aws-1.36-vxlan.yaml", "shoot")))
    scenario = load_scenario(path)
    assert (scenario.start, scenario.overlays) == (Mode.OVERLAY, (Overlay.VXLAN,))
    assert make_case(scenario, Options()).overlay is Overlay.VXLAN
    native = changed(lambda d: d.pop("request"))
    native["shoot"] = "../shoots/aws-1.36-native.yaml"
    assert load_scenario(write(tmp_path, native)).start is Mode.NATIVE


def test_without_an_overlay_section_the_pool_that_calico_makes_decides(tmp_path: Path) -> None:
    path = write(tmp_path, changed(set_at("old.yaml", "shoot")))
    shoot = (CATALOGUE.parent / "shoots" / "aws-1.36.yaml").read_text()
    (path.parent / "old.yaml").write_text(shoot.replace("overlay:\n        enabled: true", "backend: none\n      ipip: Never"))
    assert load_scenario(path).start is Mode.NATIVE


@pytest.mark.parametrize("families", ["[IPv6]", "[IPv6, IPv4]"])
def test_a_shoot_whose_first_family_is_not_probed_is_refused(families: str, tmp_path: Path) -> None:
    path = write(tmp_path, changed(set_at("v6.yaml", "shoot")))
    shoot = (CATALOGUE.parent / "shoots" / "aws-1.36.yaml").read_text()
    (path.parent / "v6.yaml").write_text(shoot.replace("ipFamilies:\n      - IPv4", f"ipFamilies: {families}"))
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    found = families.strip("[]")
    assert str(caught.value).endswith(
        f"spec.networking.ipFamilies: found {found}; expected IPv4, or IPv4 and IPv6, because the switch concerns IPv4"
    )


def test_coverage_may_be_the_reason_though_no_arm_names_it(tmp_path: Path) -> None:
    path = write(tmp_path, changed(set_at(["coverage"], "arms", "UNGATED", "because")))
    assert load_scenario(path).arm_plans[Arm.UNGATED].because == ("coverage",)


NUMBERS = st.one_of(st.integers(), st.floats(), st.just(10**400))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.just("../shoots/aws-1.36.yaml"))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2)
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Return a shipped scenario with one to three places replaced, removed or doubled."""
    document: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = document
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(holder[key], dict | list) and draw(st.booleans()):
                holder = holder[key]
                continue
            match draw(st.sampled_from(["replace", "remove", "add"])):
                case "replace":
                    holder[key] = draw(VALUES)
                case "remove":
                    del holder[key]
                case "add" if isinstance(holder, dict):
                    holder[draw(st.sampled_from(["cloud", "faults", "quota", "mutant", "topology", "x"]))] = draw(VALUES)
                case _:
                    holder.append(draw(VALUES))
            break
    return document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(document=mutated(), profile=st.sampled_from(Profile), overlay=st.sampled_from([None, *Overlay]))
def test_a_file_of_any_content_raises_only_usage_errors(
    folder: Path, document: dict[str, Any], profile: Profile, overlay: Overlay | None
) -> None:
    name = document.get("name")
    is_usable = isinstance(name, str) and name.replace("-", "").isalnum() and name.isascii()
    path = write(folder, document, str(name) if is_usable else "plain-switch")
    try:
        case = make_case(load_scenario(path), Options(profile=profile, overlay=overlay))
    except UsageError as error:
        assert str(error).count("\n") == 0  # noqa: PT017 - a second kind of outcome, not the expected error
    else:
        assert case.scenario.duration_s.ns(profile, SECOND) >= 0


def test_numbers_are_given_once_or_for_each_profile(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, changed(set_at(12.5, "cloud", "create_ms"))))
    assert scenario.cloud.create_ms == PerProfile(fast=12.5, gardener=12.5)
    number = PerProfile(fast=40, gardener=250)
    assert [number.of(profile) for profile in (Profile.FAST, Profile.GARDENER)] == [40, 250]
    assert number.ns(Profile.GARDENER, MILLISECOND) == 250_000_000
    assert number.ns(Profile.FAST, SECOND) == 40 * SECOND
    case = make_case(scenario, Options(profile=Profile.GARDENER))
    assert (case.timings.route_create_ns, case.behaviour.create_ns) == (12_500_000, 12_500_000)


def test_a_scenario_is_found_by_name_or_by_path() -> None:
    assert find_scenario("plain-switch") == CATALOGUE / "plain-switch.yaml"
    assert find_scenario("my/own.yaml") == Path("my/own.yaml")
    with pytest.raises(UsageError, match=r"--scenario: no scenario plain-swich; did you mean plain-switch\?"):
        find_scenario("plain-swich")
    with pytest.raises(UsageError, match="--scenario: no scenario x; give a YAML file, or a name from `hitless scenarios`"):
        find_scenario("x")
    with pytest.raises(UsageError, match=r"own\.yaml: No such file or directory; give the path of a readable file"):
        load_scenario(find_scenario("my/own.yaml"))


def test_a_fault_of_ipv6_needs_a_shoot_with_ipv6(tmp_path: Path) -> None:
    at_ms = {"fast": 100, "gardener": 100}
    faults = [{"name": "node-prefix-lost", "options": {"node": "node-a1"}, "at_ms": at_ms}]
    path = write(tmp_path, changed(set_at(faults, "faults")))
    with pytest.raises(UsageError, match="faults: node-prefix-lost needs pods with IPv6; they have only IPv4"):
        load_scenario(path)
