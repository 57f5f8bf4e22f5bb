"""The energies of all layers given the incident energy, as ratios sampled one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.seeds import Noise
from caloforge.cascade.solving import SolvedStage
from caloforge.cascade.stage import Batch, Upstream
from caloforge.geometry import Geometry
from caloforge.nets import Transfusion
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import EnergyNetwork

__all__ = ["EnergyRatioStage"]


class EnergyRatioStage(SolvedStage):
    """Energy of every layer given the incident energy (CaloDREAM, section 3.1).

    Layer energies may lie below the read-out threshold, as a shower has little energy where it
    ends.

    Args:
        config: its configuration.
        geometry: the voxels.

    Raises:
        ValueError: if the tokens of the network are too short for so many layers.
    """

    needs = ("conditions",)
    reads = ("energy_inc",)
    writes = ("layer_energies",)
    choice = "energy_solver"
    solved_for = "layer energies"

    def __init__(self, config: EnergyNetwork, geometry: Geometry) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
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

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, 1)."""
        return RatioConditions.of(upstream, "conditions").incident(quantities)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        ratios = RatioConditions.of(upstream, "conditions").transformed_ratios(quantities)
        return {"x": ratios, "context": self.context(quantities, upstream)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Flow-matching loss, the mean over layers (CaloDREAM, equation 8)."""
        return self.network.loss(batch["x"], batch["context"], rng=rng)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.network.features,)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        conditions = RatioConditions.of(upstream, "conditions")
        context = self.context(given, upstream)
        ratios = self.network.sample(self.solver(options), noise["z"], context)
        return {"layer_energies": conditions.layer_energies(ratios, given["energy_inc"])}
