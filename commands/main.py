"""The command line: `hitless compare`, `judge`, `follow`, `bundle`, `gate`, `history`, `scenarios`, `doctor`, `clean`, `lab`.

Exit codes: 0 PASS, 1 FAIL, 20 INCONCLUSIVE (or the world did not do what it was told), 2 usage error, 3 a bug in hitless,
130 interrupted, 141 the reader of the output is gone. `gate`: 0 go, 1 stop, 20 not decided.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Final

import typer

from clusters.linux.interrupts import is_interrupt, listen_to_signals
from commands import history as history_commands
from commands import kind as kind_commands
from commands import lab as lab_commands
from commands.compare_options import compare
from commands.options import (
    EXIT_CODES,
    MESH_HELP,
    Format,
    GateFormat,
    GroupedCommand,
    Outcome,
    Output,
    OutputFormat,
    Prometheus,
    check_folder,
    is_given,
    name_options,
    read_mesh,
    refuse_beside,
)
from hitless.errors import HitlessError, UsageError
from hitless.words import Arm, Mode, Verdict
from reports.gate.rules import Trait
from scenarios.mesh import FULL_NODES_MAX

EXIT_BUG: Final = 3
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 141
"""The reader of the output is gone: as if ended by SIGPIPE."""
StoredRun = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a stored comparison or of one stored run.")]
RUN_PARAMETERS: Final = frozenset({"baseline_args", "candidate_args", "output"})
"""Of `hitless gate --run`."""


app = typer.Typer(
    name="hitless",
    help="Does a cluster lose packets while Calico is switched from overlay to native routing, and does the gate prevent it?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes break messages that users search for
)
app.command(cls=GroupedCommand)(compare)
app.add_typer(lab_commands.app, name="lab")
app.add_typer(kind_commands.app, name="kind")
app.add_typer(history_commands.app, name="history")


@app.command()
def watch(  # noqa: PLR0913 - each is an option
    *,
    kubeconfig: Annotated[Path, typer.Option(help="Kubeconfig of the cluster to watch.", dir_okay=False)],
    image: Annotated[
        str, typer.Option(help="Image of the probers (probes/image/Dockerfile), by the name under which the nodes pull it.")
    ],
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig; default: the current one.")] = None,
    namespace: Annotated[str, typer.Option(help="Namespace to create for the probers; must not exist.")] = "hitless",
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Probes per second per flow.")] = 20.0,
    mesh: Annotated[
        str | None, typer.Option(help=f"{MESH_HELP} Default: full; covering beyond {FULL_NODES_MAX} nodes.")
    ] = None,
    until_seconds: Annotated[
        float, typer.Option(min=1, max=86_400, help="End after this many seconds at the latest.")
    ] = 3600.0,
    until_idle: Annotated[
        float, typer.Option(min=0, help="End this many seconds after the last change of a switch; 0: do not.")
    ] = 60.0,
    gate: Annotated[bool, typer.Option(help="Whether the feature gate is on in this cluster; a watch cannot see it.")] = True,
    expect: Annotated[
        Mode | None, typer.Option(help="Expected end mode; leftovers on the nodes are then judged as well.")
    ] = None,
    output: Output,
    prometheus: Prometheus = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Probe your cluster while you switch it.

    hitless installs only its probers, and removes them at the end.
    """
    check_folder("--prometheus", prometheus)
    from commands.watch import WatchOptions, watch_cluster  # noqa: PLC0415 - only this command needs a Kubernetes client
    from switches.observer import ObserverOptions  # noqa: PLC0415 - as above

    options = WatchOptions(
        observer=ObserverOptions(until_s=until_seconds, idle_s=until_idle or None),
        rate_hz=rate,
        mesh=read_mesh(mesh),
        arm=Arm.GATED if gate else Arm.UNGATED,
        expected=expect,
    )
    verdict = watch_cluster(
        kubeconfig,
        context,
        options,
        image=image,
        namespace=namespace,
        output=output,
        output_format=output_format,
        prometheus=prometheus,
    )
    raise Outcome(EXIT_CODES[verdict])


