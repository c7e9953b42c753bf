"""`hitless lab`: a lab for manual use, held by its own process, and the lab's part of `hitless clean`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from clusters.lab.holder import (
    DEFAULT_NAME,
    clean_holders,
    execute_inside,
    find_holder,
    list_holders,
    start_holder,
    stop_holder,
)
from clusters.lab.network import LabNetwork
from clusters.lab.spec import LabSpec
from commands.options import Carrier, Outcome
from hitless.plural import plural
from hitless.words import Mode, Overlay

app = typer.Typer(help="Start a lab, run programs in it, stop it.", no_args_is_help=True)

Name = Annotated[str, typer.Option(help="Name of the lab.")]


@app.command()
def up(
    *,
    zones: Annotated[int, typer.Option(help="Number of zones.")] = 2,
    nodes_per_zone: Annotated[int, typer.Option(help="Nodes per zone.")] = 2,
    overlay: Annotated[Overlay, typer.Option(help="Encapsulation.")] = Overlay.IPIP,
    mode: Annotated[Mode, typer.Option(help="Start mode.")] = Mode.OVERLAY,
    rp_filter: Annotated[int, typer.Option(help="rp_filter of the nodes: 0 off, 1 strict, 2 loose.")] = 2,
    carrier: Carrier = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Bring a lab up and leave it up: routers, nodes and pods, in the start mode; no doubles run in it."""
    spec = LabSpec(
        zones=zones,
        nodes_per_zone=nodes_per_zone,
        overlay=overlay,
        start_mode=mode,
        rp_filter=rp_filter,
        carrier=carrier,
        # As Gardener renders it: VXLAN uses calico-ipam.
        block_mask=26 if overlay is Overlay.VXLAN and mode is Mode.OVERLAY else None,
    )
    holder = start_holder(spec, name)
    names = LabNetwork(spec).namespaces
    sys.stdout.write(f"{holder.name} is up: {len(names)} namespaces ({', '.join(names[:8])}{', ...' if names[8:] else ''})\n")
    sys.stdout.write(f"try: hitless lab exec {names[-2]} -- ip route\n")


@app.command(name="list")
def list_labs() -> None:
    """List the labs that are up."""
    living = [(holder.name, holder.spec) for holder in list_holders() if holder.is_alive and holder.spec is not None]
    for name, spec in living:
        size = f"{plural(spec.zones, 'zone')} of {plural(spec.nodes_per_zone, 'node')}"
        sys.stdout.write(f"{name}: {size}, {spec.overlay}, {spec.start_mode}\n")
    if not living:
        sys.stderr.write("no lab is up; start one with `hitless lab up`\n")


@app.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    namespace: Annotated[str, typer.Argument(help="vpc, a node such as node-a1, or a pod such as node-a1-mesh.")],
    command: Annotated[list[str], typer.Argument(help="Program and arguments.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run a program inside a namespace of a lab; its exit code is returned."""
    arguments = command[1:] if command[:1] == ["--"] else command
    code = execute_inside(find_holder(name), namespace, arguments)
    raise Outcome(code if code >= 0 else 128 - code)


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Stop a lab with everything that runs in it."""
    stop_holder(find_holder(name, "no lab is up; `hitless clean` removes what killed labs left behind"))
    sys.stdout.write(f"{name} is down\n")


def clean_up() -> None:
    """Remove the state files of dead labs, and print their names."""
    dead = clean_holders()
    for holder in dead:
        sys.stdout.write(f"removed the state of {holder.name}, whose owner has ended\n")
    if not dead:
        sys.stdout.write("nothing to clean: no lab has lost its owner\n")
