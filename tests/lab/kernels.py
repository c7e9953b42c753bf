"""The kernel that the tests run on, where what they may expect depends on it."""

from __future__ import annotations

from pathlib import Path

IS_USER_MODE = "User Mode Linux" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
"""One CPU and slow system calls: it carries some hundred probes per second, not thousands."""

COUNTS_TRANSMITS = "OutTransmits" in Path("/proc/net/snmp").read_text(encoding="ascii")
"""Linux 6.8 and later."""
