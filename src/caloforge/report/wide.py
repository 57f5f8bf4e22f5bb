"""Figures of several columns, which a narrow window shows one below the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

__all__ = ["Wide"]


@dataclass(frozen=True)
class Wide:
    """A figure of columns, each of which can be drawn alone with its own axes and scale.

    Args:
        n: number of columns.
        draw: draws those of a range as one figure.
    """

    n: int
    draw: Callable[[range], Figure]

    def whole(self) -> Figure:
        """All columns side by side, for print."""
        return self.draw(range(self.n))

    def columns(self) -> Iterator[Figure]:
        """A figure of each column, for the page."""
        return (self.draw(range(i, i + 1)) for i in range(self.n))
