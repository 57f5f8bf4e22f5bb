"""CaloClouds (arXiv:2305.04847): points of showers by diffusion, their numbers by flows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from caloforge.cascade.kinds import PointSystem
from caloforge.cascade.sample import check_showers
from caloforge.cascade.stage import Stage
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, ShowerSource, View, clustered
from caloforge.systems.caloclouds.calibration import CloudCalibration
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.config import CaloCloudsConfig
from caloforge.systems.caloclouds.distilled import DistilledStage
from caloforge.systems.caloclouds.latent import LatentStage
from caloforge.systems.caloclouds.members import MemberLibrary
from caloforge.systems.caloclouds.points import PointsStage
from caloforge.systems.caloclouds.presets import FIXED_GEOMETRIES, SIZES, preset
from caloforge.systems.caloclouds.shower import ShowerStage

__all__ = ["CaloClouds"]


class CaloClouds(PointSystem):
    """Counts and visible energy, what else a shower is like, then its points (section 3).

    Args:
        config: sizes and training of its networks.
        geometry: the layers, of any cells.

    Raises:
        ValueError: for settings that do not fit it or each other, such as a solver there is not.
    """

    name: ClassVar[str] = "caloclouds"
    Config: ClassVar[type[Any]] = CaloCloudsConfig
    sizes: ClassVar[tuple[str, ...]] = SIZES
    papers: ClassVar[tuple[str, ...]] = ("arXiv:2305.04847",)
    fixed_geometries: ClassVar[Mapping[str, str]] = FIXED_GEOMETRIES
    default_geometry: ClassVar[str] = "ild-ecal"

    def __init__(self, config: CaloCloudsConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        conditions = CloudConditions(directed=config.directed)
        self.points = PointsStage(config, geometry, conditions)
        shower = ShowerStage(config.shower, geometry, conditions)
        drawing: dict[str, Stage] = {
            "latent": LatentStage(config.latent, self.points, conditions),
            "points": self.points,
        }
        if config.clusters is not None:
            drawing["members"] = MemberLibrary(config.clusters.library, config.half_width)
        if config.distillation is not None:
            distilled = DistilledStage(config, self.points)
            drawing["distilled"] = distilled
            self.points.trained_solvers = distilled.solvers
        self.stages |= {"conditions": conditions, "shower": shower}
        if config.calibration is not None:
            needs = (*self.stages, *drawing)
            self.stages["clouds"] = CloudCalibration(config.calibration, geometry, needs)
        self.stages |= drawing
        self.points.solver(self.points.chosen({}))

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> CaloCloudsConfig:
        return preset(size, geometry)

    def training_sample(self, showers: ShowerSource[Any]) -> ShowerSource[Any]:
        """The same showers as clusters, where the configuration asks for them, see `clustered`."""
        check_showers(self, showers)
        clusters = self.config.clusters
        if clusters is None:
            return showers
        change = partial(clustered, reach=clusters.reach, largest=clusters.largest)
        if isinstance(showers, PointShowers):
            return change(showers)
        return View(showers, change, showers.geometry)
