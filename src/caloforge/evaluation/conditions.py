"""Cells of condition: showers of one kind, of similar direction, of similar incident energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.pdg import kinds_of
from caloforge.showers import Particles
from caloforge.units import GeV, MeV

__all__ = ["AXES", "Cell", "angles", "cells_by", "find_cells"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
AXES = {"kind": 1, "direction": 4, "energy": 8}  # ranges by default; of kinds one for each
ENOUGH = 200  # showers of the reference in a range, where their number is not asked for
_DIGITS = 6  # of energies and angles that count as different


@dataclass(frozen=True)
class Cell:
    """Showers of similar condition.

    Args:
        energy: lowest and highest incident energy [MeV]; the upper one belongs to the next cell.
        angle: likewise of the angle to the depth axis [degrees].
        kind: code of the particles, None where all kinds belong to it.
        label: all of it in words.
    """

    energy: tuple[float, float] = (0.0, np.inf)
    angle: tuple[float, float] = (0.0, np.inf)
    kind: int | None = None
    label: str = ""

    def rows(self, particles: Particles) -> Rows:
        """Which particles belong to it, by number."""
        inside = _is_in(np.asarray(particles.energy, np.float64), self.energy)
        inside &= _is_in(angles(particles), self.angle)
        if self.kind is not None:
            inside &= particles.pdg == self.kind
        return np.flatnonzero(inside)


def angles(particles: Particles) -> Floats:
    """Angle of each direction to the depth axis [degrees], shape (n,)."""
    x, y, z = np.asarray(particles.direction, np.float64).T
    return np.asarray(np.degrees(np.arctan2(np.hypot(x, y), z)))


def cells_by(particles: Particles, by: str | Sequence[str], *, fewest: int) -> tuple[Cell, ...]:
    """Cells of a reference, as they are asked for: "energy", "energy:4", "direction", "kind".

    Example:
        >>> len(cells_by(showers.particles, "energy:2", fewest=20))
        2

    Args:
        particles: those of the reference.
        by: axes, each with a number of ranges or without; by default eight of energy and four of
            direction, or fewer where less than 200 showers would lie in one.
        fewest: showers of the reference that a cell needs.

    Raises:
        ValueError: for an axis that does not exist, in which the particles do not differ, or that
            is to be divided into too many ranges.
    """
    bins = {}
    asked = [by] if isinstance(by, str) else list(by)
    for each in asked:
        axis, _, number = each.partition(":")
        if axis not in AXES or (number and not number.isdigit()) or number == "0":
            raise ValueError(
                f"by must be among {', '.join(AXES)}, with a number of ranges such as energy:4 or "
                f"without, got {each!r}"
            )
        bins[axis] = int(number or AXES[axis])
    cells = find_cells(particles, bins, fewest=1 if ":" in "".join(asked) else ENOUGH)
    counts = [len(cell.rows(particles)) for cell in cells]
    if len(cells) == 1:
        raise ValueError(
            f"by={', '.join(asked)} leaves one range: the reference has not enough different "
            f"showers ({len(particles)}); leave it out, or ask for ranges of {fewest} and more"
        )
    if min(counts) < fewest:
        raise ValueError(
            f"by={', '.join(asked)} leaves {min(counts)} showers of the reference in a range, a "
            f"comparison needs {fewest} or more: ask for fewer ranges"
        )
    return cells


def find_cells(particles: Particles, bins: Mapping[str, int], *, fewest: int) -> tuple[Cell, ...]:
    """Cells of equally many particles of a reference: within each kind, of angle, then of energy.

    The outermost cells have no border outside, so that every particle of a known kind is in one.
    Where there are no more different values than bins, each has a cell of its own.

    Args:
        particles: those of the reference.
        bins: by axis ("kind", "direction", "energy"), into how many ranges it is divided; an axis
            that is not named is left whole, as is one in which the particles do not differ. Each
            kind has a cell, whatever the number.
        fewest: particles that a cell holds; there are fewer bins where it would be less.
    """
    cells = [(Cell(), np.arange(len(particles)))]
    if "kind" in bins and len(particles.kinds) > 1:
        cells = [
            (Cell(kind=kind, label=kinds_of([kind])), np.flatnonzero(particles.pdg == kind))
            for kind in particles.kinds
        ]
    values = {"angle": angles(particles), "energy": np.asarray(particles.energy, np.float64)}
    for axis, name in (("direction", "angle"), ("energy", "energy")):
        if axis in bins:  # of others all showers are one range
            cells = [
                part
                for cell, rows in cells
                for part in _divided(cell, rows, name, values[name], bins[axis], fewest)
            ]
    return tuple(cell for cell, _ in cells)


def _divided(
    cell: Cell, rows: Rows, name: str, values: Floats, bins: int, fewest: int
) -> Iterator[tuple[Cell, Rows]]:
    """A cell in ranges of equally many of its rows."""
    mine = values[rows]
    edges = _borders(mine, min(bins, max(1, len(rows) // fewest)))
    of_row = np.searchsorted(edges, mine, side="right")
    whole: tuple[float, float] = getattr(cell, name)
    borders = [whole[0], *edges.tolist(), whole[1]]
    for number in range(len(edges) + 1):
        inside = of_row == number
        span = _span(name, float(mine[inside].min()), float(mine[inside].max()))
        label = f"{cell.label}, {span}" if cell.label else span
        if not len(edges) and name == "angle":
            label = cell.label
        changes: dict[str, Any] = {name: (borders[number], borders[number + 1]), "label": label}
        yield replace(cell, **changes), rows[inside]


def _borders(values: Floats, bins: int) -> Floats:
    """Inner borders of ranges of equally many values, between different ones."""
    different = np.unique(values.round(_DIGITS))
    if len(different) <= bins:
        return np.asarray((different[:-1] + different[1:]) / 2)
    found = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    inside: Floats = found[(found > different[0]) & (found <= different[-1])]
    return inside


def _is_in(values: Floats, span: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= span[0]) & (values < span[1])


def _span(name: str, low: float, high: float) -> str:
    """A range in words."""
    if name == "angle":
        return f"{low:.3g}°" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}°"
    scale, unit = (MeV, "MeV") if high < 1 * GeV else (GeV, "GeV")
    first, last = (f"{energy / scale:.3g}" for energy in (low, high))
    return f"{first} {unit}" if first == last else f"{first} to {last} {unit}"
