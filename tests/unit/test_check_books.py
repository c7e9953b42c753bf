from dataclasses import replace

from analysis.evidence import Evidence
from analysis.ledger import Place
from checks.books import check
from hitless.history import History
from hitless.words import FlowClass, FlowId, FlowRole, IpFamily, Verdict
from tests.unit.histories import QUIET, history, lost, records

Counters = dict[str, dict[str, int]]


def _counters(**changes: dict[str, int]) -> Counters:
    """Two nodes and a router that passed 100 packets on: each line of the case diagram is met."""
    host = {
        "Ip.InReceives": 100,
        "Ip.InDelivers": 50,
        "Ip.ForwDatagrams": 50,
        "Ip.OutRequests": 50,
        "Ip.OutTransmits": 100,
        "Udp.NoPorts": 0,
        "Udp.InErrors": 0,
    }
    return {name: host | changes.get(name, {}) for name in ("node_a1", "vpc", "node_b1")} | {
        "machine": {"Neigh.table_fulls": 0}
    }


def _history(lost_probes: int, **changes: dict[str, int]) -> History:
    zero = {name: dict.fromkeys(counters, 0) for name, counters in _counters().items()}
    probes = records({1: lost(10, lost_probes), 2: QUIET})
    return history(records=probes, counters_before=zero, counters_after=_counters(**changes))


def _codes(run: History, **budgets: float | None) -> list[tuple[str, str]]:
    return [(finding.verdict.value, finding.code) for finding in check(Evidence(run), dict(budgets))]


def test_no_counters_is_said() -> None:
    assert _codes(history()) == [("PASS", "counters-not-available")]


def test_some_counters_are_not_enough() -> None:
    run = history(counters_before={"vpc": {"Ip.InReceives": 1}}, counters_after={"vpc": {"Ip.InReceives": 2}})
    assert _codes(run) == [("PASS", "counters-not-available")]


def test_nothing_lost_and_nothing_dropped() -> None:
    (finding,) = check(Evidence(_history(0)), {})
    assert (finding.code, finding.text) == ("books-balanced", "0 probes lost; the kernel dropped nothing")


_EACH_KIND: Counters = {
    # The router drops 3 of its input for want of a route.
    "vpc": {"Ip.ForwDatagrams": 47, "Ip.OutTransmits": 97, "IpExt.InNoRoutes": 3},
    # 295 are sent in all and 291 received; of what it sends 2 never leave, and for 1 that came there was no socket.
    "node_b1": {"Ip.InReceives": 91, "Ip.InDelivers": 41, "Ip.OutTransmits": 98, "Udp.NoPorts": 1},
}


def test_each_kind_of_drop_is_found_at_its_place() -> None:
    run = _history(10, **_EACH_KIND)
    ledger = Evidence(run).ledger
    assert ledger is not None
    assert ledger.places == (
        Place(namespace="node_b1", input_drops=0, output_drops=2, socket_drops=1, reasons={"Udp.NoPorts": 1}),
        Place(namespace="vpc", input_drops=3, output_drops=0, socket_drops=0, reasons={"IpExt.InNoRoutes": 3}),
    )
    assert (ledger.link_drops, ledger.dropped, ledger.lost) == (4, 10, 10)
    assert (ledger.lost_unexplained, ledger.surplus) == (0, 0)
    (finding,) = check(Evidence(run), {})
    assert finding.text == ("10 probes lost; the kernel dropped 10 packets (3 on input, 2 on output, 1 at sockets, 4 on links)")


def test_more_lost_than_the_kernel_can_account_for() -> None:
    run = _history(12, **_EACH_KIND)
    (finding,) = check(Evidence(run), {})
    assert (finding.verdict, finding.code) == (Verdict.INCONCLUSIVE, "loss-unexplained")
    assert finding.text.startswith("2 of 12 lost probes not accounted for: the kernel dropped 10 packets (")
    assert _codes(run, lost_unexplained=2) == [("PASS", "books-balanced")]
    assert _codes(run, lost_unexplained=None) == [("PASS", "books-balanced")]


def test_what_an_older_kernel_does_not_say_is_named_with_its_bound() -> None:
    run = _history(12, **{**_EACH_KIND, "node_a1": {"Ip.OutRequestsUnknown": 2}})
    (finding,) = check(Evidence(run), {})
    assert (finding.verdict, finding.code) == (Verdict.INCONCLUSIVE, "loss-unexplained")
    assert finding.text.endswith("; it may also have refused up to 2 packets of the nodes' own senders")


def test_more_dropped_than_lost_is_other_traffic() -> None:
    assert _codes(_history(7, **_EACH_KIND)) == [("PASS", "books-balanced"), ("PASS", "drops-surplus")]


def test_a_late_probe_was_not_dropped() -> None:
    zero = {name: dict.fromkeys(counters, 0) for name, counters in _counters().items()}
    run = history(records=records({1: lost(10, 3, "L"), 2: QUIET}), counters_before=zero, counters_after=_counters())
    assert _codes(run) == [("PASS", "books-balanced")]


def test_a_lost_ipv6_probe_is_in_no_book_and_that_is_said() -> None:
    run = _history(3)
    ipv6 = replace(run, flows=tuple(replace(flow, ip_family=IpFamily.IPV6) for flow in run.flows))
    assert _codes(run) == [("INCONCLUSIVE", "loss-unexplained")]
    assert _codes(ipv6) == [("PASS", "ipv6-not-balanced"), ("PASS", "books-balanced")]


