"""Offsets between the clocks of agents on different kernels, computed from the probes themselves, with their bounds.

A probe left its sender not before `send_began_ns` (t1) and its answer came back at `received` (t4), by the sender's clock; it
reached the reflector at t2 and its answer left there not before t3, by the reflector's. Nothing arrives before it was sent, so
the offset that turns the reflector's time into the sender's lies between t1 - t2 and t4 - t3, whatever the paths' delays are.
Every answered probe narrows that interval; the probes with the shortest round trip narrow it most. Clocks drift, so each window
of the run has an offset of its own, and the bound covers how much it changes from one window to the next.

Agents on one kernel (kind, the lab) have one clock: offset and bound are 0 and nothing is touched.

Pure. Source: RFC 5905 8 (the same four timestamps), RFC 8762 4.2-4.3 (where STAMP has them).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from hitless.records import NONE_NS, Rows

WINDOW_NS: Final = 5_000_000_000
"""Length of a window: long enough for many probes, short enough for clocks that drift by a few parts per million."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRows:
    """The records of one agent, on its own clock."""

    clock: str
    """From `probes.clocks.read_clock_id`."""
    epoch_bound_ns: int
    """Bound of the offset between its run clock and the harness's, from the exchange of the epoch; 0: they are one clock."""
    sender: Rows
    """SENDER_ROW."""
    reflector: Rows
    """REFLECTOR_ROW."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """Offset to add to the times of one clock, piecewise linear."""

    at_ns: tuple[int, ...]
    """Instants on that clock, rising."""
    values_ns: tuple[int, ...]
    """Offset to add at each instant."""
    bound_ns: int
    """Bound of the offset's error."""

    def __call__(self, times: Times) -> Times:
        """Convert times of that clock to the other one; -1 (none) stays."""
        moved = times + np.rint(np.interp(times, self.at_ns, self.values_ns)).astype(np.int64)
        return np.where(times == NONE_NS, NONE_NS, moved)

    @property
    def middle_ns(self) -> int:
        """Offset in the middle of the run."""
        return self.values_ns[len(self.values_ns) // 2]

    def then(self, other: Offset) -> Offset:
        """Return this offset followed by that of the clock that it leads to."""
        there = self(np.array(self.at_ns, dtype=np.int64))
        values = other(there) - np.array(self.at_ns)
        return Offset(at_ns=self.at_ns, values_ns=tuple(values.tolist()), bound_ns=self.bound_ns + other.bound_ns)


NO_OFFSET: Final = Offset(at_ns=(0,), values_ns=(0,), bound_ns=0)


def find_offsets(agents: Sequence[AgentRows], reference: str | None = None) -> dict[str, Offset]:
    """Return for each clock how its times become those of the reference; of the first agent's where no agent has the reference.

    Returns:
        Clock id to offset. A clock that no answered probe connects to the reference keeps its times; its bound is that of the
        epochs.
    """
    clocks = list(dict.fromkeys(agent.clock for agent in agents))
    root = reference if reference in clocks else clocks[0] if clocks else ""
    found, waiting = {root: NO_OFFSET}, deque([root])
    while waiting and len(found) < len(clocks):
        near = waiting.popleft()
        for far in clocks:
            offset = None if far in found else _find_offset(_of(agents, near), _of(agents, far))
            if offset is not None:
                found[far] = offset.then(found[near])
                waiting.append(far)
    for clock in clocks:
        if clock not in found:
            bound = sum(max((agent.epoch_bound_ns for agent in _of(agents, one)), default=0) for one in (clock, root))
            found[clock] = Offset(at_ns=(0,), values_ns=(0,), bound_ns=bound)
    return found


def align(agents: Sequence[AgentRows], offsets: Mapping[str, Offset]) -> tuple[AgentRows, ...]:
    """Return the rows with all times on the reference clock.

    The reflector's times in an answer come from its wall clock. If that is another machine's, the reflector's own log replaces
    them: it has the same instants on a known clock. If the log lacks a probe, the reflector can have had it at any time between
    sending and receiving, so each delay counts as the whole round trip.
    """
    moved = tuple(_move(agent, offsets[agent.clock]) for agent in agents)
    if len({agent.clock for agent in agents}) > 1:
        log = _sorted_log(np.concatenate([agent.reflector for agent in moved]))
        for agent in moved:
            _replace_reflector_times(agent.sender, log)
    return moved


def shift(rows: Rows, offset: Offset, *columns: str) -> Rows:
    """Return rows with these columns converted by an offset."""
    moved: Rows = rows.copy()
    for column in columns:
        moved[column] = offset(moved[column])
    return moved


def _of(agents: Sequence[AgentRows], clock: str) -> list[AgentRows]:
    return [agent for agent in agents if agent.clock == clock]


def _find_offset(near: Sequence[AgentRows], far: Sequence[AgentRows]) -> Offset | None:
    """Return what turns the far clock's times into the near one's, from probes in both directions; None: none was answered."""
    both = (_constraints(near, far), _turned(_constraints(far, near)))
    at, lowest, highest = (np.concatenate(column) for column in zip(*both, strict=True))
    if not at.size:
        return None
    windows = list(_windows(at, lowest, highest))
    values = [value for _, value, _ in windows]
    change = max((abs(later - earlier) for earlier, later in pairwise(values)), default=0)
    bound = max(half for _, _, half in windows) + change
    return Offset(at_ns=tuple(instant for instant, _, _ in windows), values_ns=tuple(values), bound_ns=bound)


def _constraints(senders: Sequence[AgentRows], reflectors: Sequence[AgentRows]) -> tuple[Times, Times, Times]:
    """Return for each probe that both ends have: the reflector's time, and the least and the largest offset of its clock."""
    probes = np.concatenate([agent.sender for agent in senders])
    probes = probes[(probes["copies"] == 1) & (probes["corrupted"] == 0)]
    log = np.concatenate([agent.reflector for agent in reflectors])
    log = _sorted_log(log[np.isin(log["flow"], np.unique(probes["flow"])) & (log["sent"] != NONE_NS)])
    place, is_known = _places(probes, log)
    probes, entries = probes[is_known], log[place[is_known]]
    return (
        entries["received"].astype(np.int64),
        probes["send_began_ns"] - entries["received"],
        probes["received"] - entries["sent"],
    )


def _turned(constraints: tuple[Times, Times, Times]) -> tuple[Times, Times, Times]:
    """Return the constraints of the other direction: by the other end's time, and of its clock."""
    at, lowest, highest = constraints
    return at + (lowest + highest) // 2, -highest, -lowest


def _windows(at: Times, lowest: Times, highest: Times) -> Iterator[tuple[int, int, int]]:
    """Yield each window's middle, offset and half width. Constraints that contradict by drift also give a width."""
    number = (at - at.min()) // WINDOW_NS
    for window in np.unique(number):
        chosen = number == window
        low, high = int(lowest[chosen].max()), int(highest[chosen].min())
        yield int(at[chosen].mean()), (low + high) // 2, abs(high - low) // 2 + 1


def _sorted_log(log: Rows) -> Rows:
    """Return a reflector's rows by (flow, seq), of equal ones the first that came."""
    _, first = np.unique(_keys(log), return_index=True)
    chosen: Rows = log[first]
    return chosen


def _keys(rows: Rows) -> npt.NDArray[np.uint64]:
    return np.asarray(rows["flow"].astype(np.uint64) << np.uint64(32) | rows["seq"].astype(np.uint64), dtype=np.uint64)


def _places(probes: Rows, log: Rows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return the place of each probe in the log, and whether it has one."""
    keys, wanted = _keys(log), _keys(probes)
    if not keys.size:
        return np.zeros(wanted.size, dtype=np.intp), np.zeros(wanted.size, dtype=np.bool_)
    place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return place, np.asarray(keys[place] == wanted, dtype=np.bool_)


def _move(agent: AgentRows, offset: Offset) -> AgentRows:
    columns = ("send_began_ns", "send_ended_ns", "received", "reflector_received", "reflector_sent")
    reflector = shift(agent.reflector, offset, "received", "sent")
    return replace(agent, sender=shift(agent.sender, offset, *columns), reflector=reflector)


def _replace_reflector_times(rows: Rows, log: Rows) -> None:
    """Take the reflector's times from the log; see `align`."""
    is_answered = rows["copies"] > 0
    place, is_known = _places(rows, log)
    is_known &= is_answered
    is_unknown = is_answered & ~is_known
    if is_known.any():
        entries = log[place[is_known]]
        rows["reflector_received"][is_known] = entries["received"]
        rows["reflector_sent"][is_known] = np.where(entries["sent"] == NONE_NS, entries["received"], entries["sent"])
    rows["reflector_received"][is_unknown] = rows["received"][is_unknown]
    rows["reflector_sent"][is_unknown] = rows["send_began_ns"][is_unknown]
