"""The shape network in the latent space of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Upstream
from caloforge.geometry import Geometry
from caloforge.preprocessing import Standardise, Symmetry
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import ShapeNetwork
from caloforge.stages.shape import ShapeStage
from caloforge.systems.calodream.autoencoder import AutoencoderStage

__all__ = ["LatentShapeStage"]


class LatentShapeStage(ShapeStage):
    """All pixels of the autoencoder's latent space at once (section 3.3).

    Args:
        config: its configuration.
        shape: of the latent space, channels and three axes.
        geometry: the voxels, which are rotated and mirrored before they are encoded.
        conditions: those of all networks, of which the size is taken.
    """

    solved_for = "latent pixels"
    needs = ("conditions", "autoencoder")
    reads = ("energy_inc", "layer_energies")
    writes = ("latent",)
    learns = ("energy_inc", "layer_energies", "showers")

    def __init__(
        self,
        config: ShapeNetwork,
        shape: Sequence[int],
        geometry: Geometry,
        conditions: RatioConditions,
    ) -> None:
        super().__init__(config, shape, conditions)
        cyclic = geometry.cyclic_axis is not None
        self.symmetry = Symmetry(cyclic, config.rotation, config.reflection, "shape")
        self.pixels = Standardise(self.shape)

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.pixels.fit(lambda: (self._pixels(q, upstream, rng) for q in sample.batches(100)))

    @torch.no_grad()
    def _pixels(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        """Sampled from the encoder's distribution (equation 13)."""
        seen = {**quantities, "showers": self.symmetry(quantities["showers"], rng)}
        return AutoencoderStage.of(upstream, "autoencoder").encode(seen, upstream, rng)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        x = self.pixels(self._pixels(quantities, upstream, rng))
        return {"x": x, "context": self.context(quantities, upstream)}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        return {"latent": self.pixels.inverse(self.solved(noise, given, upstream, options))}
