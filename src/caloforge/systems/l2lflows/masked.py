"""The masked autoregressive flow of a layer: the first L2LFlows (arXiv:2302.11594)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from caloforge.flows import Chain, Flatten, Flow, Spline, vector_stack
from caloforge.systems.l2lflows.config import MaskedFlow

__all__ = ["SummaryNetwork", "masked_flow"]


def masked_flow(config: MaskedFlow, shape: tuple[int, int], n_previous: int) -> Flow:
    """The flow of a layer that samples one voxel after the other.

    Args:
        config: its configuration.
        shape: bins of the layer.
        n_previous: number of earlier layers in the context.
    """
    summary = SummaryNetwork(config, shape, n_previous)
    flatten = Flatten((1, *shape))
    blocks = vector_stack(
        "masked",
        math.prod(shape),
        summary.features,
        blocks=config.blocks,
        hidden=config.hidden,
        hidden_layers=config.hidden_layers,
        spline=Spline(config.bins, config.bound, config.minimum),
    )
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
