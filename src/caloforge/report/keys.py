"""Line and symbol of a candidate as a small picture beside its name in tables."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from caloforge.report.lines import line_of, symbol_of

__all__ = ["key_of"]

DASHES = {"-": "", "--": "6 3", "-.": "6 2 1.5 2", ":": "1.5 2.5"}
WIDTH, HEIGHT, SIZE = 26, 12, 7  # of the picture and of the symbol


def key_of(number: int) -> Markup:
    """The picture of candidate `number`, as SVG."""
    line, form = line_of(number), MarkerStyle(symbol_of(number)["marker"])
    return Markup(
        '<svg class="key" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        '<path d="M0 {y}H{w}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        '<path d="{symbol}" fill="{colour}"/></svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        y=HEIGHT // 2,
        colour=line["color"],
        dashes=DASHES[line["linestyle"]],
        symbol=_outline(form.get_path().transformed(form.get_transform())),
    )


def _outline(path: Path) -> str:
    """A closed path as SVG in the middle of the picture, upside down as the web counts."""
    (polygon, *_) = path.to_polygons()
    corners = np.asarray(polygon) * (SIZE, -SIZE) + (WIDTH / 2, HEIGHT / 2)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"
