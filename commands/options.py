"""Options of the commands and of conftest.py: types, values, the refusal of those without effect; the place of the records."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum, unique
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from platformdirs import user_state_path
from typer.core import TyperCommand

from hitless.errors import UsageError
from hitless.words import IpipCarrier, Overlay, Profile, Verdict
from scenarios.mesh import COVERING_TIMES, COVERING_TIMES_MAX, FULL_MESH, Mesh

LATEST: Final = "latest"
"""Link beside the records to the newest of them."""
RUNS_HELP: Final = "reports/runs in a checkout of hitless, else the user's state folder"


def default_runs() -> Path:
    """Return the folder of the records: one sub-folder a comparison or suite session, and the link `latest`.

    Never the folder of an installed package: it may be read-only, and an update removes it.
    """
    here = Path.cwd()
    try:
        is_checkout = '\nname = "hitless"\n' in (here / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        is_checkout = False
    return here / "reports" / "runs" if is_checkout else user_state_path("hitless", appauthor=False) / "runs"


@unique
class BackendName(StrEnum):
    """What `--backend` may say."""

    LAB = "lab"
    KIND = "kind"
    KUBECONFIG = "kubeconfig"
    """A cluster that hitless only watches."""


AUTO: Final = "auto"
"""What `--rate` may say instead of a number."""
DOUBLE: Final = "double"
"""What `--extension`, `--resource-manager` and `--route-controller` say where the part is no program."""


def read_rate(text: str) -> float:
    """Return the rate that `--rate` gives, probes per second per flow. Raises UsageError."""
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(where="--rate", found=repr(text), expected=f"a number, or {AUTO}") from error


def read_mesh(text: str | None) -> Mesh | None:
    """Return the mesh that `--mesh` names; None: none was given. Raises UsageError."""
    name, _, times = (text or "").partition(":")
    if text is None:
        return None
    if text == "full":
        return FULL_MESH
    if text == "covering":
        return Mesh(times=COVERING_TIMES)
    if name != "covering" or not (times.isascii() and times.isdigit() and 1 <= int(times) <= COVERING_TIMES_MAX):
        allowed = f"full, covering, or covering:N with N from 1 to {COVERING_TIMES_MAX}"
        raise UsageError(where="--mesh", found=repr(text), expected=allowed)
    return Mesh(times=int(times))


MESH_HELP: Final = (
    f"Pairs of nodes to probe: full, or covering:N, each node from N ({COVERING_TIMES}) nodes of each zone, for large clusters."
)

TRIALS_MAX: Final = 100
"""Runs of each arm: more would take days."""


@unique
class Format(StrEnum):
    """Format of a command's standard output."""

    TEXT = "text"
    JSON = "json"


@unique
class GateFormat(StrEnum):
    """What `hitless gate` prints."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    ANNOTATIONS = "annotations"
    """Workflow commands of GitHub Actions."""


class Outcome(Exception):  # noqa: N818 - not an error
    """How a command ended. Not typer.Exit: typer gives exit code 1 to a closed pipe too, which must not look like FAIL."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 20}

run = partial(typer.Option, rich_help_panel="What to run")
where = partial(typer.Option, rich_help_panel="Where")
kind = partial(typer.Option, rich_help_panel="With --backend kind")
_tested = partial(typer.Option, rich_help_panel="Versions and programs under test")
_output = partial(typer.Option, rich_help_panel="Output")

ScenarioName = Annotated[str, run(help="Name of a shipped scenario, or a YAML file.")]
ProfileName = Annotated[Profile | None, run(help="Timing constants; default: fast in the lab, else gardener.")]
OverlayName = Annotated[Overlay | None, run(help="Encapsulation; default: the scenario's.")]
Zones = Annotated[int | None, run(help="Number of zones; default: the scenario's.")]
NodesPerZone = Annotated[int | None, run(help="Nodes per zone; default: the scenario's.")]
MeshName = Annotated[str | None, run(help=f"{MESH_HELP} Default: full.")]
Carrier = Annotated[IpipCarrier | None, where(help="Tunnel device for overlay ipip; default: ipip if the kernel has it.")]
ClusterName = Annotated[str, kind(help="Name of the kind cluster.")]
KindBin = Annotated[Path | None, kind(help="Path of kind; default: from PATH.")]
KubectlBin = Annotated[Path | None, kind(help="Path of kubectl; default: from PATH.")]
NodeImage = Annotated[str | None, kind(help="Node image; default: the pinned one.")]
CalicoVersion = Annotated[
    str | None, _tested(help="Calico's tag; default: the extension's. With --extension on kind: the tag of the node images.")
]
Output = Annotated[Path, _output(default_factory=default_runs, help="Folder for the records.", show_default=RUNS_HELP)]
OutputFormat = Annotated[Format, _output("--format", help="What to print.")]
Prometheus = Annotated[
    Path | None, _output(help="File for the figures as Prometheus text.", dir_okay=False, metavar="FILE.prom")
]


def _program(part: str) -> Any:  # noqa: ANN401 - what typer takes
    """Return the option for a part that a program may take the place of."""
    return _tested(metavar="PROGRAM", help=f"Path of the {part} program, or double.")


Extension = Annotated[str, _program("The Calico extension")]
ResourceManager = Annotated[str, _program("gardener-resource-manager")]
RouteController = Annotated[str, _program("aws-custom-route-controller")]


class GroupedCommand(TyperCommand):
    """A command whose help lists its options below the heading of each (`rich_help_panel`), in the order of the options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer keeps click's types to itself
        """Write the options, those without a heading last."""
        shown = [(param, record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx)) is not None]
        for heading, found in groupby(shown, key=lambda one: getattr(one[0], "rich_help_panel", None)):
            with formatter.section(heading or "Other options"):
                formatter.write_dl([record for _, record in found])


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter stood on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_beside(option: str, names: Collection[str]) -> None:
    """Refuse options that would have no effect. Raises UsageError."""
    if names:
        has, them = ("has", "it") if len(names) == 1 else ("have", "them")
        raise UsageError(f"{name_options(names)} {has} no effect with {option}; leave {them} out")


def name_options(names: Collection[str]) -> str:
    """Return options as messages name them."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def check_folder(option: str, path: Path | None) -> None:
    """Refuse a file whose folder is missing, before anything runs. Raises UsageError."""
    if path is not None and not path.parent.is_dir():
        raise UsageError(where=option, found=str(path), expected="a file in a folder that exists")


def make_folder(output: Path) -> None:
    """Make the folder of the records, where it is missing. Raises UsageError: nothing can be written there."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refuse(output, error) from error
    link = output / LATEST
    if link.exists() and not link.is_symlink():
        raise UsageError(
            f"{link} is not a symbolic link, so it cannot point to the newest records; move it away or use another --output"
        )


def make_run_directory(output: Path, name: str) -> Path:
    """Make a new folder `<time>-<name>` and point `latest` beside it to it.

    Raises:
        UsageError: nothing can be written there.
    """
    make_folder(output)
    directory = make_fresh_directory(output, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}")
    link = output / LATEST
    # A file system without links does not get this one.
    with suppress(OSError):
        link.unlink(missing_ok=True)
        link.symlink_to(directory.name)
    return directory


def make_fresh_directory(parent: Path, name: str) -> Path:
    """Make a folder that was not there before; where the name is taken it gets a number. Raises UsageError."""
    try:
        for number in count(1):
            directory = parent / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                directory.mkdir()
                break
    except OSError as error:
        raise _refuse(parent, error) from error
    return directory


def _refuse(output: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write records to {output} ({error.strerror or error}); use --output with another folder")
