"""The network of point clouds whose points know of each other only by a common context."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

__all__ = ["ConcatSquash", "PointWiseNet"]

SLOPE = 0.01


class ConcatSquash(nn.Module):
    """A linear layer of points that the context of their cloud gates and shifts.

        y = (W x + b) sigmoid(G c + g) + H c

    (CaloClouds, figure 3; arXiv:2103.01458).

    Args:
        features_in: features of a point.
        features_out: of the output.
        context: features of the context.
    """

    def __init__(self, features_in: int, features_out: int, context: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features_in, features_out)
        self.gate = nn.Linear(context, features_out)
        self.shift = nn.Linear(context, features_out, bias=False)

    def forward(self, x: Tensor, context: Tensor, cloud: Tensor) -> Tensor:
        """Shape (points, features_out).

        Args:
            x: points of all clouds in one tensor, shape (points, features_in).
            context: of each cloud, shape (n, context).
            cloud: which cloud each point belongs to, shape (points,).
        """
        gate, shift = self.gate(context).sigmoid(), self.shift(context)
        if len(context) > 1:  # else it is the same for all points
            gate, shift = gate[cloud], shift[cloud]
        y: Tensor = self.layer(x) * gate + shift
        return y


class PointWiseNet(nn.Module):
    """Points to points of as many features, each on its own, with leaky ReLUs (CaloClouds, 3.1).

    Clouds of any number of points lie one behind the other in one tensor: nothing is padded.

    Args:
        features: of a point.
        context: features of the context of a cloud.
        hidden: features behind all layers but the last.
    """

    def __init__(
        self,
        features: int,
        context: int,
        hidden: Sequence[int] = (128, 256, 512, 256, 128),
    ) -> None:
        super().__init__()
        widths = (features, *hidden, features)
        self.layers = nn.ModuleList(ConcatSquash(*pair, context) for pair in pairwise(widths))

    def forward(self, x: Tensor, context: Tensor, cloud: Tensor) -> Tensor:
        """Shape (points, features).

        Args:
            x: shape (points, features).
            context: of each cloud, shape (n, context).
            cloud: which cloud each point belongs to, shape (points,).
        """
        *inner, last = self.layers
        y = x
        for layer in inner:
            y = leaky_relu_(layer(y, context, cloud), SLOPE)
        out: Tensor = x + last(y, context, cloud)
        return out
