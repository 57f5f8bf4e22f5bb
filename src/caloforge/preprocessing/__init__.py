"""Preprocessing: invertible transforms, and the noise that training adds."""

from caloforge.preprocessing.noise import add_gaussian, add_uniform, fill_zeros, rotate
from caloforge.preprocessing.transforms import (
    Chain,
    Log,
    LogEnergy,
    Logit,
    ScaleByMax,
    Transform,
)

__all__ = [
    "Chain",
    "Log",
    "LogEnergy",
    "Logit",
    "ScaleByMax",
    "Transform",
    "add_gaussian",
    "add_uniform",
    "fill_zeros",
    "rotate",
]
