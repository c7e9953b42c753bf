"""What runs in the guest: `some` within a CI job's eight minutes, `all` everything that can hold there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SOME: Final = ("ipip", "counters", "wire", "netem", "machine", "netlink", "network", "node_plane")
"""Files of tests/lab that ask what kernels differ in."""
_REPEATED: Final = ("--reruns", "2", "--only-rerun", "AssertionError: INCONCLUSIVE")
"""An arm that a busy host made INCONCLUSIVE is repeated, as by `make suites`; a FAIL never is."""
_SUITES: Final = ("suites/", "--carrier", "ipip", "--rate", "20", *_REPEATED)
"""The rate is what the guest carries for a mesh of four nodes while the host is busy, too."""
_SCENARIOS_SOME: Final = ("plain-switch", "nothing-happens", "lossy-links", "clock-stepped")
_USER: Final = (
    *("env", "HOME=/tmp/user", "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/user/hypothesis"),
    *("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--no-new-privs"),
)
"""The checkout belongs to root, so what a session keeps goes elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One session of pytest in the guest."""

    name: str
    """How the output calls it; a file name too."""
    arguments: tuple[str, ...]
    is_root: bool = True
    """False: an ordinary user, who has user namespaces."""

    def command(self, python: str, folder: str) -> list[str]:
        """Return the command; it writes what it counted into the folder."""
        own = (f"--junitxml={folder}/{self.name}.xml", f"--basetemp=/tmp/{self.name}")
        session = [python, "-m", "pytest", "-p", "no:cacheprovider", *self.arguments, *own]
        return session if self.is_root else [*_USER, *session]


def _find(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"tests/lab/test_{name}.py" for name in names)


PLANS: Final = {
    "some": (
        Step(name="lab", arguments=_find(_SOME)),
        Step(name="lab-as-user", arguments=_find(_SOME), is_root=False),
        Step(name="suites", arguments=(*_SUITES, *(f"--scenario={name}" for name in _SCENARIOS_SOME))),
    ),
    "all": (
        Step(name="lab", arguments=("tests/lab",)),
        Step(name="lab-as-user", arguments=("tests/lab",), is_root=False),
        Step(name="suites", arguments=_SUITES),
    ),
}
