"""Quilt: learn the longitudinal, resample the transverse."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.kinds import VoxelSystem
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.sizes import check_preset
from caloforge.geometry import Geometry
from caloforge.showers import ShowerSource, View, VoxelShowers
from caloforge.stages.layerenergies import energy_stages
from caloforge.stages.patterns import PatternStage
from caloforge.systems.quilt.config import PRESETS, QuiltConfig

__all__ = ["Quilt"]


class Quilt(VoxelSystem):
    """Layer energies from a copula or a small flow, and real layers of Geant4 that have them.

    Args:
        config: how both are made.
        geometry: the voxels, in layers of any shapes.
    """

    name: ClassVar[str] = "quilt"
    Config: ClassVar[type[Any]] = QuiltConfig
    sizes: ClassVar[tuple[str, ...]] = tuple(PRESETS)
    fixed_geometries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: QuiltConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.stages |= energy_stages(config.scores, geometry)
        self.stages["patterns"] = PatternStage(config.patterns, geometry)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> QuiltConfig:
        check_preset("quilt", size, geometry, sizes=cls.sizes, fixed_geometries={}, regular=False)
        return PRESETS[size]

    def training_sample(self, showers: ShowerSource[Any]) -> ShowerSource[Any]:
        """The same showers as they are read out: without the voxels below the threshold."""
        change = partial(VoxelShowers.above, threshold=self.geometry.threshold)
        return View(showers, change, showers.geometry)

    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        return quantities["showers"]
