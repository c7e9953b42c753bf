"""Brotli without compression, read by Brotli's own library."""

from __future__ import annotations

import pytest

from clusters.programs.seed_objects import store

brotli = pytest.importorskip("brotli")


@pytest.mark.parametrize("octets", [1, 65_535, 65_536, 65_537, 200_000])
def test_brotlis_own_library_reads_what_is_stored(octets: int) -> None:
    content = bytes(number % 251 for number in range(octets))
    assert brotli.decompress(store(content)) == content
