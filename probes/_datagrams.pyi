from typing import Self

import numpy as np
import numpy.typing as npt

SENDER_ROW_OCTETS: int
REFLECTOR_ROW_OCTETS: int

class Sender:
    def __new__(
        cls,
        epoch_ns: int,
        header_octets: int,
        packets: npt.NDArray[np.uint8],
        peers: npt.NDArray[np.void],
        pods: npt.NDArray[np.int32],
        ids: npt.NDArray[np.uint32],
        index: npt.NDArray[np.int64],
        rows: npt.NDArray[np.void],
        stamps: npt.NDArray[np.uint64],
        /,
    ) -> Self: ...
    def tick(self, seq: int, error: int, /) -> int: ...
    def collect(self, ticks: int, offset_ns: int, /) -> tuple[int, int, int]: ...

class Reflector:
    def __new__(
        cls,
        epoch_ns: int,
        octets: int,
        unanswered_max: int,
        descriptors: npt.NDArray[np.int32],
        pod_of_flow: npt.NDArray[np.int64],
        sources: npt.NDArray[np.void],
        next_seq: npt.NDArray[np.int64],
        rate: npt.NDArray[np.float64],
        burst: npt.NDArray[np.float64],
        tokens: npt.NDArray[np.float64],
        refilled: npt.NDArray[np.int64],
        /,
    ) -> Self: ...
    def reflect(self, pods: list[int], error: int, offset_ns: int, /) -> tuple[bytes, tuple[int, ...]]: ...
