"""Parametrised showers: their averages, and how these fluctuate."""

from caloforge.systems.parametric.system import Parametric

__all__ = ["Parametric"]
