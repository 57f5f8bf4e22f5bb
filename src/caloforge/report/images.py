"""Draw average showers and correlations of layers, in mplhep style."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from caloforge.evaluation.metrics.correlation import pearson
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry, Layer, PolarLayer
from caloforge.report.figures import style
from caloforge.report.layers import counts_hits
from caloforge.report.lines import name_margin
from caloforge.report.wide import Wide
from caloforge.units import mm

__all__ = ["average_showers", "correlations", "half_width"]

N_IMAGES = 5
NEAR = 100 * mm  # of the axis: what pictures show of a detector's whole wall of cells


def half_width(geometry: Geometry) -> float | None:
    """How far from the axis pictures reach [mm]; None: as far as the voxels."""
    return NEAR if counts_hits(geometry) else None


class Row(NamedTuple):
    """A quantity of every voxel, shape (n_voxels,), drawn layer by layer in one scale."""

    name: str
    values: Floats
    norm: Normalize
    colours: str
    unit: str


def average_showers(reference: Sample, candidate: Sample, names: tuple[str, str]) -> Wide:
    """Mean energy per area in a few layers: the reference, the candidate, and their ratio.

    A column a layer. The ratio of a voxel is left grey where its statistical error is above 0.3.
    """
    area = _areas(reference.geometry)
    first, second = (sample.mean_shower / area for sample in (reference, candidate))
    norm, unit = _scale(first), r"MeV / mm$^2$"
    ratio = _known_ratio(reference, candidate)
    rows = (
        Row(names[0], first, norm, "viridis", unit),
        Row(names[1], second, norm, "viridis", unit),
        Row("ratio", ratio, Normalize(0.5, 1.5), "RdBu_r", f"ratio to {names[0]}"),
    )
    layers = _layers_drawn(reference)
    return Wide(len(layers), partial(_draw_average, reference.geometry, rows, layers))


def _draw_average(
    geometry: Geometry, rows: Sequence[Row], layers: Sequence[int], shown: range
) -> Figure:
    left = name_margin([row.name for row in rows])
    n, width = len(shown), 2.1 * len(shown) + left + 0.7
    with style():
        # Fixed margins: matplotlib would take longer to find them than to draw.
        figure = Figure(figsize=(width, 6.9))
        figure.subplots_adjust(
            left=left / width,
            right=1 - 0.65 / width,
            bottom=0.075,
            top=0.955,
            hspace=0.06,
            wspace=0.08,
        )
        ratios = [1.0] * n + [0.05]
        grid = figure.subplots(3, n + 1, squeeze=False, gridspec_kw={"width_ratios": ratios})
        for number, row in enumerate(rows):
            for column, layer in enumerate(layers[i] for i in shown):
                axes, here = grid[number, column], row.values[geometry.layer_slice(layer)]
                mesh = _draw_layer(axes, geometry.layers[layer], here, row.norm, row.colours)
                _finish_image(axes, number, column, layer, geometry, row.name)
            extend = _beyond(row.values, row.norm)
            bar = figure.colorbar(mesh, cax=grid[number, -1], extend=extend)
            bar.set_label(row.unit, size=10)
            bar.ax.tick_params(labelsize=9)
    return figure


def _beyond(values: Floats, norm: Normalize) -> str:
    """At which ends of the colours there are values beyond them, in matplotlib's words."""
    seen, (first, last) = values[values > 0], (norm.vmin, norm.vmax)
    assert first is not None
    assert last is not None
    low, high = (seen < first).any(), (seen > last).any()
    return "both" if low and high else "min" if low else "max" if high else "neither"


