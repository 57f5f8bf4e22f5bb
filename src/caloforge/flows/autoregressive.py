"""Masked autoregressive blocks: every feature's spline is set by the features before it."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.flows.base import Bijection
from caloforge.flows.spline import Spline
from caloforge.nets.made import MADE

__all__ = ["SplineMADE"]


class SplineMADE(Bijection):
    """A masked autoregressive spline block (MAF, arXiv:1705.07057).

    z_i = spline(x_i; MADE(x_1 … x_i-1, context)). One pass maps x to z; back it takes D passes, one
    feature each.

    Args:
        features: number of features D of x (n, D).
        context: number of features of the context (n, context), 0 for none.
        hidden: width of the hidden layers.
        hidden_layers: number of hidden layers behind the first.
        spline: the element-wise map.
    """

    def __init__(
        self, features: int, context: int, hidden: int, hidden_layers: int, spline: Spline
    ) -> None:
        super().__init__()
        self.spline = spline
        self.made = MADE(features, spline.n_parameters, hidden, hidden_layers, context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # in mixed precision the network alone computes in half precision
        raw = self.made(x, context).to(x.dtype)
        z, log_slope = self.spline.forward(x, raw, dim=1)
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        columns: list[Tensor] = []
        total = z.new_zeros(len(z))
        for i in range(z.shape[1]):
            # features that are not known yet do not reach the parameters of feature i
            known = torch.cat([*(c[:, None] for c in columns), torch.zeros_like(z[:, i:])], 1)
            raw = self.made(known, context, only=i).to(z.dtype)
            column, log_slope = self.spline.inverse(z[:, i], raw)
            columns.append(column)
            total = total + log_slope
        return torch.stack(columns, 1), total