@app.command()
def judge(
    run: StoredRun,
    output_format: OutputFormat = Format.TEXT,
    prometheus: Prometheus = None,
) -> None:
    """Judge stored records again, with the same verdict."""
    check_folder("--prometheus", prometheus)
    from commands.compare import judge_stored  # noqa: PLC0415 - as above

    raise Outcome(EXIT_CODES[judge_stored(run, output_format, prometheus)])


@app.command()
def bundle(
    run: StoredRun,
    *,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="Replace addresses and the names of nodes, zones and endpoints; leave out the reports."
        ),
    ] = False,
    output: Annotated[Path | None, typer.Option(help="File to write.", show_default="FOLDER.tar.gz here")] = None,
) -> None:
    """Pack a stored run into one file for a bug report."""
    from commands.bundle import bundle as pack  # noqa: PLC0415 - as above

    check_folder("--output", output)
    sys.stdout.write(f"{pack(run, output, is_anonymous=anonymous)}\n")


@app.command()
def follow(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a comparison or of one run; the run may still be going on.")
    ],
) -> None:
    """Show a run, stored or still going.

    Shows modes, cloud routes, loss per second, and the flows that lose most.
    """
    from commands.live import follow as show  # noqa: PLC0415 - as above

    show(run)


@app.command()
def gate(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    baseline: Annotated[
        Path | None, typer.Argument(help="Comparison, session of suites, or summary of the last release.")
    ] = None,
    candidate: Annotated[
        Path | None, typer.Argument(help="Comparison, session of suites, or summary of the release candidate.")
    ] = None,
    *,
    rules: Annotated[Path | None, typer.Option(help="Rules file; default: the built-in rules (docs/gate.md).")] = None,
    scenario: Annotated[
        list[Path] | None, typer.Option(help="File of a scenario that is not shipped; may be repeated.")
    ] = None,
    allow_different: Annotated[
        list[Trait] | None, typer.Option(help="Trait in which the sides may differ; the result states it. May be repeated.")
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="conform.json", help="The candidate's decision table, as `hitless conform` stored it.", dir_okay=False
        ),
    ] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Simulate 10,000 decisions from recorded trials, or from those of BASELINE.")
    ] = False,
    run: Annotated[
        bool,
        typer.Option(
            "--run", help="Run both versions alternately until the gate decides; a trial is a run of `hitless compare`."
        ),
    ] = False,
    baseline_args: Annotated[str, typer.Option(help="With --run: arguments of `compare` for the last release.")] = "",
    candidate_args: Annotated[str, typer.Option(help="With --run: arguments of `compare` for the candidate.")] = "",
    trials: Annotated[
        int | None,
        typer.Option(help="With --run: maximum trials of each version (20). With --self-test: trials in a decision (10)."),
    ] = None,
    output: Output,
    output_format: Annotated[GateFormat, typer.Option("--format", help="What to print.")] = GateFormat.TEXT,
) -> None:
    """Decide whether a version may be released.

    Exit code: 0 go, 1 stop, 20 not decided.
    """
    from commands.gate import GateOptions, check_gate, gate_release, run_gate  # noqa: PLC0415 - as above
    from reports.gate.inference import Look, plan_looks  # noqa: PLC0415 - as above

    paths = [path for path in (baseline, candidate) if path is not None]
    given = {name for name in context.params if is_given(context, name)}
    if self_test:
        refuse_beside("--self-test", given & {"scenario", "allow_different", "decisions", *RUN_PARAMETERS})
        looks = plan_looks(trials or 20) if run else [Look(pairs=trials or 10)]
        raise Outcome(check_gate(paths, rules, looks, output_format))
    options = GateOptions(
        rules_file=rules,
        scenario_files=tuple(scenario or ()),
        allow_different=tuple(allow_different or ()),
        decisions=decisions,
    )
    if run:
        refuse_beside("--run", given & {"baseline", "candidate"})
        raise Outcome(run_gate((baseline_args, candidate_args), options, trials or 20, output, output_format))
    if idle := given & {"trials", *RUN_PARAMETERS}:
        raise UsageError(
            f"{name_options(idle)} has no effect without --run; without it, the decision uses every trial of both folders"
        )
    raise Outcome(gate_release(paths, options, output_format))


