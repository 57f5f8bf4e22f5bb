"""The network of point clouds whose points are correlated only through a common context."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_, linear

from caloforge.nets.linear import in_one_go

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

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        cloud: Tensor | None = None,
        *,
        activated: bool = False,
    ) -> Tensor:
        """Shape (points, features_out), or (n, points, features_out).

        Args:
            x: points of all clouds in one tensor, shape (points, features_in); or clouds of as many
                points each, shape (n, points, features_in).
            context: of each cloud, shape (n, context).
            cloud: which cloud each point of the one tensor belongs to, shape (points,).
            activated: whether a leaky ReLU follows.
        """
        gate, shift = self.gate(context).sigmoid(), self.shift(context)
        if len(context) == 1:
            return self._of_one_cloud(x, gate[0], shift[0], activated)
        if cloud is None:
            gate, shift = gate[:, None], shift[:, None]
        else:
            gate, shift = gate[cloud], shift[cloud]
        y = torch.addcmul(shift, self.layer(x), gate)
        return leaky_relu_(y, SLOPE) if activated else y

    def _of_one_cloud(self, x: Tensor, gate: Tensor, shift: Tensor, activated: bool) -> Tensor:
        """Gate and shift are the same for all points: they go into the weights."""
        weight = gate[:, None] * self.layer.weight
        bias = gate * self.layer.bias + shift
        if not torch.is_grad_enabled():
            device = x.device.type
            if torch.is_autocast_enabled(device):
                low = torch.get_autocast_dtype(device)
                x, weight, bias = x.to(low), weight.to(low), bias.to(low)
            name, numbers = ("leaky_relu", [SLOPE]) if activated else ("none", [])
            fused = in_one_go(x, weight, bias, name, numbers=numbers)
            if fused is not None:
                return fused
        y = linear(x, weight, bias)
        return leaky_relu_(y, SLOPE) if activated else y


class PointWiseNet(nn.Module):
    """Points to points of as many features, each on its own, with leaky ReLUs (CaloClouds, 3.1).

    Clouds of any number of points lie one after the other in one tensor: nothing is padded. Those
    of one number may be given side by side, which is faster, and a single cloud is fastest.

    Args:
        features: of a point.
        context: features of the context of a cloud.
        hidden: features after all layers but the last.
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

    def forward(self, x: Tensor, context: Tensor, cloud: Tensor | None = None) -> Tensor:
        """The shape of x.

        Args:
            x: shape (points, features), or (n, points, features).
            context: of each cloud, shape (n, context).
            cloud: which cloud each point of the one tensor belongs to, shape (points,).
        """
        *inner, last = self.layers
        y = x
        for layer in inner:
            y = layer(y, context, cloud, activated=True)
        out: Tensor = x + last(y, context, cloud)
        return out
