"""Parametrised showers: what is known of them on average, and how it fluctuates."""

from caloforge.systems.parametric.system import Parametric

__all__ = ["Parametric"]
