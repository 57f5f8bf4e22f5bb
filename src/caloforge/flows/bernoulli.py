"""A distribution of bits: which voxels are hit, besides the flows of their energies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from caloforge.nets import MADE, Preparable

__all__ = ["BernoulliMADE"]


class BernoulliMADE(Preparable):
    """Bits b_1 … b_D, each sampled given those before it (MADE, arXiv:1502.03509).

        P(b | context) = P(b_1 | context) P(b_2 | b_1, context) … P(b_D | b_1 … b_D-1, context)

    Args:
        features: number of bits D.
        context: number of features of the context (n, context).
        hidden: width of the hidden layers.
        hidden_layers: number of hidden layers after the first.
    """

    def __init__(self, features: int, context: int, hidden: int, hidden_layers: int) -> None:
        super().__init__()
        self.features = features
        self.made = MADE(features, 1, hidden, hidden_layers, context)

    @property
    def sequential_passes(self) -> int:
        return self.features

    def log_prob(self, bits: Tensor, context: Tensor) -> Tensor:
        """Log-probability of bits (n, D), 0 and 1 as numbers, shape (n,)."""
        logits = self.made(bits, context)[:, 0].to(bits.dtype)
        return -binary_cross_entropy_with_logits(logits, bits, reduction="none").sum(1)

    def prepare(self) -> None:
        with torch.no_grad():
            self._prepared = self.made.stepwise()

    @torch.no_grad()
    def decode(self, uniform: Tensor, context: Tensor) -> Tensor:
        """Bits from numbers between 0 and 1: 1 where a number lies below the probability.

        Args:
            uniform: shape (n, D).
            context: shape (n, context).

        Returns:
            0 and 1 as numbers, NaN where the network gives no probability, shape (n, D).
        """
        net = self._prepared or self.made.stepwise()
        steps = net.begin(len(uniform), context)
        for column in uniform.t():
            probability = steps.outputs()[0].sigmoid()
            bit = (column < probability).to(probability.dtype)
            steps.append(torch.where(probability.isnan(), probability, bit))  # no silent zero
        return steps.known.t()
