"""The cells around an impact point that an option names."""

from __future__ import annotations

from caloforge.cli.terminal import numbers
from caloforge.geometry import Geometry, ild_ecal

__all__ = ["cells_around"]


def cells_around(impact: str, cells: Geometry) -> Geometry:
    """The ILD's own cells around an impact point "X,Z" [mm].

    Raises:
        ValueError: for any other text, or other cells than the ILD's own.
    """
    x, z = numbers(impact, 2)
    if cells != ild_ecal():
        raise ValueError(
            f"--impact is a place in the detector of ild-ecal, {cells.name} has none: leave it "
            "out, or move the showers with --shift of `caloforge project`"
        )
    return ild_ecal((x, z))
