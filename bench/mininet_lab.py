"""The lab's namespaces and links by mininet: a program of its own, for the Python that mininet is installed for.

    python3 mininet_lab.py NODES      prints {"up_s": ..., "down_s": ...} as the last line

A router, NODES nodes with a link to it, two pods with a link to each of them, built by mininet, and no
further routes, tunnels or addresses, to its advantage. `Mininet.init`, which raises limits and settings of the whole machine,
is left out, and so is `mn -c`, which kills by name.
"""

from __future__ import annotations

import json
import sys
import time

from mininet.link import Link
from mininet.net import Mininet


def main(nodes: int) -> None:
    """Build it, take it down, print how long both took."""
    Mininet.inited = True
    began = time.monotonic()
    network = Mininet(topo=None, controller=None, build=False, link=Link)
    router = network.addHost("vpc", ip=None)
    for number in range(nodes):
        node = network.addHost(f"n{number}", ip=None)
        network.addLink(router, node)
        for pod in "mc":
            network.addLink(node, network.addHost(f"n{number}{pod}", ip=None))
    network.build()
    network.start()
    up_s, began = time.monotonic() - began, time.monotonic()
    network.stop()
    sys.stdout.write(json.dumps({"up_s": up_s, "down_s": time.monotonic() - began}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
