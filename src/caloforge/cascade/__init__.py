"""The generators: stages, systems, and the registry of their names."""

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import Choice
from caloforge.cascade.kinds import PointSystem, VoxelSystem
from caloforge.cascade.likelihood import LogDensity
from caloforge.cascade.quantities import Quantities, ShowerQuantities, layer_name
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.registry import build, presets, system_names
from caloforge.cascade.stage import Conditions, Correction, Learned, Stage
from caloforge.cascade.system import System
from caloforge.cascade.trained import ExtrapolationWarning, TrainedRange
from caloforge.cascade.variants import Variant

__all__ = [
    "Choice",
    "Conditions",
    "Correction",
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
    "Variant",
    "VoxelSystem",
    "build",
    "layer_name",
    "presets",
    "system_names",
]
