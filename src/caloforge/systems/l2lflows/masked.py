"""The masked autoregressive flow of a layer: the first L2LFlows (arXiv:2302.11594)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.flows import Bijection, Chain, Flatten, Flow, Permutation, Spline, SplineMADE
from caloforge.systems.l2lflows.config import EnergyFlow, MaskedFlow

__all__ = ["SummaryNetwork", "masked_blocks", "masked_flow"]


def masked_blocks(
    config: EnergyFlow | MaskedFlow, features: int, context: int, spline: Spline
) -> Chain:
    """MADE blocks with random permutations between them (Convolutional L2LFlows, table 3)."""
    chain: list[Bijection] = []
    for block in range(config.blocks):
        if block:
            chain.append(Permutation(torch.randperm(features)))
        chain.append(SplineMADE(features, context, config.hidden, config.hidden_layers, spline))
    return Chain(chain)


def masked_flow(config: MaskedFlow, shape: tuple[int, int], n_previous: int) -> Flow:
    """The flow of a layer that draws one voxel after the other.

    Args:
        config: its configuration.
        shape: bins of the layer.
        n_previous: number of earlier layers in the context.
    """
    summary = SummaryNetwork(config, shape, n_previous)
    spline = Spline(config.bins, config.bound, config.minimum)
    flatten = Flatten((1, *shape))
    blocks = masked_blocks(config, shape[0] * shape[1], summary.features, spline)
    return Flow(Chain([flatten, blocks]), flatten.shape, summary)


class SummaryNetwork(nn.Module):
    """Reduces the earlier layers to a few features and keeps the two conditions as they are.

    The context (n, n_previous + 2, a, b) becomes (n, summary + 2); the first layer, which has no
    earlier ones, has the two conditions alone.

    Args:
        config: widths of the network.
        shape: bins of a layer.
        n_previous: number of earlier layers in the context.
    """

    def __init__(self, config: MaskedFlow, shape: tuple[int, int], n_previous: int) -> None:
        super().__init__()
        self.features = 2 + (config.summary if n_previous else 0)
        layers: list[nn.Module] = [nn.Flatten()]
        if n_previous:
            layers += [
                nn.Linear(n_previous * shape[0] * shape[1], config.summary_hidden),
                nn.LeakyReLU(),
                nn.Linear(config.summary_hidden, config.summary),
                nn.LeakyReLU(),
            ]
        self.reduce = nn.Sequential(*layers)

    def forward(self, context: Tensor) -> Tensor:
        earlier, conditions = context[:, :-2], context[:, -2:, 0, 0]
        return torch.cat([self.reduce(earlier), conditions], 1)
