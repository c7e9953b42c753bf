"""Small vector arithmetic that the sender and the reflector share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def rank_equals(keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return for each element how many equal ones stand before it: 0 for the first, 1 for the second, ...

    Args:
        keys: shape (n,), any order.
    """
    count = len(keys)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    places = np.arange(count)
    starts = np.zeros(count, dtype=np.intp)
    new = ordered[1:] != ordered[:-1]
    starts[1:] = np.where(new, places[1:], 0)
    ranks = np.empty(count, dtype=np.intp)
    ranks[order] = places - np.maximum.accumulate(starts)
    return ranks
