"""What the superresolution flow samples: how fine voxels share the energy of their coarse voxel."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Batch
from caloforge.flows import BernoulliMADE, Flow
from caloforge.preprocessing import Logit, add_uniform, break_sticks, join_sticks
from caloforge.systems.supercalo.coarse import blocks
from caloforge.systems.supercalo.config import UpsampleFlow

__all__ = ["HitShares", "RelativeShares", "Shares"]


class Shares(nn.Module, ABC):
    """A distribution of the fractions of the fine voxels in a coarse one, given its conditions."""

    flow: Flow

    @abstractmethod
    def noise(self, n: int, like: Tensor, rng: torch.Generator) -> Tensor | None:
        """Noise on the fine voxels of n coarse ones [MeV], shape (n, n_fine); None for none."""

    @abstractmethod
    def batch(self, fine: Tensor, rng: torch.Generator) -> Batch:
        """What `loss` needs of fine voxels [MeV], noise included, shape (n, n_fine)."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Negative log-likelihood a fine voxel, averaged over the coarse voxels."""

    @abstractmethod
    def sample(self, counts: Tensor, seeds: Seeds) -> Noise:
        """What sampling needs: "latent", shape (sum of counts, latent), and "added" if `noise` is.

        Args:
            counts: coarse voxels that hold energy, of each shower, shape (n,).
            seeds: of the showers.
        """

    @abstractmethod
    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        """Shares, shape (n, n_fine)."""

    @property
    @abstractmethod
    def sequential_passes(self) -> int:
        """Passes through networks, one after the other, that a sample takes."""


class RelativeShares(Shares):
    """Fine energies with noise, in units of the coarse energy (SuperCalo, B8 and B9).

    They sum to one, which the flow has to learn; so they have no density in all dimensions.

    Args:
        config: the superresolution flow.
        n_fine: fine voxels in a coarse one.
        n_conditions: conditions of a coarse voxel.
    """

    def __init__(self, config: UpsampleFlow, n_fine: int, n_conditions: int) -> None:
        super().__init__()
        self.n_fine = n_fine
        self.noise_width = config.noise_width
        self.flow = Flow(blocks(config, n_fine, n_conditions), (n_fine,))
        self.logit = Logit(config.alpha)

    def noise(self, n: int, like: Tensor, rng: torch.Generator) -> Tensor:
        return add_uniform(like.new_zeros(n, self.n_fine), width=self.noise_width, rng=rng)

    def batch(self, fine: Tensor, rng: torch.Generator) -> Batch:
        return {"x": self.logit(fine / fine.sum(1, keepdim=True))}

    def loss(self, batch: Batch) -> Tensor:
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / self.n_fine

    def sample(self, counts: Tensor, seeds: Seeds) -> Noise:
        uniform = seeds.branch("added").uniform_rows(counts, self.n_fine)
        return {
            "latent": seeds.normal_rows(counts, *self.flow.latent_shape),
            "added": self.noise_width * uniform,
        }

    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        return self.logit.inverse(self.flow.decode(latent, context)).clamp_min(0)

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes


class HitShares(Shares):
    """First which fine voxels are hit, then how these share the energy, of which they leave none.

    The bits need no noise, and between empty voxels and hits there is no gap that a continuous map
    would have to bridge.

    Args:
        config: the superresolution flow.
        n_fine: fine voxels in a coarse one.
        n_conditions: conditions of a coarse voxel.
    """

    def __init__(self, config: UpsampleFlow, n_fine: int, n_conditions: int) -> None:
        super().__init__()
        self.n_fine = n_fine
        self.hits = BernoulliMADE(n_fine, n_conditions, config.hidden, config.hidden_layers)
        stack = blocks(config, n_fine - 1, n_conditions + n_fine)
        self.flow = Flow(stack, (n_fine - 1,))

    def noise(self, n: int, like: Tensor, rng: torch.Generator) -> None:
        return None

    def batch(self, fine: Tensor, rng: torch.Generator) -> Batch:
        return {"x": break_sticks(fine, rng=rng), "hits": (fine > 0).to(fine.dtype)}

    def loss(self, batch: Batch) -> Tensor:
        hits, context = batch["hits"], batch["context"]
        density = self.flow.log_prob(batch["x"], torch.cat([context, hits], 1))
        return -(density + self.hits.log_prob(hits, context)).mean() / self.n_fine

    def sample(self, counts: Tensor, seeds: Seeds) -> Noise:
        normal = seeds.normal_rows(counts, *self.flow.latent_shape)
        uniform = seeds.branch("hits").uniform_rows(counts, self.n_fine)
        return {"latent": torch.cat([normal, uniform], 1)}

    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        normal, uniform = latent.split([self.n_fine - 1, self.n_fine], 1)
        hits = self.hits.decode(uniform, context)
        last = hits[:, -1:].masked_fill(~hits.any(1, keepdim=True), 1.0)  # one is hit at least
        hits = torch.cat([hits[:, :-1], last], 1)
        z = self.flow.decode(normal, torch.cat([context, hits], 1))
        return join_sticks(z, hits != 0)  # NaN stays NaN

    @property
    def sequential_passes(self) -> int:
        return self.hits.sequential_passes + self.flow.bijection.sequential_passes
