"""What all commands share: where they print, and options that mean the same everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.console import Console

__all__ = [
    "Device",
    "EnergySolver",
    "Layout",
    "Precision",
    "Processes",
    "Quiet",
    "Resume",
    "Seed",
    "Solver",
    "console",
    "numbers",
    "out",
]

console = Console(stderr=True)
out = Console()

Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu or cuda; auto is the accelerator if there is one.")
]
Layout = Annotated[
    Literal["sparse", "calochallenge"],
    typer.Option(help="Of the file: sparse to keep it, calochallenge to exchange voxels."),
]
Quiet = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes to use.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted job.")]
Solver = Annotated[
    str | None,
    typer.Option(
        help="How voxels are drawn by flow matching: euler-N, midpoint-N, rk4-N with N steps, "
        "adaptive, or one trained with the run, such as bns-8; points by diffusion: ddpm-100, "
        "heun-N, or distilled, consistency-1."
    ),
]
Precision = Annotated[
    Literal["32", "bf16"],
    typer.Option(
        help="Of the voxels' network: 32 bits, or bf16, faster where the processor has it."
    ),
]
EnergySolver = Annotated[str | None, typer.Option(help="The same for layer energies.")]


def numbers(text: str, n: int) -> tuple[float, ...]:
    """Read n numbers parted by commas, as options take them.

    Raises:
        ValueError: for any other text.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != n:
        example = ",".join(str(i + 1) for i in range(n))
        raise ValueError(f"expected {n} numbers such as {example}, got {text!r}")
    return values
