"""The command `check`: whether a model generates the right showers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caloforge.cli.terminal import Device, Quiet, Run, console, out

if TYPE_CHECKING:
    from caloforge.checking import Check

__all__ = ["check"]

SHOWN = 5  # figures that lie farthest from Geant4's


def check(
    run: Run,
    make: Annotated[
        Path | None,
        typer.Option(
            help="Store the summaries of these Geant4 showers first: a file that the model did not "
            "learn from.",
            metavar="FILE",
        ),
    ] = None,
    device: Device = "auto",
    as_json: Quiet = False,
) -> None:
    """Generate 200 showers and compare them with stored Geant4 figures.

    Finds a broken installation, a damaged file and wrong units in seconds; exit code 1 if it does.

    Example: caloforge check electrons-calochallenge-2

    Example: caloforge check models/mine --make test.h5
    """
    import caloforge.checking as checking

    if make is not None:
        console.print(f"{checking.make_reference(run, make, device=device)}")
    found = checking.check(run, device=device)
    if as_json:
        out.print_json(json.dumps(_facts(run, found)))
    else:
        _show(run, found)
    if found.failed:
        raise typer.Exit(1)


def _facts(run: str, found: Check) -> dict[str, object]:
    return {
        "run": run,
        "passed": not found.failed,
        "n_showers": found.n_showers,
        "seconds": found.seconds,
        "figures": {
            name: {**asdict(figure), "tolerance": figure.tolerance, "found": found.found[name]}
            for name, figure in found.figures.items()
        },
    }


def _show(run: str, found: Check) -> None:
    table = Table(title="farthest from Geant4")
    table.add_column("figure", no_wrap=True)
    for heading in ("Geant4", "tolerance", "generated"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in list(found.failed or found.deviations)[:SHOWN]:
        figure = found.figures[name]
        values = (figure.geant4, figure.tolerance, found.found[name])
        table.add_row(name, *(f"{value:.4g}" for value in values))
    out.print(table)
    outside = f"{len(found.failed)} of {len(found.figures)} figures lie beyond their tolerance"
    verdict = f"failed, {outside}" if found.failed else "passed"
    out.print(f"{run}: {verdict}; {found.n_showers} showers in {found.seconds:.1f} s")
