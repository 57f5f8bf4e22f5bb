"""Draw panels and average showers, in mplhep style."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry, Layer, PolarLayer
from caloforge.report.histograms import Histogram, content
from caloforge.report.panels import Panel

__all__ = ["COLOURS", "average_showers", "draw", "encode", "style"]

GEANT4 = "#3c4350"
# Petroff's ten colours, which stay apart for colour-blind eyes, without the greys.
COLOURS = (
    *("#3f90da", "#e8871e", "#bd1f01", "#832db6", "#2e8b57", "#a96b59", "#d6409f", "#b9ac70"),
    *("#1d4e89", "#92dadd"),
)
LINES = ("-", "--", ":")
N_IMAGES = 5

_STYLE: Any = {
    **mplhep.style.ROOT,
    "figure.figsize": (5.0, 4.4),
    "figure.dpi": 160,
    "font.size": 12,
    "legend.fontsize": 10.5,
    "axes.titlesize": 12,
    "axes.linewidth": 1.0,
    "lines.linewidth": 1.6,
    "xtick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.major.size": 6,
    "ytick.minor.size": 3,
    "xtick.major.pad": 4,
    "pdf.fonttype": 42,
}
del _STYLE["axes.prop_cycle"]


@contextmanager
def style() -> Iterator[None]:
    """Draw in the page's style within a block."""
    with mpl.rc_context(_STYLE):
        yield


def encode(figure: Figure, kind: str) -> bytes:
    """The file of a figure, such as "png" or "pdf"."""
    buffer = BytesIO()
    with style():
        if kind == "png":  # savefig would lay everything out twice
            canvas: Any = FigureCanvasAgg(figure)
            canvas.print_png(buffer)
        else:
            figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def line_of(number: int) -> dict[str, Any]:
    """Colour and line of candidate `number`."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": LINES[number // len(COLOURS) % len(LINES)],
    }


def draw(panel: Panel) -> Figure:
    """Draw a panel: Geant4 filled with its statistical band, candidates as steps, ratios below."""
    with style():
        # Fixed margins: matplotlib would take longer to find them than to draw.
        figure = Figure()
        figure.subplots_adjust(left=0.165, right=0.975, bottom=0.125, top=0.975, hspace=0.08)
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
        (name, reference), *candidates = panel.histograms.items()
        _draw_reference(upper, reference, name)
        _draw_ratio(lower, reference, reference, GEANT4, band=True)
        for number, (label, histogram) in enumerate(candidates):
            mplhep.histplot(
                histogram, ax=upper, yerr=False, flow="none", label=label, **line_of(number)
            )
            _draw_ratio(lower, histogram, reference, line_of(number)["color"])
        _finish(panel, upper, lower, reference)
    return figure


def _draw_reference(axes: Axes, histogram: Histogram, label: str) -> None:
    value, error = content(histogram)
    edges = histogram.axes[0].edges
    axes.stairs(value, edges, fill=True, color="#d9dce1", label=label)
    axes.stairs(value, edges, color=GEANT4, linewidth=1.0)
    axes.stairs(
        value + error, edges, baseline=np.maximum(value - error, 0), fill=True, color="#9aa1ac"
    )


def _draw_ratio(
    axes: Axes, histogram: Histogram, reference: Histogram, colour: str, *, band: bool = False
) -> None:
    edges = histogram.axes[0].edges
    ratio, error = ratio_to(reference, histogram)
    if band:
        error = np.nan_to_num(error)
        axes.stairs(1 + error, edges, baseline=1 - error, fill=True, color="#d9dce1")
        axes.axhline(1, color=GEANT4, linewidth=0.8)
        return
    axes.stairs(ratio, edges, baseline=None, color=colour, linewidth=1.0, alpha=0.6)
    middle = np.sqrt(edges[1:] * edges[:-1]) if (edges > 0).all() else (edges[1:] + edges[:-1]) / 2
    axes.errorbar(
        middle, ratio, error, fmt="o", color=colour, markersize=2.2, elinewidth=0.8, linewidth=0
    )


def ratio_to(reference: Histogram, histogram: Histogram) -> tuple[Floats, Floats]:
    """Ratio of bin contents and its error from the numerator; NaN where Geant4 has no statistics.

    A bin has statistics if the error of its content is less than half of it.
    """
    below, spread = content(reference)
    below = np.where(spread < 0.5 * below, below, np.nan)
    value, error = content(histogram)
    return value / below, error / below


def _ratio_range(panel: Panel) -> float:
    """Half the range of the ratio's axis: the smallest that holds nine points in ten."""
    reference, *others = panel.histograms.values()
    distances = np.concatenate([np.abs(ratio_to(reference, other)[0] - 1) for other in others])
    distances = distances[np.isfinite(distances)]
    needed = float(np.quantile(distances, 0.9)) if len(distances) else 0.0
    return next((half for half in (0.1, 0.2, 0.5) if needed < 0.9 * half), 0.9)