@app.command()
def conform(
    *,
    extension: Annotated[Path, typer.Option(metavar="PROGRAM", help="Path of the Calico extension's program.")],
    against: Annotated[
        Path | None,
        typer.Option(metavar="PROGRAM", help="Path of another release of the extension; default: compare with the double."),
    ] = None,
    output: Output,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Ask a released extension the decision table.

    Asks every case, and shows where the extension differs from the double or from another release.
    """
    from commands import conform as conform_command  # noqa: PLC0415 - only this command needs it

    raise Outcome(EXIT_CODES[conform_command.conform(extension, against, output, output_format)])


@app.command()
def scenarios() -> None:
    """List the scenarios that are shipped."""
    from scenarios.loading import catalogue, load_scenario  # noqa: PLC0415 - as above

    found = [load_scenario(path) for path in catalogue()]
    width = max(len(scenario.name) for scenario in found)
    for scenario in found:
        expected = ", ".join(f"{arm} {plan.expect}" for arm, plan in scenario.arm_plans.items())
        sys.stdout.write(f"{scenario.name:<{width}}  {scenario.title} ({expected})\n")


@app.command()
def doctor() -> None:
    """Check this machine and explain what is missing."""
    from commands.doctor import examine  # noqa: PLC0415 - as above

    raise Outcome(0 if examine() else EXIT_CODES[Verdict.INCONCLUSIVE])


@app.command()
def clean(
    context: typer.Context,
    *,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Kubeconfig of a cluster: remove the probers that a killed watch left there.", dir_okay=False),
    ] = None,
    kube_context: Annotated[
        str | None, typer.Option("--context", help="Context of the kubeconfig; default: the current one.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the probers.")] = "hitless",
) -> None:
    """Remove what killed runs left behind.

    Removes labs and kind clusters; with --kubeconfig, the probers in that cluster.
    """
    if kubeconfig is None:
        without = {"context" if name == "kube_context" else name for name in context.params if is_given(context, name)}
        if without:
            raise UsageError("--context and --namespace need --kubeconfig")
        kind_commands.clean_up()
        lab_commands.clean_up()
        return
    from clusters.kubernetes.watched import remove_probers  # noqa: PLC0415 - only this needs a Kubernetes client

    was_there = remove_probers(kubeconfig, kube_context, namespace)
    sys.stdout.write(f"{'removed' if was_there else 'nothing to remove:'} the probers in the namespace {namespace}\n")


def main() -> None:
    """Run the command line of the product."""
    run_app(app)


def run_app(command_line: typer.Typer) -> None:
    """Run a command line; every error becomes one message and its exit code."""
    listen_to_signals()
    _write_every_character()
    try:
        command_line()
    except Outcome as outcome:
        sys.exit(outcome.code)
    except SystemExit as end:
        if end.code == 1:
            sys.exit(EXIT_PIPE)
        if end.code == EXIT_INTERRUPTED:  # typer's own answer to Ctrl-C says nothing
            sys.stderr.write("hitless: interrupted\n")
        raise
    except HitlessError as error:
        sys.stderr.write(f"hitless: {error}\n")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the last place before the user
        if is_interrupt(error):
            sys.stderr.write("hitless: interrupted\n")
            sys.exit(EXIT_INTERRUPTED)
        traceback.print_exc()
        sys.stderr.write("hitless: this is a bug in hitless; please report it with the lines above\n")
        sys.exit(EXIT_BUG)
    finally:
        _flush_output()


def _flush_output() -> None:
    """Write what is still buffered: Python does so at its own end and answers a reader that is gone with exit code 120."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_PIPE)


def _write_every_character() -> None:
    """Escape characters that the terminal's encoding lacks, so that the exit code stays that of the verdict."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
