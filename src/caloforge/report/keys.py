"""Line and symbol of a candidate as a small picture next to its name in tables and legends."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from caloforge.report.figures import GEANT4, LIGHT
from caloforge.report.lines import line_of, symbol_of

__all__ = ["key_of", "key_of_geant4"]

DASHES = {"-": "", "--": "6 3", "-.": "6 2 1.5 2", ":": "1.5 2.5"}
WIDTH, HEIGHT, SIZE = 26, 12, 7  # of the picture and of the symbol


def key_of(number: int, *, solid: bool = False) -> Markup:
    """The picture of candidate `number`, as SVG.

    Args:
        number: of the candidate.
        solid: without its dashes, for figures where those say something else.
    """
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
        dashes="" if solid else DASHES[line["linestyle"]],
        symbol=_outline(form.get_path().transformed(form.get_transform())),
    )


def key_of_geant4() -> Markup:
    """The picture of Geant4 in panels: a grey area below a dark line, as SVG."""
    return Markup(
        '<svg class="key" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        '<path d="M0 1H{w}V{h}H0Z" fill="{area}"/><path d="M0 1H{w}" stroke="{line}"/></svg>'
    ).format(w=WIDTH, h=HEIGHT, area=LIGHT, line=GEANT4)


def _outline(path: Path) -> str:
    """A closed path as SVG in the middle of the picture, upside down as the web counts."""
    (polygon, *_) = path.to_polygons()
    corners = np.asarray(polygon) * (SIZE, -SIZE) + (WIDTH / 2, HEIGHT / 2)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"
