"""The sender's rows, written one probe at a time: what a connection learns of its probes, when it learns it.

The same table as the inner loop of datagrams fills: one row per flow and tick. Every probe has its row before anything is done
for it, so that whatever becomes of it has a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from probes.clocks import Bridge
from probes.recording import SenderTable, make_row
from probes.stamp import Answer, decode_ntp

_COPIES_MAX: Final = 255
_RETRANSMITS_MAX: Final = 255


class ProbeBook:
    """Writes SENDER_ROWs.

    Args:
        table: where they are.
        ids: of the flows, in the order of their places.
        bridge: converts wall times.
    """

    def __init__(self, table: SenderTable, ids: Sequence[int], bridge: Bridge) -> None:
        self._rows, self._ids, self._count, self._bridge = table.rows, ids, len(ids), bridge
        # Views of single columns: an index into one is one number, an index into the rows makes a record.
        self._columns = {name: table.rows[name] for name in table.rows.dtype.names or ()}

    def begin(self, index: int, seq: int, began_ns: int) -> None:
        """Write the row of a probe that is offered now."""
        self._rows[seq * self._count + index] = make_row(self._ids[index], seq, began_ns, began_ns)

    def leave(self, index: int, seq: int, ended_ns: int) -> None:
        """Note when the call ended that gave a probe to the kernel."""
        self._columns["send_ended_ns"][seq * self._count + index] = ended_ns

    def refuse(self, index: int, seq: int, number: int) -> None:
        """Note that a probe could not even be tried: it was never offered."""
        self._columns["send_errno"][seq * self._count + index] = number

    def fail(self, index: int, seq: int, number: int) -> None:
        """Note that a probe's connection ended before its answer."""
        self._columns["failure"][seq * self._count + index] = number

    def answer(self, index: int, answer: Answer, *, wall_ns: int | None, now_ns: int, retransmits: int, is_true: bool) -> None:
        """Fill the row of a probe with its first answer.

        Args:
            index: the flow.
            answer: what came; its `sender_seq` is a probe that was offered.
            wall_ns: when it came, by the kernel; None: it did not say, and `now_ns` stands for it.
            now_ns: run clock, read after it was taken.
            retransmits: segments sent again on the connection since the answer before.
            is_true: whether it brings back what was sent.
        """
        place, columns = answer.sender_seq * self._count + index, self._columns
        offset_ns = self._bridge.offset_ns
        columns["received"][place] = now_ns if wall_ns is None else wall_ns - offset_ns
        columns["reflector_received"][place] = decode_ntp(answer.received) - offset_ns
        columns["reflector_sent"][place] = decode_ntp(answer.timestamp) - offset_ns
        columns["reflector_seq"][place] = answer.seq
        columns["forward_ttl"][place] = answer.sender_ttl
        columns["retransmits"][place] = min(retransmits, _RETRANSMITS_MAX)
        columns["corrupted"][place] = not is_true
        columns["copies"][place] = 1

    def repeat(self, index: int, seq: int) -> bool:
        """Count one more answer of a probe; False: it had none so far."""
        place, copies = seq * self._count + index, self._columns["copies"]
        if place >= len(copies) or not copies[place]:
            return False
        copies[place] = min(int(copies[place]) + 1, _COPIES_MAX)
        return True
