"""ICMP echo flows: the sender whose far end is the kernel of the other pod.

A request carries a whole STAMP test packet as its data, so that flow, sequence number and timestamp come back with the reply
and nothing has to be remembered; the 16 bits of ICMP's own sequence number would wrap within a run. The kernel answers: there
is no log of the far end, and the direction of a loss is not known. Sockets are ping sockets, which need no privilege where
net.ipv4.ping_group_range allows them; the kernel writes identifier and checksum. Source: RFC 792, RFC 4443; Linux
net/ipv4/ping.c, net/ipv6/ping.c.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from hitless.records import Rows
from probes import stamp
from probes.families import family_of
from probes.sender import Sender

HEADER_OCTETS: Final = 8
"""Type, code, checksum, identifier, sequence number. Source: RFC 792, RFC 4443 4."""
_SEQ_AT: Final = slice(6, 8)


class EchoSender(Sender):
    """Sends and records the ICMP flows of the agent's endpoints; see `probes.sender.Sender`."""

    is_echo: ClassVar[bool] = True
    header_octets: ClassVar[int] = HEADER_OCTETS

    def _make_packets(self, ssids: npt.NDArray[np.uint16]) -> stamp.Octets:
        body = super()._make_packets(ssids)
        packets = np.zeros((len(ssids), HEADER_OCTETS + body.shape[1]), dtype=np.uint8)
        packets[:, 0] = family_of(self._settings.sent_flows[0].sent_to).echo_request
        packets[:, HEADER_OCTETS:] = body
        return packets

    def _mark(self, seq: int) -> None:
        super()._mark(seq)
        self._packets[:, _SEQ_AT] = (seq >> 8 & 0xFF, seq & 0xFF)

    def _read(self, count: int) -> tuple[stamp.Mask, stamp.Integers, stamp.Integers]:
        payload = self._inbox.payload[:count]
        echoes = stamp.view_probes(payload, HEADER_OCTETS)
        is_whole = self._inbox.octets(count) >= HEADER_OCTETS + stamp.PACKET_OCTETS
        return np.asarray(is_whole & (payload[:, 0] == self._family.echo_reply), dtype=np.bool_), echoes["ssid"], echoes["seq"]

    def _fill_far_end(self, rows: Rows, at: npt.NDArray[np.int64], slots: npt.NDArray[np.intp]) -> None:
        """A kernel says nothing of when it answered, nor of the TTL with which the request came."""

    def _is_true_echo(
        self, slots: npt.NDArray[np.intp], flows: npt.NDArray[np.intp], seqs: npt.NDArray[np.int64]
    ) -> stamp.Mask:
        """Tell which replies bring back what was sent: timestamp, length and padding."""
        octets = self._packets.shape[1]
        came = self._inbox.payload[slots]
        stamps = stamp.view_probes(self._inbox.payload, HEADER_OCTETS)["timestamp"][slots]
        true = self._is_forgotten(seqs) | (stamps == self._sent_stamps(flows, seqs))
        true &= self._inbox.octets(int(slots[-1]) + 1)[slots] == octets
        padding = slice(HEADER_OCTETS + stamp.PACKET_OCTETS, octets)
        true &= (came[:, padding] == self._packets[flows][:, padding]).all(axis=1)
        return np.asarray(true, dtype=np.bool_)
