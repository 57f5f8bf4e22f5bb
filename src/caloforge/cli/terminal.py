"""What all commands share: where they print, and options that mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

__all__ = ["Quiet", "Resume", "Seed", "console", "out"]

console = Console(stderr=True)
out = Console()

Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
Quiet = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted job.")]
