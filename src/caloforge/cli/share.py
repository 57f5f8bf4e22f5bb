"""The commands that share models: card, push and pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.terminal import console, out

__all__ = ["card", "pull", "push"]

Run = Annotated[Path, typer.Argument(help="The run folder.")]
Address = Annotated[
    str, typer.Argument(help="hf://owner/name, with @revision, https://server/model, or a folder.")
]


def card(
    run: Run,
    evaluation: Annotated[
        Path | None, typer.Option(help="Folder or scores.json of `caloforge evaluate`.")
    ] = None,
    candidate: Annotated[
        str | None, typer.Option(help="The model's name there, if there are several.")
    ] = None,
    bench: Annotated[
        list[Path] | None, typer.Option(help="Result of `caloforge bench`; repeatable.")
    ] = None,
    training: Annotated[
        list[str] | None,
        typer.Option(help="The training sample, if it was moved; repeatable."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="SPDX name of the model's licence.", show_default="that of caloforge"),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Its future address, for the example: hf://owner/name.")
    ] = None,
) -> None:
    """Write the card of a trained generator: README.md, card.json and checksums.json in its folder.

    Everything is taken from the run folder and from what commands have measured. What was not
    measured is listed as missing.

    Example: caloforge card runs/l2l --evaluation eval/ --bench timing.json
    """
    from caloforge.cards import write_card

    written = write_card(
        run,
        evaluation_of=evaluation,
        candidate=candidate,
        timings=bench or (),
        training=training or (),
        licence=licence,
        address=address,
    )
    console.print(f"{run / 'README.md'}: {len(written['files'])} files of the model")
    for text in written["missing"]:
        console.print(f"missing: {text}")


def push(
    run: Run,
    address: Annotated[str, typer.Argument(help="hf://owner/name, or a new folder.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository for its owner alone.")
    ] = False,
) -> None:
    """Publish a trained generator with its card on the Hugging Face Hub or in a folder.

    Example: caloforge push runs/l2l hf://owner/l2l-electrons
    """
    from caloforge.training import sharing

    out.print(sharing.push(run, address, private=private))


def pull(
    address: Address,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
) -> None:
    """Fetch a shared generator, and compare it with its checksums.

    Example: caloforge pull hf://owner/l2l-electrons -o runs/theirs
    """
    from caloforge.training import sharing

    out.print(sharing.pull(address, output))
