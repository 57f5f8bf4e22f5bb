"""The energies of all layers given the incident energy, as ratios drawn one after the other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise
from caloforge.cascade.solving import SolvedStage
from caloforge.cascade.stage import Batch, Upstream
from caloforge.geometry import Geometry
from caloforge.nets import Transfusion
from caloforge.stages.conditions import SETTINGS, Conditions
from caloforge.stages.config import EnergyNetwork

__all__ = ["EnergyRatioStage"]


class EnergyRatioStage(SolvedStage):
    """Energy of every layer given the incident energy (CaloDREAM, section 3.1).

    Layer energies may lie below the read-out threshold, as little is left of a shower that ends.

    Args:
        config: its configuration.
        geometry: the voxels.
        conditions: transforms of incident energy and ratios, which the stages of a system share.

    Raises:
        ValueError: if the network has no room for as many layers.
    """

    reads = ("energy_inc",)
    writes = ("layer_energies",)
    choice = "energy_solver"
    solved_for = "layer energies"
    settings = SETTINGS

    def __init__(self, config: EnergyNetwork, geometry: Geometry, conditions: Conditions) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        self.conditions = conditions
        self.energy_inc, self.ratios = conditions.energy_inc, conditions.ratios
        self.default_solver = config.solver
        self.network = Transfusion(
            geometry.n_layers,
            dim=config.dim,
            heads=config.heads,
            layers=config.layers,
            feed_forward=config.feed_forward,
            hidden=config.hidden,
            hidden_layers=config.hidden_layers,
            layer_norm=config.layer_norm,
        )

    def passes(self, options: SamplingOptions) -> int:
        """For each layer one through the transformer, and those of the solver."""
        return self.network.features * (1 + (self.solver(options).n_evaluations or 1))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.conditions.fit(sample)

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        visible = quantities["layer_energies"].sum(1)
        most = self.conditions.energy_ratios.factor * quantities["energy_inc"]
        return {"factor": visible > most}

    def context(self, quantities: Quantities) -> Tensor:
        """Shape (n, 1)."""
        return self.conditions.incident(quantities)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        ratios = self.conditions.transformed_ratios(quantities)
        return {"x": ratios, "context": self.context(quantities)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Flow-matching loss, the mean over layers (CaloDREAM, equation 8)."""
        return self.network.loss(batch["x"], batch["context"], rng=rng)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.network.features,)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        ratios = self.network.draw(self.solver(options), noise["z"], self.context(given))
        return {"layer_energies": self.conditions.layer_energies(ratios, given["energy_inc"])}
