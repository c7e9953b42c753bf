"""Accuracy of hitless beside fping, irtt, iperf3 and ping, at the same time on the same path.

One pair of pods in different zones. The router drops in both directions for a random real length at a random phase, and
every tool watches the same outages at the same rate.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from analysis.classify import classify
from analysis.measure import find_outages
from bench.accuracy import BLUR_SHARE
from bench.estimates import SentProbes, by_count_ns, describe_errors
from bench.lab.accuracy import make_pair, probed_lab, wait_live
from bench.lab.injection import Lengths, Truth, inject, precedence
from bench.question import Question
from bench.tables import Table
from bench.watchers import LEAD_S, Estimate, Place, Watchers
from clusters.lab.network import LabNetwork
from clusters.lab.sharp_switch import SharpSwitch
from commands.terminal import print_progress
from hitless.clock import RunClock
from hitless.facts import Flow, ProbeSpec
from hitless.records import ProbeRecords
from hitless.words import SECOND, JsonObject, Nanoseconds
from probes.clocks import take_pair

RATES_HZ: Final = (100.0, 1000.0)
_OUTAGES: Final = 200
_OUTAGES_QUICK: Final = 12
_PAUSE_MS: Final = (220.0, 300.0)
_EDGE_S: Final = 0.5
_THRESHOLD_NS: Final = Nanoseconds(2 * SECOND)
_DURATION_NS_MAX: Final = Nanoseconds(900 * SECOND)


def _ask(is_quick: bool) -> JsonObject:  # noqa: FBT001 - the signature of every question
    return {"rates": [_measure(rate_hz, _OUTAGES_QUICK if is_quick else _OUTAGES) for rate_hz in RATES_HZ]}


def _measure(rate_hz: float, count: int) -> JsonObject:
    print_progress(f"peers at {rate_hz:g} Hz: {count} outages, all tools on one path ...")
    clock = RunClock()
    with probed_lab(clock) as (network, prober), tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        is_preferred = stack.enter_context(precedence())
        switch = stack.enter_context(SharpSwitch(network, [node.address for node in network.nodes]))
        (flow,) = make_pair(network)
        interval_ns = Nanoseconds(round(SECOND / rate_hz))
        probing = ProbeSpec(interval_ns=interval_ns, drain_ns=_THRESHOLD_NS, duration_ns_max=_DURATION_NS_MAX)
        prober.start([flow], probing, Path(folder) / "agents", clock.epoch_ns)
        wait_live(prober)
        place = _make_place(network, flow, rate_hz)
        watchers = Watchers(place, Path(folder), stack)
        watchers.start()
        pair = take_pair(clock.epoch_ns)
        truths = _inject_all(switch, watchers, place, count, clock.epoch_ns)
        watchers.stop()
        prober.stop()
        estimates = _our_estimates(flow, truths, prober.collect(), rate_hz) + watchers.estimates(truths, pair)
    sharp = [index for index, truth in enumerate(truths) if truth.blur_ns <= BLUR_SHARE * interval_ns]
    rows = [_make_row(estimate, truths, sharp, interval_ns) for estimate in estimates]
    rows += [{"tool": tool, "skipped": why} for tool, why in watchers.skipped.items()]
    return {
        "rate_hz": rate_hz,
        "injected": len(truths),
        "blurred": len(truths) - len(sharp),
        "have_precedence": is_preferred,
        "rows": rows,
    }


def _make_place(network: LabNetwork, flow: Flow, rate_hz: float) -> Place:
    addresses = {endpoint.name: endpoint.address for endpoint in network.endpoints}
    return Place(
        source=network.namespace_path(flow.source),
        destination=network.namespace_path(flow.destination),
        address=addresses[flow.destination],
        rate_hz=rate_hz,
    )


def _inject_all(switch: SharpSwitch, watchers: Watchers, place: Place, count: int, epoch_ns: int) -> list[Truth]:
    lengths, phases = Lengths(2, _PAUSE_MS), random.Random(3)  # noqa: S311 - phases, not secrets
    truths = []
    time.sleep(_EDGE_S)
    for _ in range(count):
        length_s = lengths.draw_s()
        watchers.expect(length_s)
        time.sleep(LEAD_S + place.interval_s * phases.random())
        truths.append(inject(switch, length_s, epoch_ns))
        time.sleep(lengths.draw_pause_s())
        watchers.note_end()
    time.sleep(_EDGE_S)
    return truths


def _our_estimates(flow: Flow, truths: Sequence[Truth], records: ProbeRecords, rate_hz: float) -> list[Estimate]:
    probes = classify(records.sender, records.reflector, _THRESHOLD_NS, is_log_whole=True)
    sent = SentProbes(sent_ns=probes.rows["send_began_ns"], is_lost=probes.is_lost)
    middles_ns, likelies_ns = [], []
    outages = find_outages(flow.id, probes)
    for truth in truths:
        found = [
            outage
            for outage in outages
            if outage.onset_after_ns <= truth.dropped_before_ns and outage.end_ns >= truth.restored_after_ns
        ]
        middles_ns.append(sum((outage.shortest_ns + (outage.longest_ns or 0)) / 2 for outage in found))
        likelies_ns.append(float(sum(outage.likely_ns or 0 for outage in found)))
    ways = {
        "likely length": likelies_ns,
        "middle of bounds": middles_ns,
        "count": [by_count_ns(sent, truth, 1e9 / rate_hz) for truth in truths],
    }
    return [Estimate(tool="hitless", by=by, lengths_ns=found, rate_hz=sent.rate_hz) for by, found in ways.items()]


def _make_row(estimate: Estimate, truths: Sequence[Truth], sharp: Sequence[int], interval_ns: float) -> JsonObject:
    errors_ns = [estimate.lengths_ns[index] - truths[index].middle_ns for index in sharp]
    unseen = sum(estimate.lengths_ns[index] == 0 and truths[index].middle_ns > interval_ns for index in sharp)
    rate_hz = None if estimate.rate_hz is None else round(estimate.rate_hz, 1)
    row: JsonObject = {"tool": estimate.tool, "by": estimate.by, "rate_reached_hz": rate_hz, "unseen": unseen}
    return row | describe_errors(errors_ns, interval_ns)


def _show(document: JsonObject) -> tuple[Table, ...]:
    return tuple(_make_table(found) for found in document["rates"])


def _make_table(found: JsonObject) -> Table:
    return Table(
        title=f"All tools on one path at {found['rate_hz']:g} Hz: {found['injected']} outages",
        columns=("tool", "estimate by", "reached", "mean error", "± 2 SE", "largest", "above 1", "unseen", "bias"),
        rows=tuple(_make_cells(row) for row in found["rows"]),
        note=(
            "Errors in intervals: estimate - middle of the truth. Unseen: outages longer than an interval that the tool does "
            f"not report. {found['blurred']} outages whose truth is not known to {BLUR_SHARE:g} of an interval are "
            "excluded for every tool. All tools run at once, "
            + ("all with real-time precedence." if found["have_precedence"] else "none with precedence.")
        ),
    )


def _make_cells(row: JsonObject) -> tuple[str, ...]:
    if "skipped" in row:
        return (row["tool"], f"skipped: {row['skipped']}", *[""] * 7)
    rate = "" if row["rate_reached_hz"] is None else f"{row['rate_reached_hz']:,.0f} Hz"
    if not row["outages"]:
        return (row["tool"], row["by"], rate, *["no sharp outage"], *[""] * 5)
    error = "" if row["standard_error"] is None else f"{2 * row['standard_error']:.2f}"
    numbers = (f"{row['mean']:.2f}", error, f"{row['largest']:.2f}", f"{row['above_one']}", f"{row['unseen']}")
    return (row["tool"], row["by"], rate, *numbers, f"{row['bias']:+.2f}")


PEERS: Final = Question(
    name="peers", text="accuracy beside fping, irtt, iperf3 and ping on the same path", ask=_ask, show=_show
)
