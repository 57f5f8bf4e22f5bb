"""Showers in the tails of a classifier's weights: their pictures, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.tails import Contrast, Tail, Tails
from caloforge.geometry import Geometry, Layer, PolarLayer
from caloforge.report.figures import style
from caloforge.report.images import half_width
from caloforge.report.lines import name_margin
from caloforge.report.wide import Wide
from caloforge.showers import VoxelShowers

__all__ = ["TailRow", "draw_tails", "side_view", "tail_table"]

DECADES = 4  # of energy per mm in a picture
COLOURS = "viridis"
CLEAR = (
    3 * 1.25
)  # standard deviations of a mean by which a tail is off that are marked: 3 of a median


@dataclass(frozen=True)
class TailRow:
    """A quantity in the tails of generated and of Geant4 showers, as it appears in the table.

    Args:
        title: the quantity.
        cells: of each tail: median of all showers, median in the tail, shift in widths, and
            whether the shift is a clear one.
    """

    title: str
    cells: tuple[tuple[str, str, str, bool], ...]


def tail_table(tails: Tails) -> list[TailRow]:
    """Medians of the quantities of showers, in both tails and of all showers."""
    both = (tails.candidate, tails.reference)
    return [
        TailRow(name, tuple(_cells(tail.contrasts[name], len(tail.rows)) for tail in both))
        for name in tails.candidate.contrasts
    ]


def _cells(contrast: Contrast, n: int) -> tuple[str, str, str, bool]:
    every, tail = (f"{median:.3g}" for median in (contrast.every, contrast.tail))
    if not np.isfinite(contrast.shift):
        return every, tail, "–", False
    return every, tail, f"{contrast.shift:+z.1f}", abs(contrast.shift) * np.sqrt(n) >= CLEAR


def draw_tails(tails: Tails, names: tuple[str, str]) -> Wide:
    """Side views: generated showers of smallest weight above Geant4 showers of largest weight.

    Args:
        tails: the showers.
        names: of Geant4 and of the candidate.
    """
    reference, candidate = names
    rows = tuple(
        (name, tail, [side_view(shower) for shower in tail.showers.batches(1)])
        for name, tail in ((candidate, tails.candidate), (reference, tails.reference))
    )
    n = max(len(views) for *_, views in rows)
    highest = max((float(d.max()) for *_, views in rows for _, d in views), default=0) or 1.0
    norm = LogNorm(highest / 10**DECADES, highest)
    return Wide(n, partial(_draw_views, rows, norm))


def _draw_views(
    rows: Sequence[tuple[str, Tail, list[tuple[Floats, Floats]]]], norm: LogNorm, shown: range
) -> Figure:
    left = name_margin([name for name, *_ in rows]) + 0.1
    n, width = len(shown), 2.6 * len(shown) + left + 0.6
    with style():
        figure = Figure(figsize=(width, 6.6))
        # Fixed margins: matplotlib would take longer to find them than to draw.
        figure.subplots_adjust(
            left=left / width,
            right=1 - 0.75 / width,
            bottom=0.08,
            top=0.9,
            hspace=0.42,
            wspace=0.08,
        )
        ratios = [1.0] * n + [0.05]
        grid = figure.subplots(2, n + 1, squeeze=False, gridspec_kw={"width_ratios": ratios})
        for axes_row, (name, tail, views) in zip(grid, rows, strict=True):
            for axes, number in zip(axes_row, shown, strict=False):
                if number >= len(views):
                    axes.axis("off")
                    continue
                _draw_view(axes, *views[number], norm)
                axes.set_title(_caption(tail, number), fontsize=9)
                _finish_view(axes, tail.showers.geometry, name, is_first=number == shown.start)
            bar = figure.colorbar(ScalarMappable(norm, COLOURS), cax=axes_row[-1])
            bar.set_label("MeV / mm", size=10)
            bar.ax.tick_params(labelsize=9)
        for axes in grid[-1, :-1]:
            axes.set_xlabel("layer", fontsize=10, loc="center")
    return figure


def side_view(showers: VoxelShowers) -> tuple[Floats, Floats]:
    """Energy of a shower by layer and by place across it.

    Across is x in cartesian layers; in polar ones it is the distance from the axis, negative for
    the half where x is.

    Args:
        showers: one shower.

    Returns:
        Borders [mm] across, of all layers together, shape (k + 1,), and energy per length
        [MeV / mm], shape (n_layers, k).
    """
    geometry = showers.geometry
    voxels = showers.dense().reshape(-1).astype(np.float64)
    across = [_borders(layer) for layer in geometry.layers]
    borders = np.unique(np.concatenate(across))
    middle = (borders[1:] + borders[:-1]) / 2
    density = np.zeros((geometry.n_layers, len(middle)))
    for number, (layer, own) in enumerate(zip(geometry.layers, across, strict=True)):
        cells = geometry.layer_slice(number)
        energy, _ = np.histogram(_places(geometry, layer, cells), own, weights=voxels[cells])
        inside = (middle > own[0]) & (middle < own[-1])
        cell = np.searchsorted(own, middle[inside]) - 1
        density[number, inside] = (energy / np.diff(own))[cell]
    return borders, density


def _borders(layer: Layer) -> Floats:
    if isinstance(layer, PolarLayer):
        r = np.asarray(layer.r_edges, np.float64)
        return np.unique(np.concatenate([-r, r]))
    return np.asarray(layer.x_edges, np.float64)


def _places(geometry: Geometry, layer: Layer, cells: slice) -> Floats:
    """Where the voxels of a layer lie across the shower [mm]."""
    x = geometry.voxel_x[cells]
    if isinstance(layer, PolarLayer):
        return np.asarray(np.copysign(geometry.voxel_r[cells], x), np.float64)
    return np.asarray(x, np.float64)


def _draw_view(axes: Axes, borders: Floats, density: Floats, norm: LogNorm) -> None:
    axes.set_facecolor("#f1f2f4")
    layers = np.arange(len(density) + 1) - 0.5
    shown = np.ma.masked_less_equal(density.T, 0)
    axes.pcolormesh(layers, borders, shown, norm=norm, cmap=COLOURS, rasterized=True)


def _caption(tail: Tail, number: int) -> str:
    """Which shower it is, its weight, and its main observables."""
    energy, ratio, hits, _, depth, *_ = (values[number] for values in tail.quantities.values())
    return (
        f"no. {tail.rows[number]}, w = {tail.weights[number]:.3g}\n"
        f"{energy:.3g} GeV, visible × {ratio:.3g}\n"
        f"{hits:.0f} voxels, depth {depth:.1f} layers"
    )


def _finish_view(axes: Axes, geometry: Geometry, name: str, *, is_first: bool) -> None:
    axes.tick_params(labelsize=9, which="both", top=False, right=False, direction="out")
    axes.minorticks_off()
    axes.tick_params(labelleft=is_first)
    if (reach := half_width(geometry)) is not None:
        axes.set_ylim(-reach, reach)
    if is_first:
        polar = isinstance(geometry.layers[0], PolarLayer)
        axes.set_ylabel(f"{name}\n{'± r' if polar else 'x'} [mm]", fontsize=10, loc="center")
