"""Quilt: learn the longitudinal, resample the transverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.kinds import point_showers, voxel_showers
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.sizes import check_preset
from caloforge.cascade.system import System
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, Showers, ShowerSource, View, VoxelShowers
from caloforge.stages.layerenergies import energy_stages
from caloforge.stages.patterns import PointPatternStage, VoxelPatternStage
from caloforge.stages.similar import SimilarEnergyStage
from caloforge.systems.quilt.config import PRESETS, QuiltConfig

__all__ = ["Quilt"]


class Quilt(System):
    """Layer energies, modelled or of similar showers, and real layers of Geant4 that have them.

    Args:
        config: how both are made.
        geometry: the voxels, in layers of any shapes, or the layers of the points.
    """

    name: ClassVar[str] = "quilt"
    Config: ClassVar[type[Any]] = QuiltConfig
    sizes: ClassVar[tuple[str, ...]] = tuple(PRESETS)
    fixed_geometries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: QuiltConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.kind = PointShowers if config.points else VoxelShowers
        # the threshold is one of voxels and cuts no points
        read_out = replace(geometry, threshold=0.0) if config.points else geometry
        self.stages |= energy_stages(config.scores, read_out, SimilarEnergyStage)
        patterns = PointPatternStage if config.points else VoxelPatternStage
        self.stages["patterns"] = patterns(config.patterns, geometry)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> QuiltConfig:
        check_preset("quilt", size, geometry, sizes=cls.sizes, fixed_geometries={}, regular=False)
        return PRESETS[size]

    def training_sample(self, showers: ShowerSource[Any]) -> ShowerSource[Any]:
        """The same showers as they are read out: without the voxels below the threshold."""
        if self.config.points:
            return showers
        change = partial(VoxelShowers.above, threshold=self.geometry.threshold)
        return View(showers, change, showers.geometry)

    def showers(self, quantities: Quantities, options: SamplingOptions) -> Showers:
        if self.config.points:
            return point_showers(quantities, self.geometry)
        return voxel_showers(quantities, quantities["showers"], self.geometry)
