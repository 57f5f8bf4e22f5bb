"""A shower library: no parameters, no recipe, and as good as the showers that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.kinds import point_showers, voxel_showers
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.sizes import check_preset
from caloforge.cascade.system import System
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, Showers, VoxelShowers
from caloforge.systems.library.config import PRESETS, LibraryConfig
from caloforge.systems.library.layers import PointLayersStage, VoxelLayersStage
from caloforge.systems.library.stages import PointBankStage, VoxelBankStage

__all__ = ["Library"]


class Library(System):
    """Training showers of similar particles, or their layers, rotated, mirrored and rescaled.

    A library of N whole showers has N showers: more can be asked for, but there are no others.

    Args:
        config: how showers or layers are chosen.
        geometry: the voxels, or the layers of the points.
    """

    name: ClassVar[str] = "library"
    Config: ClassVar[type[Any]] = LibraryConfig
    sizes: ClassVar[tuple[str, ...]] = tuple(PRESETS)
    fixed_geometries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: LibraryConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.kind = PointShowers if config.points else VoxelShowers
        whole = PointBankStage if config.points else VoxelBankStage
        recombined = PointLayersStage if config.points else VoxelLayersStage
        stage = whole if config.layers is None else recombined
        self.stages["bank"] = stage(config, geometry)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> LibraryConfig:
        check_preset("library", size, geometry, sizes=cls.sizes, fixed_geometries={}, regular=False)
        return PRESETS[size]

    def showers(self, quantities: Quantities, options: SamplingOptions) -> Showers:
        if self.config.points:
            return point_showers(quantities, self.geometry)
        return voxel_showers(quantities, quantities["showers"], self.geometry)
