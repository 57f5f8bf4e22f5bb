"""The command `caloforge evaluate`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import caloforge as cf
from caloforge.cli.terminal import Quiet, Seed, console, out

__all__ = ["evaluate"]


def evaluate(
    candidates: Annotated[
        list[str], typer.Argument(help="Generated files, each as path or name=path.")
    ],
    reference: Annotated[Path, typer.Option(help="Geant4 showers to compare with.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of scores and page.")],
    other: Annotated[
        Path | None,
        typer.Option(
            help="A second sample of Geant4 showers, from which the floor is taken; without it, "
            "halves of the reference."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Take only this metric (repeat for more; 'all' for every one)."),
    ] = None,
    timing: Annotated[
        list[str] | None,
        typer.Option(help="Result of `caloforge bench` of a candidate, as name=path or path."),
    ] = None,
    geometry: Annotated[str | None, typer.Option(help="Where a file does not say.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Read-out threshold [MeV]; by default the geometry's.")
    ] = None,
    figures: Annotated[
        list[str] | None, typer.Option("--figures", help="Also as files: png, pdf.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Print the CaloChallenge's table as well.")
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Keep results, so that only what is new is computed next time.")
    ] = True,
    seed: Seed = 0,
    as_json: Quiet = False,
) -> None:
    """Compare generated showers with Geant4's, and write the page.

    Example: caloforge evaluate --reference test.h5 fake.h5 -o eval/
    """
    from caloforge.cli.progress import EvaluationDisplay
    from caloforge.evaluation import DEFAULT_METRICS, metric_names

    metrics = metric_names() if metric and "all" in metric else metric or DEFAULT_METRICS
    display = EvaluationDisplay(console)
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(cf.open_showers(path, geometry, clip_negative=True))
            for name, path in _named(candidates).items()
        }
        truth = stack.enter_context(cf.open_showers(reference, geometry))
        second = stack.enter_context(cf.open_showers(other, geometry)) if other else None
        with display.live():
            scores = cf.evaluate(
                truth,
                files,
                other=second,
                threshold=threshold,
                metrics=metrics,
                timing={n: json.loads(p.read_text()) for n, p in _named(timing or []).items()},
                seed=seed,
                cache=output / "cache" if cache else None,
                progress=display,
            )
        scores.save(output, figures=figures or ())
    if as_json:
        out.print_json(scores.to_json())
    else:
        from rich.markdown import Markdown

        out.print(Markdown(scores.to_markdown(published=published)))
    console.print(f"page: {output / 'report.html'}")


def _named(texts: list[str]) -> dict[str, Path]:
    """Paths by name, each given as name=path or as a path that has its file's name."""
    files: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.rpartition("=")
        files[name or Path(path).stem] = Path(path)
    if len(files) < len(texts):
        raise ValueError("two candidates have one name: write name=path to tell them apart")
    return files
