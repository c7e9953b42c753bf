"""A recorded variance for `hitless gate --self-test`: how long the gate held after the last route, in 10 gated trials.

Source: measured; `hitless compare --scenario plain-switch --trials 10 --rate 50` in the lab (4 nodes in 2 zones, profile fast,
carrier vxlan-gpe, Linux 6.18) on 2 busy cores; `gate_hold_after_routes_ms` of each trial in its summary.json.
"""

from __future__ import annotations

from typing import Final

VALUES_MS: Final = (76.308, 93.304, 97.342, 104.675, 63.906, 22.879, 82.602, 97.4, 95.931, 93.338)
INTERVAL_MS: Final = 20.0
"""Probe interval of that comparison."""
SOURCE: Final = "10 gated trials of plain-switch in the lab at 50 probes a second (reports/gate/recorded.py)"
