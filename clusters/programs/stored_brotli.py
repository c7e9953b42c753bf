"""Brotli without compression, which Gardener accepts as a compressed secret.

gardener-resource-manager reads a key that ends in `.br`; the Calico extension takes the bytes for YAML and finds nothing. Pure.

Source: RFC 7932 9.1 and 9.2 (stream header, uncompressed meta-blocks); gardener resources/v1alpha1 CompressedDataKey.
"""

from __future__ import annotations

from typing import Final

COMPRESSED_KEY: Final = "data.yaml.br"
_BLOCK_OCTETS: Final = 1 << 16
_END: Final = b"\x03"
"""ISLAST and ISLASTEMPTY."""


def store(content: bytes) -> bytes:
    """Return a Brotli stream of uncompressed blocks; the content is not empty."""
    blocks = [content[at : at + _BLOCK_OCTETS] for at in range(0, len(content), _BLOCK_OCTETS)]
    # The first block comes after WBITS, which is the one bit 0: a window of 16 bits.
    return b"".join(_head(block, 0 if at else 1) + block for at, block in enumerate(blocks)) + _END


def _head(block: bytes, bits_before: int) -> bytes:
    """Return ISLAST 0, MNIBBLES 4, MLEN - 1, ISUNCOMPRESSED 1, padded to whole octets."""
    head = (len(block) - 1) << 3 | 1 << 19
    return (head << bits_before).to_bytes(3, "little")
