"""The generators: stages, systems, and the registry that knows them by name."""

from caloforge.systems.arguments import SamplingOptions
from caloforge.systems.base import System
from caloforge.systems.kinds import PointSystem, VoxelSystem
from caloforge.systems.likelihood import LogDensity
from caloforge.systems.quantities import Quantities, ShowerQuantities, layer_name
from caloforge.systems.recipe import Recipe
from caloforge.systems.registry import build, presets, system_names
from caloforge.systems.stage import Learned, Stage
from caloforge.systems.trained import ExtrapolationWarning, TrainedRange

__all__ = [
    "ExtrapolationWarning",
    "Learned",
    "LogDensity",
    "PointSystem",
    "Quantities",
    "Recipe",
    "SamplingOptions",
    "ShowerQuantities",
    "Stage",
    "System",
    "TrainedRange",
    "VoxelSystem",
    "build",
    "layer_name",
    "presets",
    "system_names",
]
