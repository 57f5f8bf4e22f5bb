"""Lines, symbols and legends: what distinguishes the candidates of a figure, in grey as well."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caloforge.evaluation.observables import Floats

__all__ = [
    "add_legend",
    "add_symbols",
    "legend_name",
    "line_of",
    "literal",
    "mark_beyond",
    "mark_outside",
    "name_margin",
    "new_figure",
    "symbol_of",
]

# Petroff's ten colours, which colour-blind readers can distinguish, without the greys.
COLOURS = (
    *("#3f90da", "#e8871e", "#bd1f01", "#832db6", "#2e8b57", "#a96b59", "#d6409f", "#b9ac70"),
    *("#1d4e89", "#92dadd"),
)
LINES = ("-", "--", "-.", ":")
SYMBOLS = "osDPX*<>ph"  # without the triangles that are arrows
N_SYMBOLS = 7  # on a line
WRAPPED = 28  # letters of a line of a legend
LEGEND_COLUMNS = 2
FEWEST_OUTSIDE = 0.01  # of the showers beyond the ends of the x axis, below which none is marked
WIDTH, HEIGHT = 5.0, 4.4  # of a figure [inch]


def line_of(number: int) -> dict[str, Any]:
    """Colour and dashes of candidate `number`: forty differ in one of them, neighbours in both."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": LINES[(number + number // len(COLOURS)) % len(LINES)],
    }


def symbol_of(number: int) -> dict[str, Any]:
    """Colour and form of the symbols of candidate `number`."""
    form = SYMBOLS[number % len(SYMBOLS)]
    return {"color": line_of(number)["color"], "marker": form, "markersize": 4.5}


def literal(name: str) -> str:
    """The name of a sample as matplotlib shows it literally.

    "$" would begin a formula, and a label that begins with "_" is left out of legends.
    """
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def legend_name(name: str) -> str:
    """The name of a sample as it is, a long one on several lines."""
    return literal("\n".join(textwrap.wrap(name, WRAPPED) or [name]))


def name_margin(names: Sequence[str]) -> float:
    """Left margin [inch] of axes with ticks, labelled by a unit below one of these legend names."""
    return 0.55 + 0.17 * max(name.count("\n") + 1 for name in names)


def new_figure() -> Figure:
    """A figure of one panel, with fixed margins: to find them would take longer than to draw."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    figure.subplots_adjust(left=0.165, right=0.975, bottom=0.125, top=0.975, hspace=0.08)
    return figure


def add_legend(figure: Figure, names: Sequence[str]) -> None:
    """A legend of the first axes, in the order of these names, above the figure.

    It lies outside the canvas: a file for print is cut around both, a picture of the page is the
    canvas alone, as one legend of the page serves many panels.
    """
    order = [legend_name(name) for name in names]
    known = sorted(
        zip(*figure.axes[0].get_legend_handles_labels(), strict=True),
        key=lambda pair: order.index(pair[1]),
    )
    figure.legend(
        *zip(*known, strict=True),
        loc="lower left",
        bbox_to_anchor=(0.02, 1.0),
        ncols=LEGEND_COLUMNS,
        fontsize=10,
        borderpad=0.3,
        labelspacing=0.25,
        handlelength=2.2,
    )


def add_symbols(axes: Axes, x: Floats, y: Floats, number: int) -> None:
    """A few symbols on the line of candidate `number`, beside those of the others."""
    known = np.flatnonzero(np.isfinite(y))
    step = max(1, len(known) // N_SYMBOLS)
    first = (number * step) // 3 % step
    chosen = known[first::step]
    axes.plot(x[chosen], y[chosen], linestyle="none", zorder=3, **symbol_of(number))


def mark_beyond(axes: Axes, x: Floats, y: Floats, colour: str) -> None:
    """Arrows at the frame of axes where values lie beyond it.

    Args:
        axes: with their final limits.
        x: where the values are, shape (n,).
        y: the values, shape (n,).
        colour: of the arrows.
    """
    low, high = axes.get_ylim()
    for beyond, height, form in ((y > high, 0.97, "^"), (y < low, 0.03, "v")):
        if beyond.any():
            axes.plot(
                x[beyond], np.full(beyond.sum(), height), form, color=colour, markersize=4,
                transform=axes.get_xaxis_transform(), gid="beyond", zorder=3,
            )  # fmt: skip


def mark_outside(axes: Axes, shares: Sequence[tuple[float, float]]) -> None:
    """How many showers lie beyond the ends of the x axis, where those are many.

    Args:
        axes: of the distributions.
        shares: of the showers of each candidate, before the first border and from the last one on.
    """
    sides = (
        (0.03, 0.05, "left", r"$\leftarrow$ {:.0%}"),
        (0.97, 0.95, "right", r"{:.0%} $\rightarrow$"),
    )
    for side, (at_symbol, at_text, align, form) in enumerate(sides):
        marked = [n for n, share in enumerate(shares) if share[side] > FEWEST_OUTSIDE]
        for row, number in enumerate(marked):
            height, symbol = 0.94 - 0.06 * row, symbol_of(number)
            axes.plot(at_symbol, height, transform=axes.transAxes, gid="outside", **symbol)
            axes.text(
                at_text, height, form.format(shares[number][side]), transform=axes.transAxes,
                fontsize=9, ha=align, va="center", color=symbol["color"],
            )  # fmt: skip
