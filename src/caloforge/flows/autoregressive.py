"""Masked autoregressive blocks: every feature's spline is set by the features before it."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.flows.base import Bijection
from caloforge.flows.knots import KnotTable
from caloforge.flows.prepared import Inverse
from caloforge.flows.spline import Spline
from caloforge.nets.made import MADE

__all__ = ["SplineMADE"]


class SplineMADE(Bijection):
    """A masked autoregressive spline block (MAF, arXiv:1705.07057).

    z_i = spline(x_i; MADE(x_1 … x_i-1, context)). One pass maps x to z; back it takes D steps, one
    feature each, that are one pass together.

    Args:
        features: number of features D of x (n, D).
        context: number of features of the context (n, context), 0 for none.
        hidden: width of the hidden layers.
        hidden_layers: number of hidden layers after the first.
        spline: the element-wise map.
    """

    def __init__(
        self, features: int, context: int, hidden: int, hidden_layers: int, spline: Spline
    ) -> None:
        super().__init__()
        self.features = features
        self.spline = spline
        self.made = MADE(features, spline.n_parameters, hidden, hidden_layers, context)

    @property
    def sequential_passes(self) -> int:
        return self.features

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # in mixed precision the network alone computes in half precision
        raw = self.made(x, context).to(x.dtype)
        z, log_slope = self.spline.forward(x, raw, dim=1)
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps = self.made.stepwise().begin(len(z), context)
        columns: list[Tensor] = []
        total = z.new_zeros(len(z))
        for value in z.unbind(1):
            raw = steps.outputs().to(z.dtype)
            column, log_slope = self.spline.inverse(value, raw, dim=0)
            steps.append(column)
            columns.append(column)
            total = total + log_slope
        return torch.stack(columns, 1), total

    def prepared(self) -> Inverse:
        table = KnotTable(self.spline, next(self.parameters()))
        net = self.made.stepwise(table.rows)

        def inverse(z: Tensor, context: Tensor | None) -> Tensor:
            steps = net.begin(len(z), context)
            for value in z.t().contiguous():
                steps.append(table.inverse(value, steps.outputs()))
            return steps.known.t()

        return inverse
