"""Flows on vectors: stacks of blocks with permutations between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Literal

import torch
from torch import Tensor

from caloforge.flows.autoregressive import SplineMADE
from caloforge.flows.base import Bijection, Chain
from caloforge.flows.coupling import Coupling
from caloforge.flows.elementwise import Elementwise
from caloforge.flows.linear import Permutation
from caloforge.flows.spline import LinearSpline, Spline
from caloforge.flows.univariate import Affine
from caloforge.nets import MLP

__all__ = ["Kind", "Order", "affine_stack", "vector_stack"]

Kind = Literal["masked", "coupling"]
"""What blocks are made of."""

Order = Literal["random", "reverse"]
"""A permutation of features: sampled once and saved with the weights, or back to front."""


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
    slope: float = 0.0,
) -> Chain:
    """Spline blocks on vectors, with permutations between them.

    Ten couplings with splines of 10 bins, hidden layers of 128 and 128, and a context of 2 have the
    5,121,280 parameters of the Latent Flow of 256 features (CaloClouds, section 3.2).

    Args:
        kind: "masked" autoregressive blocks are slow to invert, one feature after the other;
            "coupling" blocks are as fast to invert as to apply. These want "reverse" as every
            second permutation, so that two blocks change every feature.
        features: number of features D of x (n, D).
        context: number of features of the context (n, context), 0 for none.
        blocks: number of blocks.
        hidden: width of the hidden layers of a block's network, a `MADE` or an `MLP`.
        hidden_layers: number of hidden layers after the first.
        spline: the element-wise map.
        orders: the permutations between blocks, in turn; there is none after the last.
        slope: of the leaky ReLU of a coupling's network below zero.
    """

    def block() -> Bijection:
        if kind == "masked":
            return SplineMADE(features, context, hidden, hidden_layers, spline)
        kept = features // 2
        outputs = (features - kept) * spline.n_parameters
        network = MLP(kept + context, outputs, hidden, hidden_layers, slope)
        return Coupling(features, network, spline)

    return _interleaved([block() for _ in range(blocks)], features, orders)


def affine_stack(
    features: int,
    context: int,
    *,
    blocks: int,
    couplings: int,
    hidden: int,
    spline_hidden: int,
    hidden_layers: int,
    spline: LinearSpline,
) -> Chain:
    """Affine couplings on vectors, and an element-wise spline in the middle of every block.

    After every coupling but the last of all, features are permuted at random. Ten blocks of six
    couplings with hidden layers of 320 and 320, and a spline of 8 bins with hidden layers of 128
    and 128, have the 8,572,480 parameters of the Shower Flow of 32 features and a context of 1
    (CaloClouds, section 3.3).

    Args:
        features: number of features D of x (n, D).
        context: number of features of the context (n, context).
        blocks: number of blocks.
        couplings: affine couplings of a block.
        hidden: width of the hidden layers of a coupling's network, an `MLP`.
        spline_hidden: width of those of the network that sets the splines of a block.
        hidden_layers: number of hidden layers after the first, of either network.
        spline: the element-wise map.
    """
    kept, affine = features // 2, Affine()
    outputs = (features - kept) * affine.n_parameters
    chain: list[Bijection] = []
    for coupling in range(blocks * couplings):
        if coupling % couplings == couplings // 2:
            of_context = MLP(context, features * spline.n_parameters, spline_hidden, hidden_layers)
            chain.append(Elementwise(of_context, spline))
        network = MLP(kept + context, outputs, hidden, hidden_layers)
        chain += [Coupling(features, network, affine), Permutation(torch.randperm(features))]
    return Chain(chain[:-1])


def _interleaved(blocks: Sequence[Bijection], features: int, orders: Sequence[Order]) -> Chain:
    chain = [blocks[0]]
    for block, order in zip(blocks[1:], cycle(orders), strict=False):
        chain += [Permutation(_order(order, features)), block]
    return Chain(chain)


def _order(order: Order, features: int) -> Tensor:
    return torch.randperm(features) if order == "random" else torch.arange(features).flip(0)
