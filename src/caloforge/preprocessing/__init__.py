"""Preprocessing: invertible transforms, and the noise and symmetries that training uses."""

from caloforge.preprocessing.filling import FillNoise
from caloforge.preprocessing.noise import add_gaussian, add_uniform, fill_zeros
from caloforge.preprocessing.ratios import EnergyRatios
from caloforge.preprocessing.standardise import Standardise
from caloforge.preprocessing.sticks import break_sticks, is_free, join_sticks
from caloforge.preprocessing.symmetry import Symmetry, check_centred, reflect, rotate
from caloforge.preprocessing.transforms import (
    Chain,
    Log,
    LogEnergy,
    Logit,
    LogRange,
    ScaleByMax,
    Snap,
    Transform,
)

__all__ = [
    "Chain",
    "EnergyRatios",
    "FillNoise",
    "Log",
    "LogEnergy",
    "LogRange",
    "Logit",
    "ScaleByMax",
    "Snap",
    "Standardise",
    "Symmetry",
    "Transform",
    "add_gaussian",
    "add_uniform",
    "break_sticks",
    "check_centred",
    "fill_zeros",
    "is_free",
    "join_sticks",
    "reflect",
    "rotate",
]