def test_control_flows_are_in_the_books_too() -> None:
    zero = {name: dict.fromkeys(counters, 0) for name, counters in _counters().items()}
    run = history(records=records({1: QUIET, 2: lost(10, 1)}), counters_before=zero, counters_after=_counters())
    assert _codes(run) == [("INCONCLUSIVE", "loss-unexplained")]


def _through_tunnel(*, decapsulated: int, no_ports: int = 0, router_drops: int = 0) -> History:
    """100 probes from a pod of node-a1 to one of node-b1 through the tunnel, as the kernel counts them; node-b1 sent 2 ICMP."""
    outer_in = 100 - router_drops
    counters = {
        "node-a1-mesh": {"Ip.OutRequests": 100, "Ip.OutTransmits": 100},
        # The inner packet is forwarded, the outer one is the node's own.
        "node-a1": {"Ip.InReceives": 100, "Ip.ForwDatagrams": 100, "Ip.OutRequests": 100, "Ip.OutTransmits": 200},
        "vpc": {"Ip.InReceives": 100, "Ip.ForwDatagrams": outer_in, "Ip.OutTransmits": outer_in},
        "node-b1": {
            "Ip.InReceives": outer_in + decapsulated,
            "Ip.InDelivers": outer_in,
            "Ip.ForwDatagrams": decapsulated,
            "Ip.OutRequests": 2,
            "Ip.OutTransmits": decapsulated + 2,
            "Icmp.OutMsgs": 2,
            "Udp.NoPorts": no_ports,
        },
        "node-b1-mesh": {"Ip.InReceives": decapsulated + 2, "Ip.InDelivers": decapsulated + 2, "Icmp.InMsgs": 2},
    }
    names = {name for values in counters.values() for name in values}
    zero = {namespace: dict.fromkeys(names, 0) for namespace in counters}
    after = {namespace: zero[namespace] | values for namespace, values in counters.items()}
    lost_probes = 100 - decapsulated
    probes = records({1: "X" * lost_probes + "." * decapsulated, 2: "." * 100})
    return history(records=probes, counters_before=zero, counters_after=after)


def test_what_a_tunnel_carried_whole_is_no_drop() -> None:
    (finding,) = check(Evidence(_through_tunnel(decapsulated=100)), {})
    assert finding.text == "0 probes lost; the kernel dropped nothing"


def test_an_encapsulated_packet_is_dropped_once_though_it_is_counted_twice() -> None:
    run = _through_tunnel(decapsulated=70, router_drops=30)
    ledger = Evidence(run).ledger
    assert ledger is not None
    assert (ledger.link_drops, ledger.tunnel_drops, ledger.dropped, ledger.lost) == (30, 30, 30, 30)
    (finding,) = check(Evidence(run), {})
    assert finding.text == (
        "30 probes lost; the kernel dropped 30 packets (30 on input, 30 on links, 30 of them counted twice, in a tunnel)"
    )


def test_a_deleted_tunnel_device_leaves_udp_without_a_socket() -> None:
    run = _through_tunnel(decapsulated=0, no_ports=100)
    ledger = Evidence(run).ledger
    assert ledger is not None
    assert (ledger.link_drops, ledger.tunnel_drops, ledger.dropped, ledger.lost) == (100, 100, 100, 100)
    assert [finding.code for finding in check(Evidence(run), {})] == ["books-balanced"]


def test_a_tunnel_devices_own_counts_are_taken_where_nodes_have_traffic_of_their_own() -> None:
    run = _through_tunnel(decapsulated=70, router_drops=30)
    tunnel = {"node-a1": (0, 100), "node-b1": (70, 0), "node-a2": (0, 0), "node-b2": (0, 0)}
    after = {name: dict(values) for name, values in run.counters_after.items()}
    for name, (taken, sent) in tunnel.items():
        after.setdefault(name, dict.fromkeys(after["vpc"], 0)).update({"Tunnel.InPackets": taken, "Tunnel.OutPackets": sent})
        # A host of a Service flow that sends more than it receives would upset the other way of counting.
        after[name]["Ip.OutRequests"] += 500
        after[name]["Ip.OutTransmits"] += 500
        after[name]["Ip.InReceives"] += 500
        after[name]["Ip.InDelivers"] += 500
    before = {name: dict.fromkeys(values, 0) for name, values in after.items()}
    service = replace(run.flows[0], id=FlowId(9), role=FlowRole.SERVICE)
    own = replace(run, flows=(*run.flows, service), counters_before=before, counters_after=after)
    ledger = Evidence(own).ledger
    assert ledger is not None
    assert (ledger.tunnel_drops, ledger.dropped, ledger.lost_unexplained) == (30, 30, 0)


def test_messages_lost_by_a_connection_are_no_dropped_packets() -> None:
    run = _history(3)
    broken = replace(run, flows=(replace(run.flows[0], flow_class=FlowClass.TCP_ESTABLISHED), *run.flows[1:]))
    ledger = Evidence(broken).ledger
    assert ledger is not None
    assert (ledger.lost, ledger.lost_unexplained) == (0, 0)
