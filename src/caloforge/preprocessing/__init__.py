"""Preprocessing: invertible transforms, and the noise and symmetries that training uses."""

from caloforge.preprocessing.filling import FillNoise
from caloforge.preprocessing.noise import add_gaussian, add_uniform, fill_zeros
from caloforge.preprocessing.symmetry import check_centred, reflect, rotate
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
    "FillNoise",
    "Log",
    "LogEnergy",
    "Logit",
    "ScaleByMax",
    "Transform",
    "add_gaussian",
    "add_uniform",
    "check_centred",
    "fill_zeros",
    "reflect",
    "rotate",
]
