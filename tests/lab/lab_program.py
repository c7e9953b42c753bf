"""A program as the commands are: enters the sandbox, brings a lab up, and then ends as its argument says.

Started by tests that look at what it leaves behind. `wait` waits for a signal.
"""

from __future__ import annotations

import os
import signal
import sys

from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from clusters.linux.sandbox import enter_sandbox


def main(how: str) -> None:
    enter_sandbox()
    lab = LabNetwork(LabSpec())
    try:
        lab.up()
        sys.stdout.write(f"up pid={os.getpid()} namespaces={len(lab.namespaces)}\n")
        sys.stdout.flush()
        match how:
            case "wait":
                signal.pause()
            case "raise":
                raise RuntimeError("as asked")
            case "exit":
                sys.exit(7)
            case _:  # end
                pass
    except KeyboardInterrupt as interrupt:
        sys.stdout.write(f"interrupted {interrupt}\n")
        sys.exit(130)
    finally:
        lab.down()


if __name__ == "__main__":
    main(sys.argv[1])