def _finish(panel: Panel, upper: Axes, lower: Axes, reference: Histogram) -> None:
    edges = reference.axes[0].edges
    value, error = content(reference)
    others = list(panel.histograms.values())[1:]
    own = (value + error).max()
    # A candidate that is far off may leave the frame, so that Geant4 stays visible.
    top = min(max(own, *(content(other)[0].max() for other in others)), 3 * own) or 1.0
    n_lines = -(-len(panel.histograms) // (2 if len(panel.histograms) > 5 else 1))
    room = 0.075 * n_lines + 0.04  # for the legend, as a fraction of the height
    if panel.log_y:
        positive = value[value > 0]
        bottom = positive.min() / 3 if len(positive) else top / 1e3
        upper.set_yscale("log")
        upper.set_ylim(bottom, top * (top / bottom) ** (room / (1 - room)) * 1.5)
    else:
        upper.set_ylim(0, top / (1 - room) * 1.03)
    if panel.log_x:
        upper.set_xscale("log")
        if edges[-1] < 200 * edges[0]:
            upper.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            upper.xaxis.set_major_formatter("{x:g}")
        upper.xaxis.set_minor_formatter(NullFormatter())
    else:
        upper.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    upper.set_xlim(edges[0], edges[-1])
    upper.yaxis.set_label_coords(-0.14, 1)
    upper.set_ylabel(panel.y_label)
    upper.set_xlabel("")
    lower.set_xlabel(reference.axes[0].label)
    half = _ratio_range(panel)
    lower.set_ylim(1 - half, 1 + half)
    lower.set_ylabel("ratio", loc="center")
    lower.yaxis.set_label_coords(-0.14, 0.5)
    upper.legend(
        ncols=2 if len(panel.histograms) > 5 else 1,
        loc="upper right",
        fontsize=10.5 if len(panel.histograms) < 12 else 7,
        borderpad=0.3,
        labelspacing=0.25,
        handlelength=1.2,
    )
    for axes in (upper, lower):
        axes.label_outer()


def average_showers(reference: Sample, candidate: Sample, names: tuple[str, str]) -> Figure:
    """Mean energy per area in a few layers: the reference, the candidate, and their ratio.

    The ratio of a voxel is left grey where its statistical error is above 0.3.
    """
    geometry, layers = reference.geometry, _layers_drawn(reference)
    area = _areas(geometry)
    density = [sample.mean_shower / area for sample in (reference, candidate)]
    colours = _scale(density[0])
    rows = (
        (names[0], density[0], colours, r"MeV / mm$^2$"),
        (names[1], density[1], colours, r"MeV / mm$^2$"),
        ("ratio", _known_ratio(reference, candidate), _RATIO, f"{names[1]} / {names[0]}"),
    )
    with style():
        figure = Figure(figsize=(2.25 * len(layers) + 0.9, 6.9), layout="constrained")
        grid = figure.subplots(3, len(layers), squeeze=False, sharex="col", sharey="col")
        for row, (name, values, (norm, colour_map), unit) in enumerate(rows):
            for column, number in enumerate(layers):
                axes, layer = grid[row, column], geometry.layers[number]
                here = values[geometry.layer_slice(number)]
                mesh = _draw_layer(axes, layer, here, norm, colour_map)
                _finish_image(axes, row, column, number, geometry, name)
            bar = figure.colorbar(mesh, ax=list(grid[row]), pad=0.01, aspect=16)
            bar.set_label(unit, size=10)
            bar.ax.tick_params(labelsize=9)
    return figure


_RATIO = Normalize(0.5, 1.5), "RdBu_r"


def _known_ratio(reference: Sample, candidate: Sample) -> Floats:
    """Ratio of the mean energies of each voxel, NaN where statistics do not tell it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = candidate.mean_shower / reference.mean_shower
        parts = (sample.mean_shower_error / sample.mean_shower for sample in (reference, candidate))
        return np.where(np.hypot(*parts) < 0.3, ratio, np.nan)


def _layers_drawn(sample: Sample) -> list[int]:
    """Layers from the front to where 98 % of the energy lie in front."""
    mean = sample.features["E_layer"].mean(axis=0)
    last = int(np.searchsorted(np.cumsum(mean) / mean.sum(), 0.98))
    return sorted({round(i) for i in np.linspace(0, last, N_IMAGES)})


def _scale(density: Floats) -> tuple[Normalize, str]:
    seen = density[density > 0]
    return LogNorm(float(np.quantile(seen, 0.02)), float(seen.max())), "viridis"


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
    axes.tick_params(labelsize=9, which="both", top=False, right=False, direction="out")
    axes.minorticks_off()
    if row == 0:
        axes.set_title(f"layer {layer}, depth {geometry.z[layer]:.0f} mm", fontsize=10)
    if row == 2:
        axes.set_xlabel("x [mm]", fontsize=10, loc="center")
    if column == 0:
        axes.set_ylabel(f"{name}\ny [mm]", fontsize=10, loc="center")
