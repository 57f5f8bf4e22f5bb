"""CaloDREAM (arXiv:2405.09629): layer energies, then the shape, by flow matching."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, ClassVar

from caloforge.cascade.kinds import VoxelSystem
from caloforge.cascade.solving import SolvedStage
from caloforge.geometry import Geometry
from caloforge.stages.bespoke import BespokeSolvers
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import EnergyNetwork
from caloforge.stages.layerenergies import energy_stages
from caloforge.stages.ratios import EnergyRatioStage
from caloforge.stages.rescaling import Rescaled
from caloforge.stages.shape import ShapeStage, VoxelShapeStage
from caloforge.stages.spectrum import SpectrumMap
from caloforge.systems.calodream.autoencoder import AutoencoderStage, LeastHit
from caloforge.systems.calodream.config import CaloDREAMConfig
from caloforge.systems.calodream.distilled import DistilledStage
from caloforge.systems.calodream.latent import LatentShapeStage
from caloforge.systems.calodream.presets import FIXED_GEOMETRIES, SIZES, preset

__all__ = ["CaloDREAM"]


class CaloDREAM(VoxelSystem):
    """Layer energies, then voxels, or latent pixels and their voxels (equations 4 and 14).

    Args:
        config: sizes and training of its networks.
        geometry: a regular geometry that the patches divide.

    Raises:
        ValueError: for settings that do not fit it or each other, such as a solver there is not.
    """

    name: ClassVar[str] = "calodream"
    Config: ClassVar[type[Any]] = CaloDREAMConfig
    sizes: ClassVar[tuple[str, ...]] = SIZES
    papers: ClassVar[tuple[str, ...]] = ("arXiv:2405.09629",)
    fixed_geometries: ClassVar[Mapping[str, str]] = FIXED_GEOMETRIES

    def __init__(self, config: CaloDREAMConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        conditions = _conditions(config, geometry)
        energies = energy_stages(config.energies, geometry, EnergyRatioStage)
        self.stages |= {"conditions": conditions, **energies}
        shape: ShapeStage
        if config.autoencoder is None:
            shape = VoxelShapeStage(config.shape, geometry, conditions)
            self.stages["shape"] = shape
        else:
            autoencoder = AutoencoderStage(config.autoencoder, geometry, conditions)
            latent = autoencoder.grid_shape
            shape = LatentShapeStage(config.shape, latent, geometry, conditions)
            self.stages |= {"shape": shape, "autoencoder": autoencoder}
            if config.autoencoder.hit_showers:
                self.stages["hits"] = LeastHit(config.autoencoder, geometry.threshold)
        solvers: list[dict[str, Any]] = []
        if config.solvers:
            bespoke = BespokeSolvers(config.solvers, tuple(energies))
            self.stages["solvers"] = bespoke
            solvers.append(bespoke.solvers)
        if config.distillation is not None:
            distilled = DistilledStage(config.distillation, config.shape, shape)
            self.stages["distilled"] = distilled
            solvers.append(distilled.solvers)
        shape.trained_solvers = ChainMap(*solvers)
        shape.later_solvers = tuple(fit.name for fit in config.solvers)
        for stage in (self.stages["energies"], shape):
            if isinstance(stage, SolvedStage) and stage.default_solver not in stage.later_solvers:
                stage.solver(stage.chosen({}))
        if config.spectrum is not None:
            rescale: Rescaled = "hits" if config.spectrum.rescale else "none"
            self.stages["spectrum"] = SpectrumMap(
                config.spectrum, geometry.threshold, self.stages, rescale
            )

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> CaloDREAMConfig:
        return preset(size, geometry)


def _conditions(config: CaloDREAMConfig, geometry: Geometry) -> RatioConditions:
    """What networks see of the energies of a shower."""
    energies, alpha, snap = config.energies, EnergyNetwork.alpha, True
    if isinstance(energies, EnergyNetwork):  # else ratios are seen, and none is sampled
        alpha, snap = energies.alpha, energies.snap
    return RatioConditions(geometry.n_layers, config.factor, alpha, snap=snap)
