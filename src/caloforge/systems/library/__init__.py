"""Shower libraries: training showers of similar energy, rotated, mirrored and rescaled."""

from caloforge.systems.library.system import Library

__all__ = ["Library"]
