"""SuperCalo (arXiv:2308.11700): coarse showers, then their superresolution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from caloforge.cascade.kinds import VoxelSystem
from caloforge.cascade.quantities import Quantities, ShowerQuantities, coarse_name
from caloforge.cascade.seeds import Branch, Seeds
from caloforge.devices import find_device
from caloforge.geometry import Coarsening, Geometry
from caloforge.showers import Showers
from caloforge.stages.energies import EnergyStage
from caloforge.stages.layerenergies import energy_stages
from caloforge.systems.supercalo.coarse import CoarseStage, incident_condition
from caloforge.systems.supercalo.config import SuperCaloConfig
from caloforge.systems.supercalo.presets import FIXED_GEOMETRIES, SIZES, preset
from caloforge.systems.supercalo.upsample import UpsampleStage

__all__ = ["SuperCalo"]


class SuperCalo(VoxelSystem):
    """Layer energies, coarse voxels, fine voxels (SuperCalo, figure 1).

    Args:
        config: sizes and training of its flows.
        geometry: a regular geometry that the coarse voxels divide.
    """

    name: ClassVar[str] = "supercalo"
    Config: ClassVar[type[Any]] = SuperCaloConfig
    sizes: ClassVar[tuple[str, ...]] = SIZES
    papers: ClassVar[tuple[str, ...]] = ("arXiv:2308.11700",)
    fixed_geometries: ClassVar[Mapping[str, str]] = FIXED_GEOMETRIES

    def __init__(self, config: SuperCaloConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        factors = config.upsample.factors
        self.coarsening = Coarsening(geometry, factors)
        if config.energies is not None and config.coarse is not None:
            own = partial(EnergyStage, condition=incident_condition())
            self.stages |= energy_stages(config.energies, geometry, own)
            self.stages["coarse"] = CoarseStage(config.coarse, geometry, factors)
        self.stages["upsample"] = UpsampleStage(config.upsample, geometry)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> SuperCaloConfig:
        return preset(size, geometry)

    def upsample(
        self,
        coarse: Iterable[Showers],
        *,
        seed: int,
        first: int = 0,
        device: torch.device | str = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> Iterator[Showers]:
        """Sample the fine voxels of coarse showers, batch by batch (SuperCalo, section III D).

        Example:
            >>> system, other = cf.load("runs/supercalo"), cf.load("runs/coarse")
            >>> coarse = other.stream([1e4, 5e4], seed=1)
            >>> showers = cf.VoxelShowers.concatenate(list(system.upsample(coarse, seed=1)))

        Args:
            coarse: batches of showers in the coarse voxels, `system.coarsening.geometry`, or of
                showers in the fine ones, which are made coarse first.
            seed: every shower has a generator of its own, made of the seed and its number.
            first: number of the first shower.
            device: where to compute; by default the accelerator if there is one.
            options: what a user chooses at generation.

        Raises:
            ValueError: for showers in other voxels, or coarse ones that cannot give the energies of
                the fine layers that the flow is conditioned on.
        """
        options = self.chosen(options)
        place = find_device(device)
        Seeds.of(seed, (), place)  # refuses a seed that is none

        def sampled(number: int) -> Iterator[Showers]:
            self.prepare(place)
            for showers in coarse:
                numbers = np.arange(number, number + len(showers))
                seeds = Seeds.of(seed, numbers, place, Branch.UPSAMPLING)
                number += len(showers)
                given = self._known(showers)
                yield self.draw(showers.particles, seeds=seeds, options=options, given=given)

        return sampled(first)

    def _known(self, showers: Showers) -> Quantities:
        """Quantities of showers in fine or in coarse voxels."""
        name, fine = coarse_name(self.coarsening.factors), self.geometry
        if showers.geometry.layers == fine.layers:
            return ShowerQuantities(showers, (name, "layer_energies")).all()
        if showers.geometry.layers != self.coarsening.geometry.layers:
            raise ValueError(
                f"showers of {showers.geometry.name} are neither in the coarse voxels, "
                f"{self.coarsening.geometry.name}, nor in the fine ones, {fine.name}: make coarse "
                "ones with showers.coarsen(system.coarsening)"
            )
        known = ShowerQuantities(showers, ("showers", "layer_energies")).all()
        coarse = {name: known["showers"].flatten(1)}
        if self.config.upsample.layer_energies == "coarse":
            return coarse
        if self.coarsening.factors[0] > 1:
            raise ValueError(
                "coarse showers have no energies of fine layers, which this flow is conditioned "
                "on: train one with upsample.layer_energies=coarse, or give fine showers"
            )
        return {**coarse, "layer_energies": known["layer_energies"]}
