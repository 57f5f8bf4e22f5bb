"""The command `caloforge evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import caloforge as cf
from caloforge.cli.cells import cells_around
from caloforge.cli.terminal import Processes, Quiet, Seed, console, named_paths, out
from caloforge.geometry import Geometry

if TYPE_CHECKING:
    from caloforge.data import ShowerFile

    File = ShowerFile[cf.VoxelShowers] | ShowerFile[cf.PointShowers]

__all__ = ["evaluate"]


def evaluate(
    candidates: Annotated[
        list[str], typer.Argument(help="Generated files, each as PATH or NAME=PATH.")
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
    training: Annotated[
        list[str] | None,
        typer.Option(
            help='The showers that the candidates were trained on: a file, or "train_*.h5"; '
            "repeatable."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Take only this metric (repeat for more; 'all' for every one)."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Every score in ranges of energy, direction or kind as well, such as energy:4 "
            "(repeat for cells of several).",
            metavar="AXIS[:RANGES]",
        ),
    ] = None,
    timing: Annotated[
        list[str] | None,
        typer.Option(help="Result of `caloforge bench` of a candidate, as NAME=PATH or PATH."),
    ] = None,
    geometry: Annotated[
        str | None,
        typer.Option(help="Cells to project points into; for cells, if a file does not state it."),
    ] = None,
    impact: Annotated[
        str | None,
        typer.Option(
            help="Impact point X,Z in the detector [mm] (geometry ild-ecal).", metavar="X,Z"
        ),
    ] = None,
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
    processes: Processes = 1,
    seed: Seed = 0,
    as_json: Quiet = False,
) -> None:
    """Compare generated showers with Geant4's, and write the report page.

    Point clouds are projected into the cells of a geometry, by default their own.

    Example: caloforge evaluate --reference test.h5 fake.h5 -o eval/

    Example: caloforge evaluate --reference test_points.h5 fake_points.h5 --geometry ild-ecal
    --impact 37.5,-36.1 -o eval/
    """
    from caloforge.cli.progress import EvaluationDisplay
    from caloforge.data import check_folder, holds_points, open_source

    check_folder(output)
    cells = cf.geometry_preset(geometry) if geometry else None
    if impact is not None:
        cells = cells_around(impact, cells or cf.geometry_preset("ild-ecal"))
    display = EvaluationDisplay(console)
    with ExitStack() as stack:
        files = {
            name: _open(stack, path, cells, clip_negative=True)
            for name, path in named_paths(candidates).items()
        }
        truth = _open(stack, reference, cells)
        second = _open(stack, other, cells) if other else None
        of_voxels = None if holds_points(reference) else cells  # points have their layers
        learned = open_source(training, of_voxels) if training else None
        if learned is not None:
            stack.callback(learned.close)
        metrics: Sequence[str] | None = metric
        if metric and "all" in metric:
            metrics = _all_metrics(
                cells or truth.geometry, [truth, *files.values()], with_training=bool(training)
            )
        with display.live():
            scores = cf.evaluate(
                truth,
                files,
                other=second,
                training=learned,
                geometry=cells,
                threshold=threshold,
                metrics=metrics,
                by=by,
                timing={
                    name: {**json.loads(path.read_text()), "file": path.name}
                    for name, path in named_paths(timing or []).items()
                },
                seed=seed,
                cache=output / "cache" if cache else None,
                processes=processes,
                progress=display,
            )
        scores.save(output, figures=figures or ())
    if as_json:
        out.print_json(scores.to_json())
    else:
        from caloforge.cli.tables import Tables

        out.print(Tables(scores.to_markdown(published=published)))
    for name, sample in {"Geant4": scores.reference, **scores.candidates}.items():
        if sample.clouds is not None:
            lost = sample.clouds.features["lost"].mean()
            into = sample.geometry.name
            console.print(f"{name}: {lost:.2%} of the energy lost in the projection into {into}")
    console.print(f"page: {output / 'report.html'}")


def _open(
    stack: ExitStack, path: Path, geometry: Geometry | None, *, clip_negative: bool = False
) -> File:
    """Open a file of either kind until the stack ends; points have the layers they lie in."""
    from caloforge.data import holds_points, open_points

    if holds_points(path):
        return stack.enter_context(open_points(path))
    file = cf.open_showers(path, geometry, clip_negative=clip_negative)
    return stack.enter_context(file)


def _all_metrics(
    geometry: Geometry, files: Sequence[File], *, with_training: bool
) -> tuple[str, ...]:
    """Every metric that the showers allow; says which they do not."""
    from caloforge.evaluation import fitting_metrics, holds_points, metric_names

    of_points = all(holds_points(file) for file in files)
    suited = fitting_metrics(geometry, of_points=of_points, with_training=True)
    fitting = fitting_metrics(geometry, of_points=of_points, with_training=with_training)
    if left_out := [name for name in metric_names() if name not in suited]:
        console.print(f"left out, as {geometry.name} does not suit them: {', '.join(left_out)}")
    if untrained := [name for name in suited if name not in fitting]:
        console.print(f"left out, as they need --training: {', '.join(untrained)}")
    return fitting
