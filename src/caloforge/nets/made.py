"""Masked autoencoder for distribution estimation (MADE, arXiv:1502.03509)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MADE"]


class MaskedLinear(nn.Linear):
    """A linear layer whose weights are masked.

    Args:
        mask: which input reaches which output, shape (outputs, inputs).
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        # follows from the sizes, so it is not saved
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """A fully connected network whose outputs for feature i see the features before i only.

    First layer with the context added, `hidden_layers` layers of equal width, output layer; ReLU
    between them. The output starts at zero, so that a flow starts as the identity.

    Args:
        features: number of features D.
        multiplier: outputs a feature.
        hidden: width of the hidden layers.
        hidden_layers: number of hidden layers behind the first.
        context: number of context features, 0 for none; every output sees all of them.
    """

    def __init__(
        self, features: int, multiplier: int, hidden: int, hidden_layers: int, context: int = 0
    ) -> None:
        super().__init__()
        self.multiplier = multiplier
        order = torch.arange(1, features + 1)
        # from 0: a unit of degree 0 sees the context alone, and is all that the first feature sees
        degrees = torch.arange(hidden) % features
        self.first = MaskedLinear(degrees[:, None] >= order)
        self.context = nn.Linear(context, hidden) if context else None
        self.hidden = nn.ModuleList(
            MaskedLinear(degrees[:, None] >= degrees) for _ in range(hidden_layers)
        )
        # rows are (output, feature), feature fastest: the order in which splines run fastest
        self.last = MaskedLinear(order.repeat(multiplier)[:, None] > degrees)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, only: int | None = None) -> Tensor:
        """Outputs of all features, or of one.

        Args:
            x: features, shape (n, D).
            context: shape (n, context).
            only: compute the outputs of this feature alone.

        Returns:
            Shape (n, multiplier, D), or (n, multiplier) for one feature.
        """
        h = self.first(x)
        if self.context is not None:
            h = h + self.context(context)
        for layer in self.hidden:
            h = layer(torch.relu(h))
        h = torch.relu(h)
        if only is None:
            out: Tensor = self.last(h)
            outputs: Tensor = out.unflatten(1, (self.multiplier, -1))
            return outputs
        rows = slice(only, None, x.shape[1])
        weight = self.last.weight[rows] * self.last.mask[rows]
        return nn.functional.linear(h, weight, self.last.bias[rows])
