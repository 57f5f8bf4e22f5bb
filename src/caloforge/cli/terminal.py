"""What all commands share: where they print, and options that mean the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from rich.console import Console

__all__ = [
    "Device",
    "Layout",
    "Processes",
    "Quiet",
    "Resume",
    "Run",
    "Seed",
    "console",
    "named_paths",
    "named_value",
    "numbers",
    "out",
]


def _terminal(*, stderr: bool) -> Console:
    """A console that prints text literally: names of files may look like markup, and their
    paths are copied from lines that are not broken.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


console = _terminal(stderr=True)
out = _terminal(stderr=False)

Run = Annotated[str, typer.Argument(help="A run folder, or the name or address of a model.")]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
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


def named_value(text: str, what: str) -> tuple[str, Any]:
    """Read name=value, the value as YAML has it.

    Args:
        text: what was given.
        what: is written so, for messages.

    Raises:
        ValueError: for any other text.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"a {what} is written name=value, got {text!r}")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"a {what} has a value such as 3 or text, got {text!r}") from error


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
