"""The variational autoencoder of CaloDREAM: showers in the pixels of a latent grid, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import MEMORY_BUDGET, POSTPROCESS, Choice
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Branch, Noise, batch_rng
from caloforge.cascade.stage import Batch, Correction, Learned, Upstream
from caloforge.geometry import Geometry
from caloforge.nets import Autoencoder3d, DownSampling, divergence
from caloforge.preprocessing import Symmetry
from caloforge.showers import ShowerSource
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.shares import normalised, to_shares, to_showers
from caloforge.systems.calodream.config import Autoencoder

__all__ = ["AutoencoderStage", "LeastHit"]

COPIES = 4  # of the widest image that a pass through the network holds at once


class AutoencoderStage(Learned):
    """All voxels, as fractions of the energy of their layer, in a latent grid (section 3.3).

    In training it learns to give back what it is given; in sampling it decodes what was sampled in
    its latent space. Encoder and decoder see incident energy and energy ratios.

    Args:
        config: its configuration.
        geometry: the voxels.
        conditions: those of all networks, of which the size is taken.

    Attributes:
        grid_shape: channels and pixels of the latent grid.

    Raises:
        ValueError: if kernel, stride and padding do not fit the voxels.
    """

    needs = ("conditions",)
    reads = ("energy_inc", "layer_energies", "latent")
    writes = ("showers",)
    learns = ("energy_inc", "layer_energies", "showers")
    choices: Mapping[str, Choice] = {"postprocess": POSTPROCESS, "memory_budget": MEMORY_BUDGET}

    def __init__(
        self, config: Autoencoder, geometry: Geometry, conditions: RatioConditions
    ) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        self.threshold = geometry.threshold
        cyclic = geometry.cyclic_axis is not None
        self.symmetry = Symmetry(cyclic, config.rotation, config.reflection, "autoencoder")
        fine, coarse = config.channels
        blocks = (
            DownSampling(fine, config.kernel, config.stride, config.padding),
            DownSampling(coarse),  # its kernel is of one voxel (table 4): it keeps the grid
        )
        self.net = Autoencoder3d(
            geometry.shape,
            blocks,
            config.latent_channels,
            conditions.size,
            cyclic=cyclic,
        )
        self.grid_shape = self.net.latent_shape
        self.image_size = 4 * geometry.n_voxels * fine  # in single precision [bytes]

    @property
    def sequential_passes(self) -> int:
        return 1

    def check(self, sample: ShowerSource[Any]) -> None:
        super().check(sample)
        showers = ShowerQuantities(sample, ("showers",), budget=0)
        self.symmetry.check(q["showers"].sum(1) for q in showers.batches())

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        shares = to_shares(quantities["showers"])
        return {"autoencoder.cut": shares[shares > 0] < self.config.cut}

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, 1 + L)."""
        return RatioConditions.of(upstream, "conditions").both(quantities)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        shares = to_shares(self.symmetry(quantities["showers"], rng))
        return {"x": shares, "context": self.context(quantities, upstream)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Cross entropy of all voxels and beta D_KL of all pixels, a shower (equation 22)."""
        x, context = batch["x"], batch["context"]
        mean, log_variance = self.net.encode(x, context)
        logits = self.net.decode(_sampled(mean, log_variance, rng), context)
        entropy = binary_cross_entropy_with_logits(logits, x, reduction="sum")
        total: Tensor = entropy + self.config.beta * divergence(mean, log_variance).sum()
        return total / len(x)

    def encode(
        self,
        quantities: Quantities,
        upstream: Upstream,
        rng: torch.Generator,
        *,
        memory_budget: int = MEMORY_BUDGET.default,
    ) -> Tensor:
        """Latent pixels, sampled from p(r | showers) (equation 13), shape (n, *grid_shape).

        Args:
            quantities: incident energies, layer energies and showers.
            upstream: the stages of `needs`.
            rng: source of randomness.
            memory_budget: for the temporaries [bytes].
        """
        at_once = self._at_once(memory_budget)
        shares = to_shares(quantities["showers"]).split(at_once)
        contexts = self.context(quantities, upstream).split(at_once)
        parts = [self.net.encode(*piece) for piece in zip(shares, contexts, strict=True)]
        mean, log_variance = (torch.cat(columns) for columns in zip(*parts, strict=True))
        # all random numbers at once: samples do not depend on the budget
        return _sampled(mean, log_variance, rng)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        """Decode `latent` (equation 14), without noise."""
        at_once = self._at_once(options.memory_budget)
        latents = given["latent"].split(at_once)
        contexts = self.context(given, upstream).split(at_once)
        pieces = zip(latents, contexts, strict=True)
        shares = torch.cat([self.net.decode(*piece) for piece in pieces]).sigmoid()
        shares = torch.where(shares < self.config.cut, 0.0, shares)
        energies = given["layer_energies"]
        showers = to_showers(shares, energies)
        if self.config.hit_showers:  # they are scaled once they are emptied, see `LeastHit`
            return {"showers": showers}
        which = self.config.rescale if options.postprocess else "none"
        return {"showers": normalised(showers, energies, self.threshold, which)}

    @torch.inference_mode()
    def reconstruct(
        self,
        quantities: Quantities,
        upstream: Upstream,
        rng: torch.Generator,
        options: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Showers encoded and decoded [MeV], shape (n, L, a, b): the best the latent space allows.

        Args:
            quantities: incident energies, layer energies and showers.
            upstream: the stages of `needs`.
            rng: source of randomness.
            options: what a user chooses at generation.
        """
        chosen = self.chosen(options or {})
        latent = self.encode(quantities, upstream, rng, memory_budget=chosen.memory_budget)
        return self.decode({}, {**quantities, "latent": latent}, upstream, chosen)["showers"]

    def _at_once(self, memory_budget: int) -> int:
        """Showers of which the temporaries keep to the budget."""
        return max(1, memory_budget // (COPIES * self.image_size))


class LeastHit(Correction):
    """The least energy of a decoded hit, with which showers have as many hits as Geant4's.

    The sigmoid of a logit is never 0, so that a decoder fills what lies between the hits. The
    largest voxel of a layer always stays, or the layer would lose its energy.

    Args:
        config: that of the autoencoder, `hit_showers` of the training sample go through it.
        threshold: read-out threshold [MeV].

    Attributes:
        energy: the least energy [MeV].
    """

    needs = ("conditions", "autoencoder")
    reads = ("layer_energies", "showers")
    writes = ("showers",)
    learns = AutoencoderStage.learns

    def __init__(self, config: Autoencoder, threshold: float) -> None:
        super().__init__()
        self.config, self.threshold = config, threshold
        self.energy = 0.0

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        assert draw is not None
        chosen = draw.some(self.config.hit_showers)
        draw.expect(len(chosen))
        taken = sample.to(draw.device).take(torch.from_numpy(chosen))
        sampled = batch_rng(draw.seed, 0, draw.device, branch=Branch.HITS)
        decoded = AutoencoderStage.of(upstream, "autoencoder").reconstruct(
            taken, upstream, sampled, SamplingOptions(postprocess=False)
        )
        n_hits = int((taken["showers"] > 0).sum())
        self.load_state({"energy": float(decoded.flatten().topk(max(1, n_hits)).values[-1])})
        draw.count(len(chosen))

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        showers, which = self(given["showers"]), self.config.rescale
        return {"showers": normalised(showers, given["layer_energies"], self.threshold, which)}

    def forward(self, showers: Tensor) -> Tensor:
        """Empty what lies below; voxel energies [MeV], shape (n, L, a, b)."""
        least = showers.amax((2, 3), keepdim=True).clamp_max(self.energy)
        return torch.where(showers < least, 0.0, showers)

    def state(self) -> dict[str, Any]:
        return {"energy": self.energy}

    def load_state(self, states: Mapping[str, Any]) -> None:
        self.energy = float(states["energy"])
        if not self.energy >= 0:
            raise ValueError(f"expected a least energy of 0 or more [MeV], got {self.energy}")
        self.is_fitted = True


def _sampled(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    """r = mu + sigma z."""
    z = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
    return mean + (log_variance / 2).exp() * z