def _known_ratio(reference: Sample, candidate: Sample) -> Floats:
    """Ratio of the mean energies of each voxel, NaN where statistics are too low."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = candidate.mean_shower / reference.mean_shower
        parts = (sample.mean_shower_error / sample.mean_shower for sample in (reference, candidate))
        return np.where(np.hypot(*parts) < 0.3, ratio, np.nan)


def _layers_drawn(sample: Sample) -> list[int]:
    """Layers from the front to where 98 % of the energy lie in front."""
    mean = sample.features["E_layer"].mean(axis=0)
    last = int(np.searchsorted(np.cumsum(mean) / mean.sum(), 0.98))
    return sorted({round(i) for i in np.linspace(0, last, N_IMAGES)})


def _scale(density: Floats) -> Normalize:
    seen = density[density > 0]
    return LogNorm(float(np.quantile(seen, 0.02)), float(seen.max()))


def _areas(geometry: Geometry) -> Floats:
    """Area of each voxel [mm²], shape (n_voxels,)."""
    return np.concatenate([_layer_areas(layer) for layer in geometry.layers])


def _layer_areas(layer: Layer) -> Floats:
    if isinstance(layer, PolarLayer):
        rings = np.pi * np.diff(np.square(layer.r_edges)) / layer.n_alpha
        return np.tile(rings, layer.n_alpha)
    return np.outer(np.diff(layer.x_edges), np.diff(layer.y_edges)).ravel()


def _draw_layer(axes: Axes, layer: Layer, values: Floats, norm: Normalize, colours: str) -> Any:
    """Draw the voxels of a layer where they are, in x and y [mm]."""
    axes.set_facecolor("#f1f2f4")
    block = values.reshape(layer.shape)
    if isinstance(layer, PolarLayer):
        # Each bin in alpha is drawn as several, so that its outer border is round.
        slices = -(-96 // layer.n_alpha)
        alpha = np.linspace(-np.pi, np.pi, layer.n_alpha * slices + 1)
        x = np.outer(np.cos(alpha), layer.r_edges)
        y = np.outer(np.sin(alpha), layer.r_edges)
        block = np.repeat(block, slices, axis=0)
    else:
        x, y = np.meshgrid(layer.x_edges, layer.y_edges, indexing="ij")
    shown = np.ma.masked_invalid(np.where(block > 0, block, np.nan))
    return axes.pcolormesh(x, y, shown, norm=norm, cmap=colours, rasterized=True)


def _finish_image(
    axes: Axes, row: int, column: int, layer: int, geometry: Geometry, name: str
) -> None:
    axes.set_aspect("equal")
    if (reach := half_width(geometry)) is not None:
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.tick_params(labelsize=9, which="both", top=False, right=False, direction="out")
    axes.minorticks_off()
    if row == 0:
        axes.set_title(f"layer {layer}, depth {geometry.z[layer]:.0f} mm", fontsize=10)
    axes.tick_params(labelbottom=row == 2, labelleft=column == 0)
    if row == 2:
        axes.set_xlabel("x [mm]", fontsize=10, loc="center")
    if column == 0:
        axes.set_ylabel(f"{name}\ny [mm]", fontsize=10, loc="center")


class Matrix(NamedTuple):
    """A number of every two layers, in its scale."""

    title: str
    values: Floats
    norm: Normalize
    unit: str


def correlations(reference: Sample, candidate: Sample, names: tuple[str, str]) -> Wide:
    """Pearson correlation of layer energies: the reference, the candidate, and the difference."""
    first, second = (pearson(sample.features["E_layer"]) for sample in (reference, candidate))
    difference = second - first
    half = _half_range(difference)
    matrices = (
        Matrix(names[0], first, Normalize(-1, 1), "correlation"),
        Matrix(names[1], second, Normalize(-1, 1), "correlation"),
        Matrix(
            f"difference: mean {np.abs(difference).mean():.3f}, max {np.abs(difference).max():.3f}",
            difference,
            Normalize(-half, half),
            f"difference from {names[0]}",
        ),
    )
    return Wide(len(matrices), partial(_draw_matrices, matrices))


def _draw_matrices(matrices: Sequence[Matrix], shown: range) -> Figure:
    n, width = len(shown), 4.1 * len(shown)
    with style():
        figure = Figure(figsize=(width, 3.5))
        figure.subplots_adjust(
            left=0.55 / width, right=1 - 0.35 / width, bottom=0.12, top=0.93, wspace=0.2
        )
        grid = figure.subplots(1, n, squeeze=False)[0]
        for axes, (title, matrix, norm, unit) in zip(
            grid, (matrices[i] for i in shown), strict=True
        ):
            borders = np.arange(len(matrix) + 1) - 0.5
            mesh = axes.pcolormesh(
                borders, borders, matrix, norm=norm, cmap="RdBu_r", rasterized=True
            )
            axes.set_aspect("equal")
            axes.set_title(title, fontsize=10)
            axes.tick_params(labelsize=9, which="both", top=False, right=False, direction="out")
            axes.minorticks_off()
            axes.set_xlabel("layer", fontsize=10, loc="center")
            axes.set_ylabel("layer", fontsize=10, loc="center")
            beyond = "both" if np.abs(matrix).max() > norm.vmax else "neither"
            bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=18, extend=beyond)
            bar.set_label(unit, size=10)
            bar.ax.tick_params(labelsize=9)
    return figure


def _half_range(difference: Floats) -> float:
    """Half the range of the colours: the smallest that holds 99 of 100 entries."""
    needed = float(np.quantile(np.abs(difference), 0.99))
    return next((half for half in (0.05, 0.1, 0.2, 0.5) if needed <= half), 1.0)
