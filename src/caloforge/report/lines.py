"""Lines, symbols and legends: what tells the candidates of a figure apart, in grey as well."""

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
    "legend_room",
    "line_of",
    "literal",
    "mark_beyond",
    "new_figure",
    "symbol_of",
]

# Petroff's ten colours, which stay apart for colour-blind eyes, without the greys.
COLOURS = (
    *("#3f90da", "#e8871e", "#bd1f01", "#832db6", "#2e8b57", "#a96b59", "#d6409f", "#b9ac70"),
    *("#1d4e89", "#92dadd"),
)
LINES = ("-", "--", "-.", ":")
SYMBOLS = "osDPX*<>ph"  # without the triangles that are arrows
N_SYMBOLS = 7  # on a line
FEW = 8  # lines of a legend that fits into the frame
WRAPPED = 28  # letters of a line of a legend
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
    """The name of a sample as matplotlib shows it to the letter.

    "$" would begin a formula, and a label that begins with "_" is left out of legends.
    """
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def legend_name(name: str) -> str:
    """The name of a sample to the letter, a long one on several lines."""
    return literal("\n".join(_wrapped(name)))


def _wrapped(name: str) -> list[str]:
    return textwrap.wrap(name, WRAPPED) or [name]


def _n_lines(names: Sequence[str]) -> int:
    return sum(len(_wrapped(name)) for name in names)


def legend_room(names: Sequence[str], *, line: float = 0.075) -> float:
    """Fraction of a frame's height that their legend takes, if it stands within.

    Args:
        names: of the samples.
        line: what one line takes.
    """
    n = _n_lines(names)
    return 0.04 + (line * n if n <= FEW else 0)


def new_figure(names: Sequence[str]) -> tuple[Figure, float]:
    """A figure with room for the legend, and where its frame ends: many names stand beside it."""
    room = 0.0
    if _n_lines(names) > FEW:
        room = 0.55 + 0.072 * min(max(map(len, names)), WRAPPED)
    figure = Figure(figsize=(WIDTH + room, HEIGHT))
    figure.subplots_adjust(bottom=0.125, top=0.975)
    return figure, 0.975 * WIDTH / (WIDTH + room)


def add_legend(axes: Axes, names: Sequence[str]) -> None:
    """A legend of the samples of these names, beside the frame where they take many lines."""
    n = _n_lines(names)
    shape: dict[str, Any] = {"loc": "upper right", "fontsize": 10.5 if n < 6 else 9}
    if n > FEW:
        shape = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02), "fontsize": 8.5}
    order = [legend_name(name) for name in names]
    known = sorted(
        zip(*axes.get_legend_handles_labels(), strict=True), key=lambda pair: order.index(pair[1])
    )
    axes.legend(
        *zip(*known, strict=True), borderpad=0.3, labelspacing=0.25, handlelength=2.2, **shape
    )


def add_symbols(axes: Axes, x: Floats, y: Floats, number: int) -> None:
    """A few symbols on the line of candidate `number`, beside those of the others."""
    known = np.flatnonzero(np.isfinite(y))
    step = max(1, len(known) // N_SYMBOLS)
    first = (number * step) // 3 % step
    chosen = known[first::step]
    axes.plot(x[chosen], y[chosen], linestyle="none", zorder=3, **symbol_of(number))


def mark_beyond(axes: Axes, x: Floats, y: Floats, colour: str, *, below: bool = True) -> None:
    """Arrows at the frame of axes where values lie beyond it.

    Args:
        axes: with their final limits.
        x: where the values are, shape (n,).
        y: the values, shape (n,).
        colour: of the arrows.
        below: whether values below the frame are marked, too.
    """
    low, high = axes.get_ylim()
    arrows: list[tuple[Any, float, str]] = [(y > high, 0.97, "^")]
    if below:
        arrows.append((y < low, 0.03, "v"))
    for beyond, height, form in arrows:
        if beyond.any():
            axes.plot(
                x[beyond], np.full(beyond.sum(), height), form, color=colour, markersize=4,
                transform=axes.get_xaxis_transform(), gid="beyond", zorder=3,
            )  # fmt: skip
