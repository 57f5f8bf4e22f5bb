"""The Latent Flow: the latent vector of a shower, given its energy and number of points."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.flows import Flow, Spline, vector_stack
from caloforge.preprocessing import Standardise
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.config import LatentFlowConfig
from caloforge.systems.caloclouds.points import PointsStage

__all__ = ["LatentStage", "depth"]

SLOPE = 0.01  # of the leaky ReLUs below zero (section 3.2)


class LatentStage(Learned):
    """The latent vector of a shower, given its energy and number of points (section 3.2).

    Trained on samples of the trained encoder, while the paper trains both at the same time. The
    latent vector is correlated with the depth of a shower: where the flow does not see the depth,
    the latent vector may be that of a shower that began late, and the counts of its layers those of
    one that began early.

    Args:
        config: its configuration.
        points: the stage of the encoder, of which the size of the latent space is taken.
        conditions: those of all networks, of which the size is taken.
    """

    needs = ("conditions", "points")
    optional = ("n_points",)
    writes = ("latent",)

    def __init__(
        self, config: LatentFlowConfig, points: PointsStage, conditions: CloudConditions
    ) -> None:
        super().__init__()
        self.recipe = config.recipe
        self.reads = (*conditions.particle, "layer_counts")
        self.learns = (*points.learns, "layer_counts") if config.depth else points.learns
        self.depth = Standardise((2,)) if config.depth else None
        size = points.config.encoder.latent
        self.features = Standardise((size,))
        stack = vector_stack(
            "coupling",
            size,
            conditions.size + (2 if config.depth else 0),
            blocks=config.blocks,
            hidden=config.hidden,
            hidden_layers=1,
            spline=Spline(config.bins, config.bound),
            orders=("reverse", "random"),
            slope=SLOPE,
        )
        self.flow = Flow(stack, (size,))

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
        if self.depth is not None:
            self.depth.fit(lambda: (depth(q["layer_counts"]) for q in sample.batches()))
        encode = PointsStage.of(upstream, "points").encode
        self.features.fit(lambda: (encode(q, upstream, rng) for q in sample.batches(100)))

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Energy and number of points, and the depth where it is seen, shape (n, …)."""
        both = CloudConditions.of(upstream, "conditions").both(quantities)
        if self.depth is None:
            return both
        return torch.cat([both, self.depth(depth(quantities["layer_counts"]))], 1)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        latent = PointsStage.of(upstream, "points").encode(quantities, upstream, rng)
        return {"x": self.features(latent), "context": self.context(quantities, upstream)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a number of the latent space."""
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / batch["x"].shape[1]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.flow.latent_shape

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        latent = self.flow.decode(noise["z"], self.context(given, upstream))
        return {"latent": self.features.inverse(latent)}


def depth(layer_counts: Tensor) -> Tensor:
    """Mean and standard deviation of the layers of a shower's points, shape (n, 2); 0 for none.

    Args:
        layer_counts: points in each layer, shape (n, L).
    """
    share = layer_counts / layer_counts.sum(1, keepdim=True).clamp_min(1)
    layers = torch.arange(layer_counts.shape[1], device=share.device, dtype=share.dtype)
    mean = share @ layers
    variance = share @ layers.square() - mean.square()
    return torch.stack([mean, variance.clamp_min(0).sqrt()], 1)
