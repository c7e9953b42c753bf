"""Which sequence numbers were seen already: a packet that is sent again by somebody else is not answered again.

The HMAC says who made a packet, not when; the key lives for one run, so within a run a sequence number is new or it is not.
A flow has a ring of places, one for each number modulo its length, and a place holds the newest number that took it. A
number is refused if its own place holds it, or a newer one: no number is ever admitted twice, and one that comes late is
admitted until a whole ring of newer ones has gone by (the window of RFC 4303 3.4.3, without its shifting).

Pure: nothing here touches a socket or a clock.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from probes.stamp import Integers, Mask

PLACES_MIN: Final = 1024
PLACES_MAX: Final = 1 << 17
"""1 MB a flow, of which the kernel gives only what is touched."""
_GROUP_SHIFT: Final = 33
"""A number has 32 bits, and one more as it is held here."""


class ReplayWindow:
    """Remembers the sequence numbers of some flows.

    Args:
        flows: how many; each is called by its index.
        places: how far back a number may lie behind the newest of its flow; see `count_places`.
    """

    def __init__(self, flows: int, places: int) -> None:
        self._places = places
        # What is held is the number plus one, so that the kernel's zeroed pages say "none".
        self._newest = np.zeros(flows * places, dtype=np.int64)

    def admit(self, flows: npt.NDArray[np.intp], seqs: Integers) -> Mask:
        """Tell which of these packets are new, each looked at after those before it, and remember them.

        Args:
            flows: shape (n,), the flow index of each packet, in order of arrival.
            seqs: shape (n,), its sequence number, 32 bits.
        """
        numbers = seqs.astype(np.int64) + 1
        places = flows.astype(np.int64) * self._places + (numbers - 1) % self._places
        order = np.argsort(places, kind="stable")
        place, number = places[order], numbers[order]
        is_first = np.ones(len(order), dtype=np.bool_)
        is_first[1:] = place[1:] != place[:-1]
        # The newest so far in each place: a running maximum in which a later place outweighs every number of an earlier one.
        group = (np.cumsum(is_first) - 1) << _GROUP_SHIFT
        newest = np.maximum.accumulate(group | number) - group
        before = np.zeros(len(order), dtype=np.int64)
        before[1:] = newest[:-1]
        before[is_first] = 0
        held = self._newest[place]
        admitted = np.zeros(len(order), dtype=np.bool_)
        admitted[order] = number > np.maximum(before, held)
        self._newest[place] = np.maximum(newest, held)  # equal places are written in order: the largest stays
        return admitted


def count_places(interval_ns: int, late_ns_max: int) -> int:
    """Return a ring long enough for packets that are up to twice `late_ns_max` late, at one each `interval_ns`.

    A power of two from PLACES_MIN to PLACES_MAX.
    """
    wanted = max(PLACES_MIN, min(2 * late_ns_max // interval_ns, PLACES_MAX))
    return 1 << (wanted - 1).bit_length()
