"""The fully connected network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

from caloforge.nets.folded import pick

__all__ = ["MLP"]


class MLP(nn.Sequential):
    """Linear layers with (leaky) ReLU between them; the last starts at zero.

    Args:
        features_in: features of x (n, features_in).
        features_out: features of the output.
        hidden: width of the hidden layers.
        hidden_layers: number of hidden layers after the first.
        slope: of the leaky ReLU below zero.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        hidden: int,
        hidden_layers: int,
        slope: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = []
        for width in (features_in, *[hidden] * hidden_layers):
            layers += [nn.Linear(width, hidden), nn.LeakyReLU(slope) if slope else nn.ReLU()]
        last = nn.Linear(hidden, features_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(*layers, last)
        self.slope = slope

    def columns(self, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """The network with its present weights, for points along the columns, without gradients.

        Args:
            outputs: which features of the output are wanted, in which order, -1 for zeros.

        Returns:
            A function from (features_in, n) to (len(outputs), n).
        """
        layers = [
            (layer.bias.detach()[:, None], layer.weight.detach())
            for layer in self
            if isinstance(layer, nn.Linear)
        ]
        slope = self.slope
        last_bias, last_weight = (pick(values, outputs) for values in layers.pop())

        def apply(x: Tensor) -> Tensor:
            for bias, weight in layers:
                x = torch.addmm(bias, weight, x)
                x = leaky_relu_(x, slope) if slope else x.relu_()
            return torch.addmm(last_bias, last_weight, x)

        return apply
