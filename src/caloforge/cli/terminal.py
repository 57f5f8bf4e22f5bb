"""What all commands share: where they print, and options that mean the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
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
    "named_paths",
    "numbers",
    "out",
]


def _terminal(*, stderr: bool) -> Console:
    """A console that prints text to the letter: names of files may look like markup, and their
    paths are copied from lines that are not broken.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


console = _terminal(stderr=True)
out = _terminal(stderr=False)

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
        help="Of the voxels' network: 32 bits, or bf16, fastest where the processor has matrix "
        "units for it."
    ),
]
EnergySolver = Annotated[str | None, typer.Option(help="The same for layer energies.")]


def numbers(text: str, n: int) -> tuple[float, ...]:
    """Read n comma-separated numbers, as options take them.

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


def named_paths(texts: Sequence[str]) -> dict[str, Path]:
    """Paths by name, each written PATH or NAME=PATH.

    A text that is the path of something is a PATH, and so is one with a slash before its first
    "=". A path without a name has that of its file, less the suffix.

    Raises:
        ValueError: if two have one name.
        FileNotFoundError: if there is neither a path PATH nor one NAME=PATH.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        is_path = not (name and rest) or "/" in name or Path(text).exists()
        path = Path(text if is_path else rest)
        name = path.stem if is_path else name
        name = os.fsencode(name).decode(errors="replace")  # no file name has to be text
        if not is_path and not path.exists():
            raise FileNotFoundError(f"there is no {path} to be called {name}, and no {text}")
        if name in found:
            raise ValueError(f"{found[name]} and {path} are both called {name}: write NAME=PATH")
        found[name] = path
    return found
