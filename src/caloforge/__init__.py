"""Simulate, learn, generate and judge calorimeter showers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Verbs and nouns of the package, imported on first use so that `import caloforge` stays light.
_MODULES = {
    "Fixed": "caloforge.simulation",
    "Geometry": "caloforge.geometry",
    "LogUniform": "caloforge.simulation",
    "Particles": "caloforge.showers",
    "PointShowers": "caloforge.showers",
    "SamplingOptions": "caloforge.cascade",
    "Uniform": "caloforge.simulation",
    "VoxelShowers": "caloforge.showers",
    "build": "caloforge.cascade",
    "draw_showers": "caloforge.report",
    "evaluate": "caloforge.evaluation",
    "generate": "caloforge.generation",
    "geometry_preset": "caloforge.geometry",
    "geometry_presets": "caloforge.geometry",
    "load": "caloforge.training",
    "open_showers": "caloforge.data",
    "read": "caloforge.data",
    "save_page": "caloforge.report",
    "simulate": "caloforge.simulation",
    "train": "caloforge.training",
    "upsample": "caloforge.generation",
    "write": "caloforge.data",
}

__all__ = [
    "Fixed",
    "Geometry",
    "LogUniform",
    "Particles",
    "PointShowers",
    "SamplingOptions",
    "Uniform",
    "VoxelShowers",
    "__version__",
    "build",
    "draw_showers",
    "evaluate",
    "generate",
    "geometry_preset",
    "geometry_presets",
    "load",
    "open_showers",
    "read",
    "save_page",
    "simulate",
    "train",
    "upsample",
    "write",
]

if TYPE_CHECKING:
    from caloforge.cascade import SamplingOptions, build
    from caloforge.data import open_showers, read, write
    from caloforge.evaluation import evaluate
    from caloforge.generation import generate, upsample
    from caloforge.geometry import Geometry, geometry_preset, geometry_presets
    from caloforge.report import draw_showers, save_page
    from caloforge.showers import Particles, PointShowers, VoxelShowers
    from caloforge.simulation import Fixed, LogUniform, Uniform, simulate
    from caloforge.training import load, train


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'caloforge' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
