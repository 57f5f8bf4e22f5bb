"""Options of commands that choose how a trained system generates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from caloforge.cli.terminal import named_value

if TYPE_CHECKING:
    from caloforge.cascade import SamplingOptions

__all__ = [
    "Choose",
    "EnergySolver",
    "Memory",
    "Postprocess",
    "Precision",
    "Resample",
    "Solver",
    "choices_made",
]

# Whatever is not given is left to the system.
Solver = Annotated[
    str | None,
    typer.Option(
        help="How voxels are sampled by flow matching: euler-N, midpoint-N, rk4-N with N steps, "
        "adaptive, or one trained with the run, such as bns-8; points by diffusion: ddpm-100, "
        "heun-N, or distilled, consistency-1."
    ),
]
EnergySolver = Annotated[str | None, typer.Option(help="The same for layer energies.")]
Precision = Annotated[
    Literal["32", "bf16"] | None,
    typer.Option(
        help="Of the voxels' network: 32 bits, or bf16, fastest where the processor has matrix "
        "units for it."
    ),
]
Postprocess = Annotated[
    bool | None,
    typer.Option("--postprocess/--no-postprocess", help="The system's post-processing."),
]
Resample = Annotated[
    int | None,
    typer.Option(min=1, help="Showers upsampled from each coarse one (supercalo)."),
]
Memory = Annotated[
    int | None,
    typer.Option("--memory", min=1, help="For temporaries [MB]."),
]
Choose = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Any other choice of the run, repeatable: `caloforge info RUN` lists what there is.",
    ),
]


def choices_made(
    choose: Sequence[str] | None, *, memory: int | None = None, **named: Any
) -> SamplingOptions:
    """What was chosen, by an option of its own or by --choose.

    Args:
        choose: texts NAME=VALUE.
        memory: budget for temporaries [MB].
        named: other choices by name; None was not given.

    Raises:
        ValueError: for another text, or what is chosen twice.
    """
    from caloforge.cascade import SamplingOptions

    named["memory_budget"] = None if memory is None else memory * 1_000_000
    made = SamplingOptions({name: given for name, given in named.items() if given is not None})
    for text in choose or ():
        name, value = named_value(text, "choice")
        if name in made:
            raise ValueError(f"{name} is chosen twice, {made[name]!r} and {value!r}: choose once")
        made[name] = value
    return made
