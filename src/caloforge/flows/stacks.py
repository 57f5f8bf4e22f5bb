"""Flows on vectors: stacks of spline blocks with permutations between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Literal

import torch
from torch import Tensor

from caloforge.flows.autoregressive import SplineMADE
from caloforge.flows.base import Bijection, Chain
from caloforge.flows.coupling import SplineCoupling
from caloforge.flows.linear import Permutation
from caloforge.flows.spline import Spline
from caloforge.nets import MLP

__all__ = ["Kind", "Order", "vector_stack"]

Kind = Literal["masked", "coupling"]
"""What blocks are made of."""

Order = Literal["random", "reverse"]
"""A permutation of features: drawn once and saved with the weights, or back to front."""


def vector_stack(
    kind: Kind,
    features: int,
    context: int,
    *,
    blocks: int,
    hidden: int,
    hidden_layers: int,
    spline: Spline,
    orders: Sequence[Order] = ("random",),
) -> Chain:
    """Spline blocks on vectors, with permutations between them.

    Args:
        kind: "masked" autoregressive blocks are slow to invert, one feature after the other;
            "coupling" blocks are as fast to invert as to apply. These want "reverse" as every
            second permutation, so that two blocks change every feature.
        features: number of features D of x (n, D).
        context: number of features of the context (n, context), 0 for none.
        blocks: number of blocks.
        hidden: width of the hidden layers of a block's network, a `MADE` or an `MLP`.
        hidden_layers: number of hidden layers behind the first.
        spline: the element-wise map.
        orders: the permutations between blocks, in turn; there is none behind the last.
    """

    def block() -> Bijection:
        if kind == "masked":
            return SplineMADE(features, context, hidden, hidden_layers, spline)
        kept = features // 2
        outputs = (features - kept) * spline.n_parameters
        network = MLP(kept + context, outputs, hidden, hidden_layers)
        return SplineCoupling(features, network, spline)

    return _interleaved([block() for _ in range(blocks)], features, orders)


def _interleaved(blocks: Sequence[Bijection], features: int, orders: Sequence[Order]) -> Chain:
    chain = [blocks[0]]
    for block, order in zip(blocks[1:], cycle(orders), strict=False):
        chain += [Permutation(_order(order, features)), block]
    return Chain(chain)


def _order(order: Order, features: int) -> Tensor:
    return torch.randperm(features) if order == "random" else torch.arange(features).flip(0)
