from analysis.evidence import Evidence
from checks.ordering import check
from hitless.history import History
from hitless.words import Mode, Verdict
from tests.clocks import ms
from tests.unit.histories import event, header, held, history, switch_events


def _findings(run: History) -> list[tuple[str, str]]:
    return [(finding.verdict.value, finding.code) for finding in check(Evidence(run), {})]


def test_all_routes_were_there_first() -> None:
    (finding,) = check(Evidence(history()), {})
    assert (finding.verdict, finding.code) == (Verdict.PASS, "routes-first")
    # The last of eight routes came at 67 ms, the IPPool at 100 ms.
    assert finding.text == "all 8 routes existed when the overlay was removed (the IPPool changed), the newest for 33.0 ms"


def test_each_late_route_says_how_late() -> None:
    findings = list(check(Evidence(history(events=switch_events(pool_ms=65.5))), {}))
    assert [(finding.code, finding.t_ns) for finding in findings] == [("route-late", ms(66)), ("route-late", ms(67))]
    assert findings[1].text == "the route to node-b2 in the table of zone b was created 1.5 ms after the overlay was removed"


def test_a_route_that_never_came() -> None:
    events = tuple(one for one in switch_events() if one.facts.get("node") != "node-b2" or one.name != "route.created")
    findings = list(check(Evidence(history(events=events)), {}))
    assert [(finding.verdict, finding.code) for finding in findings] == [(Verdict.FAIL, "route-missing")] * 2
    assert (
        findings[0].text
        == "the route to node-b2 in the table of zone a did not exist when the overlay was removed, and was never created"
    )


def test_a_route_that_was_deleted_again_is_missing() -> None:
    gone = event(80, "route.deleted", zone="a", cidr="100.96.0.0/24", node="node-a1")
    events = tuple(sorted((*switch_events(), gone), key=lambda one: one.t_ns))
    assert _findings(history(events=events)) == [("FAIL", "route-missing")]


def test_a_node_that_re_points_before_the_pool_is_seen_to_be_applied_counts() -> None:
    early = event(67, "calico.repointed", node="node-a1", mode="NATIVE", cause="IPPool", routes=3, began_ns=ms(64.5))
    events = tuple(sorted((*switch_events(), early), key=lambda one: one.t_ns))
    assert _findings(history(events=events)) == [("FAIL", "route-late")] * 3


def test_routes_that_were_not_created_were_there_before() -> None:
    events = [one for one in switch_events() if one.name != "route.created"]
    events.append(event(70, "routes.synced", nodes=4))
    (finding,) = check(Evidence(history(events=tuple(sorted(events, key=lambda one: one.t_ns)))), {})
    assert finding.text == "all 8 routes existed when the overlay was removed (the IPPool changed), since before the run"


def test_not_applicable_where_the_overlay_stays_or_never_was() -> None:
    assert _findings(held()) == [("PASS", "not-applicable")]
    assert _findings(history(header=header(start_mode=Mode.NATIVE))) == [("PASS", "not-applicable")]


def test_a_route_that_a_fault_took_away_is_missing_until_the_cure() -> None:
    lost = {"fault": "node-route-lost", "options": {"zone": "a", "node": "node-b1"}}
    faults = (event(80, "fault.injected", **lost), event(120, "fault.cured", **lost))
    events = tuple(sorted((*switch_events(), *faults), key=lambda one: one.t_ns))
    assert _findings(history(events=events)) == [("FAIL", "route-late")]


def test_a_route_that_is_deleted_only_later_was_there() -> None:
    events = [one for one in switch_events() if one.name != "route.created"]
    events += [event(70, "routes.synced", nodes=4), event(150, "route.deleted", zone="a", node="node-a1")]
    assert _findings(history(events=tuple(sorted(events, key=lambda one: one.t_ns)))) == [("PASS", "routes-first")]
