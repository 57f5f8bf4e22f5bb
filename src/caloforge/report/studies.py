"""Draw the panels that are no histograms: rings, AUC of a few adjacent layers, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.quantities import NO_DIFFERENCE
from caloforge.report.figures import GEANT4, LIGHT, MIDDLE, style
from caloforge.report.interlayer import AdjacentPanel
from caloforge.report.lines import (
    add_legend,
    add_symbols,
    legend_name,
    line_of,
    new_figure,
    symbol_of,
)
from caloforge.report.outputs import OutputPanel
from caloforge.report.rings import RingPanel

__all__ = ["draw_adjacent", "draw_outputs", "draw_rings"]

MANY_RINGS = 12  # from here on only every third border has its radius written below it
SAME_COLOUR = "Geant4, same colour"
NUMBERED = (0, 2, 4)  # colours of one, two and three layers, as in SuperCalo's figure 4


def draw_rings(panel: RingPanel) -> Figure:
    """Draw boxes and whiskers of a layer's rings, and the fraction of voxels without energy.

    Geant4's fill the ring, the candidates' are drawn side by side before them.
    """
    (known, *candidates), n = panel.boxes, len(panel.borders) - 1
    with style():
        figure = new_figure()
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2, 1]})
        _fill_boxes(upper, panel.boxes[known], legend_name(known))
        lower.stairs(panel.empty[known], np.arange(n + 1), fill=True, color=LIGHT)
        lower.stairs(panel.empty[known], np.arange(n + 1), color=GEANT4, linewidth=1.0)
        width = 0.8 / max(len(candidates), 2)
        for place, name in enumerate(candidates):
            number = panel.numbers[name]
            shift = (place - (len(candidates) - 1) / 2) * width
            _stand_boxes(upper, panel.boxes[name], shift, 0.6 * width, number, name)
            empty, line = panel.empty[name], line_of(number)
            lower.stairs(empty, np.arange(n + 1), baseline=None, linewidth=1.3, **line)
            add_symbols(lower, np.linspace(0.5, n - 0.5, n), empty, number)
        _finish_rings(panel, upper, lower)
        add_legend(figure, list(panel.boxes))
    return figure


def _fill_boxes(axes: Axes, boxes: Floats, label: str) -> None:
    """Boxes over whiskers over the whole width of each ring."""
    low, first, median, third, high = boxes.T
    left = np.arange(len(boxes))
    wide: dict[str, Any] = {"width": 0.96, "linewidth": 0}
    axes.bar(left + 0.5, high - low, bottom=low, color=LIGHT, **wide)
    axes.bar(left + 0.5, third - first, bottom=first, color=MIDDLE, label=label, **wide)
    axes.hlines(median, left + 0.02, left + 0.98, color=GEANT4, linewidth=1.3)


def _stand_boxes(
    axes: Axes, boxes: Floats, shift: float, width: float, number: int, name: str
) -> None:
    """Slim boxes with thin whiskers and a symbol at the median, beside the middle of each ring."""
    low, first, median, third, high = boxes.T
    x, colour = np.arange(len(boxes)) + 0.5 + shift, line_of(number)["color"]
    axes.vlines(x, low, high, color=colour, linewidth=1.0)
    axes.bar(
        x, third - first, bottom=first, width=width, color="white", edgecolor=colour,
        linewidth=1.1, zorder=2,
    )  # fmt: skip
    axes.hlines(median, x - width / 2, x + width / 2, color=colour, linewidth=1.3)
    axes.plot(x, median, linestyle="none", label=legend_name(name), zorder=3, **symbol_of(number))


def _finish_rings(panel: RingPanel, upper: Axes, lower: Axes) -> None:
    n = len(panel.borders) - 1
    upper.set_yscale("log")
    seen = np.concatenate([boxes[np.isfinite(boxes)] for boxes in panel.boxes.values()])
    if len(seen):
        upper.set_ylim(seen.min() / 1.5, seen.max() * 1.5)
    upper.set_ylabel(r"$E_\mathrm{voxel}$ [MeV]")
    upper.yaxis.set_label_coords(-0.14, 1)
    step = 1 if n < MANY_RINGS else 3
    lower.set_xlim(0, n)
    lower.set_xticks(np.arange(0, n + 1, step), [f"{r:.3g}" for r in panel.borders[::step]])
    lower.tick_params(axis="x", labelsize=9)
    lower.minorticks_off()
    lower.set_ylim(0, 1.05)
    lower.set_xlabel("rings between r [mm]")
    lower.set_ylabel(r"$f_0$", loc="center")
    lower.yaxis.set_label_coords(-0.14, 0.5)
    for axes in (upper, lower):
        axes.label_outer()


def draw_adjacent(panel: AdjacentPanel) -> Figure:
    """Draw the AUC of one, two and three adjacent layers against the first, above their floor."""
    with style():
        labels = [line.label for line in panel.lines]
        figure = new_figure()
        axes = figure.subplots()
        axes.axhline(NO_DIFFERENCE, color=GEANT4, linewidth=0.8)
        for number, line in zip(NUMBERED, panel.lines, strict=False):
            dots: dict[str, Any] = {"capsize": 2, **symbol_of(number)}
            axes.errorbar(
                line.first, line.auc, line.error, linestyle="-", linewidth=1.3, label=line.label,
                **dots,
            )  # fmt: skip
            axes.errorbar(
                line.first, line.floor, line.floor_error, linestyle=":", linewidth=0.9,
                mfc="white", **dots,
            )  # fmt: skip
        highest = max(float(np.max([line.auc, line.floor])) for line in panel.lines)
        lowest = min(float(np.min([line.auc, line.floor])) for line in panel.lines)
        axes.set_ylim(min(lowest, NO_DIFFERENCE) - 0.05, max(highest, 0.6) + 0.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("first layer")
        axes.set_ylabel("AUC")
        add_legend(figure, labels)
    return figure


def draw_outputs(panel: OutputPanel) -> Figure:
    """Draw a classifier's outputs: generated showers solid, Geant4's dotted, symbols hollow."""
    with style():
        names = [*panel.shares, SAME_COLOUR]
        figure = new_figure()
        axes = figure.subplots()
        axes.axvline(panel.no_difference, color=GEANT4, linewidth=0.8)
        for name, sides in panel.shares.items():
            number = panel.numbers[name]
            symbol = {**symbol_of(number), "markevery": (7 * number % 30, 30)}
            for found, form, label in zip(
                sides, ("-", ":"), (legend_name(name), None), strict=True
            ):
                low, high = np.maximum(found.share - found.error, 0), found.share + found.error
                axes.fill_between(found.x, low, high, color=symbol["color"], alpha=0.15, lw=0)
                hollow: dict[str, Any] = {"mfc": "white"} if form == ":" else {}
                axes.plot(
                    found.x, found.share, form, linewidth=1.3, label=label, **symbol, **hollow
                )
        axes.plot([], [], color=GEANT4, linestyle=":", marker="o", mfc="white", label=SAME_COLOUR)
        _finish_outputs(panel, axes)
        add_legend(figure, names)
    return figure


def _finish_outputs(panel: OutputPanel, axes: Axes) -> None:
    sides = [side for pair in panel.shares.values() for side in pair]
    axes.set_xlim(sides[0].x[0], sides[0].x[-1])
    if panel.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        lowest = min(side.share[side.share > 0].min() for side in sides) / 2
        axes.set_ylim(lowest, 1.5)
        axes.set_yticks(10.0 ** np.arange(np.ceil(np.log10(lowest)), 1))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, 1.05)
        axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel("fraction of showers beyond")
