"""Draw panels in mplhep style."""

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
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from caloforge.evaluation.observables import Floats
from caloforge.report.histograms import Histogram, content, outside
from caloforge.report.lines import (
    add_legend,
    add_symbols,
    legend_name,
    line_of,
    mark_beyond,
    mark_outside,
    new_figure,
    symbol_of,
)
from caloforge.report.panel import Panel

__all__ = ["GEANT4", "LIGHT", "MIDDLE", "draw", "encode", "encode_small", "style"]

GEANT4 = "#3c4350"
MIDDLE, LIGHT = "#9aa1ac", "#d9dce1"  # Geant4's errors and its area
FEW = 8  # candidates whose errors stay legible in strong bands
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
    """The file of a figure, such as "png" or "pdf", fit for print, with the legend above it."""
    buffer = BytesIO()
    with style():
        figure.savefig(buffer, format=kind, dpi=300, bbox_inches="tight", pad_inches=0.03)
    return buffer.getvalue()


def encode_small(figure: Figure) -> bytes:
    """A PNG file of the canvas, of at most 256 colours: a third of the size of one with all."""
    with style():
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
    whole = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = BytesIO()
    whole.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def draw(panel: Panel) -> Figure:
    """Draw a panel: Geant4 filled, candidates as steps, bands of statistics, ratios below.

    Arrows at the frame mark values beyond it, and for showers beyond its sides.
    """
    with style():
        figure = new_figure()
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
        (name, reference), *candidates = panel.histograms.items()
        _draw_reference(upper, lower, reference, name)
        strength = 0.22 if len(candidates) < FEW else 0.07
        for number, (label, histogram) in enumerate(candidates):
            known = content(histogram)
            _draw_steps(upper, histogram, known, number, strength, baseline=0)
            _draw_steps(lower, histogram, ratio_to(reference, histogram), number, strength)
            upper.plot([], [], label=legend_name(label), **line_of(number), **_form(number))
        _finish(panel, upper, lower, reference)
        add_legend(figure, list(panel.histograms))
        x = _middles(reference, log=panel.log_x)
        for number, (_, histogram) in enumerate(candidates):
            colour, ratio = line_of(number)["color"], ratio_to(reference, histogram)[0]
            value = content(histogram)[0]
            # nothing where Geant4 has nothing either lies nowhere on a logarithmic axis
            told = np.where((value > 0) | (content(reference)[0] > 0), value, np.nan)
            for axes, shown in ((upper, told), (lower, ratio)):
                add_symbols(axes, x, shown, number)
                mark_beyond(axes, x, shown, colour)
        mark_outside(upper, [outside(histogram) for _, histogram in candidates])
        if panel.cut is not None:
            for axes in (upper, lower):
                axes.axvspan(axes.get_xlim()[0], panel.cut, color=MIDDLE, alpha=0.35, linewidth=0)
    return figure


def _form(number: int) -> dict[str, Any]:
    """Its symbol, for what has the colour of its line already."""
    return {name: value for name, value in symbol_of(number).items() if name != "color"}


def _middles(histogram: Histogram, *, log: bool) -> Floats:
    edges = histogram.axes[0].edges
    return np.asarray(np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2)


def _draw_reference(upper: Axes, lower: Axes, histogram: Histogram, label: str) -> None:
    edges = histogram.axes[0].edges
    value, error = content(histogram)
    upper.stairs(value, edges, fill=True, color=LIGHT, label=legend_name(label))
    upper.stairs(value, edges, color=GEANT4, linewidth=1.0)
    low = np.maximum(value - error, 0)
    upper.stairs(value + error, edges, baseline=low, fill=True, color=MIDDLE)
    _, error = ratio_to(histogram, histogram)
    error = np.nan_to_num(error)
    lower.stairs(1 + error, edges, baseline=1 - error, fill=True, color=LIGHT)
    lower.axhline(1, color=GEANT4, linewidth=0.8)


def _draw_steps(
    axes: Axes,
    histogram: Histogram,
    known: tuple[Floats, Floats],
    number: int,
    strength: float,
    baseline: float | None = None,
) -> None:
    """Values of a candidate in the bins of a histogram as steps, in a band of their errors."""
    edges, (value, error), line = histogram.axes[0].edges, known, line_of(number)
    low, high = (np.nan_to_num(limit) for limit in (value - error, value + error))
    band = {"color": line["color"], "alpha": strength, "linewidth": 0}
    axes.stairs(high, edges, baseline=low, fill=True, **band)
    axes.stairs(value, edges, baseline=baseline, linewidth=1.3, **line)


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
    if panel.log_y:
        positive = value[value > 0]
        bottom = positive.min() / 3 if len(positive) else top / 1e3
        upper.set_yscale("log")
        upper.set_ylim(bottom, top * (top / bottom) ** 0.05 * 1.5)
    else:
        upper.set_ylim(0, top * 1.07)
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
    for axes in (upper, lower):
        axes.label_outer()
