"""Parametrisations: layer energies and lateral shapes by distributions, filled with spots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.kinds import point_showers, voxel_showers
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.sizes import check_preset
from caloforge.cascade.stage import Stage
from caloforge.cascade.system import System
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, Showers, VoxelShowers
from caloforge.stages.principal import PrincipalEnergies, PrincipalEnergyStage
from caloforge.systems.parametric.config import PRESETS, ParametricConfig
from caloforge.systems.parametric.energies import GammaEnergyStage
from caloforge.systems.parametric.spots import PointSpotStage, VoxelSpotStage

__all__ = ["Parametric"]


class Parametric(System):
    """Energies of the layers, and independent spots of energy in them.

    `parametric` is like GFlash (Grindhammer and Peters, hep-ex/0001020), `parametric/binned` like
    the fast calorimeter simulation of ATLAS (arXiv:2109.02551).

    Args:
        config: of energies and shapes.
        geometry: the voxels, or the layers of the points.
    """

    name: ClassVar[str] = "parametric"
    Config: ClassVar[type[Any]] = ParametricConfig
    sizes: ClassVar[tuple[str, ...]] = tuple(PRESETS)
    papers: ClassVar[tuple[str, ...]] = ("arXiv:hep-ex/0001020", "arXiv:2109.02551")
    fixed_geometries: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: ParametricConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.kind = PointShowers if config.points else VoxelShowers
        energies: Stage = (
            PrincipalEnergyStage(config.energies, geometry)
            if isinstance(config.energies, PrincipalEnergies)
            else GammaEnergyStage(config.energies, geometry)
        )
        spots = PointSpotStage if config.points else VoxelSpotStage
        self.stages["energies"] = energies
        self.stages["spots"] = spots(config, geometry)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> ParametricConfig:
        check_preset(
            "parametric", size, geometry, sizes=cls.sizes, fixed_geometries={}, regular=False
        )
        return PRESETS[size]

    def showers(self, quantities: Quantities, options: SamplingOptions) -> Showers:
        if self.config.points:
            return point_showers(quantities, self.geometry)
        return voxel_showers(quantities, quantities["showers"], self.geometry)
