"""FLOW-2 of SuperCalo: the coarse voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import POSTPROCESS, Choice
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities, coarse_name
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.flows import Chain as Bijections
from caloforge.flows import Flow, Permutation, Spline, vector_stack
from caloforge.geometry import Coarsening, Geometry
from caloforge.preprocessing import (
    Chain,
    LogEnergy,
    ScaleByMax,
    Symmetry,
    add_uniform,
)
from caloforge.showers import ShowerSource
from caloforge.stages.rescaling import rescale
from caloforge.systems.supercalo.config import CoarseFlow, UpsampleFlow
from caloforge.units import MeV

__all__ = ["CoarseStage", "blocks", "incident_condition"]


def incident_condition() -> LogEnergy:
    """log10(E_inc / 10^4.5 MeV) (B1)."""
    return LogEnergy(10**4.5 * MeV, floor=0.0)


def blocks(config: CoarseFlow | UpsampleFlow, features: int, context: int) -> Bijections:
    """The spline blocks of a flow, reverse and random permutations in turn between them."""
    return vector_stack(
        config.kind,
        features,
        context,
        blocks=config.blocks,
        hidden=config.hidden,
        hidden_layers=config.hidden_layers,
        spline=Spline(config.bins, config.bound, config.minimum),
        orders=("reverse", "random"),
    )


class CoarseStage(Learned):
    """FLOW-2: energies of the coarse voxels (SuperCalo, section IV).

    Conditioned on the incident energy and the energies of the coarse layers.

    Args:
        config: its configuration.
        geometry: the fine voxels.
        factors: fine voxels in a coarse one.
    """

    choices: Mapping[str, Choice] = {"postprocess": POSTPROCESS}

    def __init__(
        self, config: CoarseFlow, geometry: Geometry, factors: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        self.coarsening = Coarsening(geometry, factors)
        self.shape = self.coarsening.shape
        cyclic = geometry.cyclic_axis is not None
        self.symmetry = Symmetry(cyclic, config.rotation, config.reflection, "coarse")
        self.threshold = geometry.threshold
        self.own = coarse_name(factors)
        self.reads = ("energy_inc", "layer_energies")
        self.writes = (self.own,)
        n_coarse = self.coarsening.n_coarse
        # the first block sees the voxels in the order (layer, r, alpha)
        order = torch.arange(n_coarse).reshape(self.shape).transpose(1, 2).flatten()
        stack = blocks(config, n_coarse, 1 + self.shape[0])
        self.flow = Flow(Bijections([Permutation(order), stack]), (n_coarse,))
        self.voxels = Chain(ScaleByMax(), LogEnergy(1 * MeV, shift=6.0, floor=0.0))  # B4
        self.energy_inc = incident_condition()
        self.layer_energy = LogEnergy(1 * MeV, scale=0.25, floor=0.0)  # B5

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes

    def check(self, sample: ShowerSource[Any]) -> None:
        super().check(sample)
        coarse = ShowerQuantities(sample, (self.own,), budget=0)
        self.symmetry.check(q[self.own].reshape(-1, *self.shape).sum(1) for q in coarse.batches())

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.voxels.fit(lambda: (q[self.own] + self.config.noise_width for q in sample.batches()))

    def layers(self, quantities: Quantities) -> Tensor:
        """Energy of each coarse layer [MeV], shape (n, coarse layers): what the read-out sees."""
        energies = quantities["layer_energies"]
        energies = torch.where(energies < self.threshold, 0.0, energies)  # NaN stays NaN
        return energies.reshape(len(energies), self.shape[0], -1).sum(2)

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Incident energy and coarse layer energies, shape (n, 1 + coarse layers).

        The published layer energies are sums of voxels with noise: here the mean of that noise is
        added, in training and in sampling.
        """
        _, a, b = self.shape
        layers = self.layers(quantities) + a * b * self.config.noise_width / 2
        incident = self.energy_inc(quantities["energy_inc"])
        return torch.cat([incident[:, None], self.layer_energy(layers)], 1)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        voxels = self.symmetry(quantities[self.own].reshape(-1, *self.shape), rng).flatten(1)
        noised = add_uniform(voxels, width=self.config.noise_width, rng=rng)
        return {"x": self.voxels(noised), "context": self.context(quantities, upstream)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a coarse voxel."""
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / batch["x"].shape[1]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.flow.latent_shape

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        voxels = self.voxels.inverse(self.flow.decode(noise["z"], self.context(given, upstream)))
        voxels = torch.where(voxels < self.threshold, 0.0, voxels)
        if options.postprocess and self.config.rescale != "none":
            layers = voxels.reshape(-1, *self.shape)
            layers = rescale(layers, self.layers(given), self.threshold, self.config.rescale)
            voxels = layers.flatten(1)
        return {self.own: voxels}
