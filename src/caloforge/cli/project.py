"""The command `project`: clouds of points into the cells of a detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import caloforge as cf
from caloforge.cli.cells import cells_around
from caloforge.cli.terminal import Layout, Quiet, console, numbers, out

if TYPE_CHECKING:
    from caloforge.showers import Floats

__all__ = ["project"]

BATCH_SIZE = 200  # showers, of some thousand points each


def project(
    points: Annotated[Path, typer.Argument(help="A file of point clouds.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    geometry: Annotated[
        str | None, typer.Option(help="The cells, such as ild-30; by default of the points.")
    ] = None,
    impact: Annotated[
        str | None,
        typer.Option(help="Impact point X,Z in the detector [mm] (ild-ecal).", metavar="X,Z"),
    ] = None,
    shift: Annotated[
        str, typer.Option(help="Added to x and y of every point [mm].", metavar="X,Y")
    ] = "0,0",
    angle: Annotated[
        float, typer.Option(help="Rotation about the z axis, before the shift [radian].")
    ] = 0.0,
    layout: Layout = "sparse",
    as_json: Quiet = False,
) -> None:
    """Sum the points of showers in the cells of a detector, anywhere in it.

    No threshold is applied. What falls into the gaps between sensors, or outside a geometry that
    ends by choice, is lost: the file's column `lost` holds its fraction of each shower's energy.

    Example: caloforge project points.h5 --geometry ild-ecal --impact 37.5,-36.1 -o cells.h5
    """
    import numpy as np

    from caloforge.data import create, open_points

    moved, turn = numbers(shift, 2), angle or None
    n_hits, lost = 0, [np.zeros(0)]
    with open_points(points) as file:
        cells = cf.geometry_preset(geometry) if geometry else file.geometry
        if impact is not None:
            cells = cells_around(impact, cells)
        outside = file.column("outside")  # what the points lack
        columns: dict[str, Floats] = {} if outside is None else {"outside": outside}
        made_by = {"points": points.name, "shift_mm": moved, "angle": angle, "threshold_MeV": 0.0}
        attributes = {**file.passed_on, **made_by}
        with create(
            output,
            cells,
            layout=layout,
            attributes=attributes,
            columns=columns,
            n_expected=len(file),
        ) as writer:
            for batch in file.batches(BATCH_SIZE):
                showers = batch.project(cells, moved, turn)
                writer.append(showers)
                n_hits += len(showers.energy)
                lost.append(batch.lost(showers))
            columns["lost"] = np.concatenate(lost)
    _print_summary(output, cells, n_hits, columns["lost"], as_json=as_json)


def _print_summary(
    output: Path, cells: cf.Geometry, n_hits: int, lost: Floats, *, as_json: bool
) -> None:
    n = max(len(lost), 1)
    hits, mean, most = n_hits / n, float(lost.sum()) / n, float(lost.max(initial=0))
    if as_json:
        facts = {
            "output": str(output),
            "geometry": cells.name,
            "showers": len(lost),
            "hits": hits,
            "lost": {"mean": mean, "max": most},
        }
        out.print_json(json.dumps(facts))
        return
    console.print(
        f"{output}: {len(lost)} showers in the cells of {cells.name}, {hits:,.0f} of them hit by "
        f"each, {mean:.2%} of the energy lost, at most {most:.2%} of a shower's"
    )
