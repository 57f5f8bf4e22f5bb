"""The energies of all layers given the incident energy: a stage that systems share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.likelihood import EntryNoise
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.flows import Flow, Kind, Order, Spline, vector_stack
from caloforge.geometry import Geometry
from caloforge.preprocessing import (
    Chain,
    LogEnergy,
    Logit,
    ScaleByMax,
    add_gaussian,
    add_uniform,
)
from caloforge.units import keV

__all__ = ["EnergyFlow", "EnergyStage", "energy_flow"]

ATTEMPTS = 100  # at layer energies that are not too high


@dataclass(frozen=True)
class EnergyFlow:
    """The flow of layer energies (Convolutional L2LFlows, tables 3 and 4; FLOW-1 of SuperCalo).

    The values by default are those of L2LFlows.

    Args:
        recipe: training (table 4).
        kind: masked autoregressive blocks, as published, or couplings, which sample faster.
        blocks: spline blocks with permutations between them (table 3).
        hidden: width of the hidden layers (table 3).
        hidden_layers: hidden layers of a block (table 3).
        bins: spline bins (table 3).
        bound: the splines act on [-bound, bound]; None for all that the logit reaches,
            [logit(alpha), logit(1 - alpha)] (table 3).
        minimum: minimum of bin width, height and derivative (table 3).
        orders: the permutations between blocks, in turn (table 3).
        alpha: of the modified logit (B.3).
        noise: distribution of the noise on layer energies (table 4: Gaussian).
        noise_mean: mean of Gaussian noise [MeV] (table 4).
        noise_std: its standard deviation [MeV] (table 4).
        noise_width: uniform noise lies between 0 and this [MeV] (SuperCalo, B2).
        largest_ratio: layer energies whose sum exceeds so many incident energies are sampled
            again, None to keep all (section 3.1 has 2.6 for dataset 3).
    """

    recipe: Recipe
    kind: Kind = "masked"
    blocks: int = 6
    hidden: int = 64
    hidden_layers: int = 1
    bins: int = 8
    bound: float | None = None
    minimum: float = 1e-6
    orders: tuple[Order, ...] = ("random",)
    alpha: float = 1e-6
    noise: Literal["gaussian", "uniform"] = "gaussian"
    noise_mean: float = 1 * keV
    noise_std: float = 0.2 * keV
    noise_width: float = 5 * keV
    largest_ratio: float | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


def energy_flow(config: EnergyFlow, n_layers: int) -> Flow:
    """Spline blocks with permutations between (Convolutional L2LFlows, section 3.1)."""
    bound = config.bound or math.log((1 - config.alpha) / config.alpha)
    stack = vector_stack(
        config.kind,
        n_layers,
        1,
        blocks=config.blocks,
        hidden=config.hidden,
        hidden_layers=config.hidden_layers,
        spline=Spline(config.bins, bound, config.minimum),
        orders=config.orders,
    )
    return Flow(stack, (n_layers,))


class EnergyStage(Learned):
    """Energy of every layer given the incident energy (Convolutional L2LFlows, section 3.1).

    Args:
        config: its configuration.
        geometry: the voxels.
        condition: transform of the incident energy.
    """

    reads = ("energy_inc",)
    writes = ("layer_energies",)

    def __init__(self, config: EnergyFlow, geometry: Geometry, condition: LogEnergy) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        self.flow = energy_flow(config, geometry.n_layers)
        self.layer_energies = Chain(ScaleByMax(), Logit(config.alpha))  # B.2, B.3
        self.energy_inc = condition

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.layer_energies.fit(lambda: (q["layer_energies"] for q in sample.batches()))

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        ratio = self.config.largest_ratio
        if ratio is None:
            return {}
        above = quantities["layer_energies"].sum(1) > ratio * quantities["energy_inc"]
        return {"energies.largest_ratio": above}

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, 1)."""
        condition: Tensor = self.energy_inc(quantities["energy_inc"])
        return condition[:, None]

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        noised = self.add_noise(quantities, rng)["layer_energies"]
        return {"x": self.layer_energies(noised), "context": self.context(quantities, upstream)}

    def add_noise(self, quantities: Quantities, rng: torch.Generator) -> Quantities:
        energies, config = quantities["layer_energies"], self.config
        if config.noise == "uniform":
            noised = add_uniform(energies, width=config.noise_width, rng=rng)
        else:
            noised = add_gaussian(energies, mean=config.noise_mean, std=config.noise_std, rng=rng)
        return {**quantities, "layer_energies": noised}

    def entry_noise(self) -> EntryNoise:
        if self.config.noise == "uniform":
            return torch.distributions.Uniform(0.0, self.config.noise_width, validate_args=False)
        return torch.distributions.Normal(self.config.noise_mean, self.config.noise_std)

    def log_prob(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        energies = quantities["layer_energies"]
        exact = energies.double()
        x = self.layer_energies(exact).to(energies.dtype)
        density = self.flow.log_prob(x, self.context(quantities, upstream))
        return density.double() + self.layer_energies.log_slope(exact).sum(1)

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a layer."""
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / batch["x"].shape[1]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.flow.latent_shape

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """The keys of samples that replace rejected ones."""
        return {} if self.config.largest_ratio is None else {"keys": seeds.as_tensor()}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        """Layer energies and, where they may be rejected, how often they were ("rejected")."""
        context = self.context(given, upstream)
        energies = self._decoded(noise["z"], context)
        if self.config.largest_ratio is None:
            return {"layer_energies": energies}
        largest = self.config.largest_ratio * given["energy_inc"]
        rejected = torch.zeros_like(largest, dtype=torch.int64)
        for attempt in range(ATTEMPTS):
            # NaN is not above: it stays, and is reported
            above = (energies.sum(1) > largest).nonzero()[:, 0]
            if len(above) == 0:
                return {"layer_energies": energies, "rejected": rejected}
            seeds = Seeds.of_keys(noise["keys"][above.cpu()], context.device)
            z = seeds.branch(attempt).normal(*self.flow.latent_shape)
            energies[above] = self._decoded(z, context[above])
            rejected[above] += 1
        raise FloatingPointError(
            f"{len(above)} of {len(energies)} showers still deposit more than "
            f"{self.config.largest_ratio} times their incident energy after {ATTEMPTS} attempts: "
            "the energy flow diverged, or the incident energies lie far outside those it was "
            "trained on"
        )

    def _decoded(self, z: Tensor, context: Tensor) -> Tensor:
        return self.layer_energies.inverse(self.flow.decode(z, context)).clamp_min(0)
