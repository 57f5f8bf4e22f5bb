"""What all commands share: where they print, and options that mean the same everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console

__all__ = ["EnergySolver", "Precision", "Quiet", "Resume", "Seed", "Solver", "console", "out"]

console = Console(stderr=True)
out = Console()

Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
Quiet = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted job.")]
Solver = Annotated[
    str | None,
    typer.Option(
        help="How voxels are drawn by flow matching: euler-N, midpoint-N, rk4-N with N steps, "
        "adaptive, or one trained with the run, such as bns-8."
    ),
]
Precision = Annotated[
    Literal["32", "bf16"],
    typer.Option(
        help="Of the voxels' network: 32 bits, or bf16, faster where the processor has it."
    ),
]
EnergySolver = Annotated[str | None, typer.Option(help="The same for layer energies.")]
