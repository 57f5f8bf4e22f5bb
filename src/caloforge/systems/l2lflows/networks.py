"""The flows of L2LFlows, built from the shared blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from caloforge.flows import (
    ActNorm,
    Bijection,
    Chain,
    Convolution1x1,
    Coupling,
    Flow,
    Spline,
    Squeeze,
)
from caloforge.nets import Offset, SameConv2d, UNet
from caloforge.systems.l2lflows.config import ConvolutionalFlow, MaskedFlow
from caloforge.systems.l2lflows.masked import masked_flow

__all__ = ["layer_flow"]


def layer_flow(
    config: ConvolutionalFlow | MaskedFlow, shape: tuple[int, int], n_previous: int, *, cyclic: bool
) -> Flow:
    """The flow of a layer, of the kind that its configuration asks for.

    Args:
        config: its configuration.
        shape: bins of the layer.
        n_previous: number of earlier layers in the context.
        cyclic: whether the first axis of the layer wraps around.

    Raises:
        ValueError: if squeeze and down-sampling do not divide the layer.
    """
    if isinstance(config, MaskedFlow):
        return masked_flow(config, shape, n_previous)
    return convolutional_flow(config, shape, n_previous, cyclic=cyclic)


def convolutional_flow(
    config: ConvolutionalFlow, shape: tuple[int, int], n_previous: int, *, cyclic: bool
) -> Flow:
    """One causal flow of couplings (figure 3); see `layer_flow`.

    Args:
        config: its configuration.
        shape: bins of the layer.
        n_previous: number of earlier layers in the context.
        cyclic: whether the first axis of the layer wraps around.

    Raises:
        ValueError: if squeeze and down-sampling do not divide the layer.
    """
    for axis in (0, 1):
        coarsest = config.squeeze[axis] * math.prod(step[axis] for step in config.down_sampling)
        if shape[axis] % coarsest:
            raise ValueError(
                f"squeeze {config.squeeze} and down_sampling {config.down_sampling} cut axis "
                f"{axis} of a layer into tiles of {coarsest}, which do not divide its {shape[axis]}"
            )
    channels = math.prod(config.squeeze)
    size = (shape[0] // config.squeeze[0], shape[1] // config.squeeze[1])
    spline = Spline(config.bins, config.bound, config.minimum)
    n_context = config.embedding_channels if n_previous else 2
    chain: list[Bijection] = [Squeeze(config.squeeze)]
    for block in range(config.blocks):
        network = UNet(
            channels // 2 + n_context,
            (channels - channels // 2) * spline.n_parameters,
            config.channels,
            config.down_sampling,
            cyclic=cyclic,
            last_kernels=(config.decode_kernel, config.last_kernel),
        )
        chain += [
            ActNorm(channels),
            Convolution1x1(_channel_order(block, channels)),
            Coupling(channels, network, spline),
        ]
    embedding = (
        EmbeddingNetwork(
            n_previous + 2,
            config.embedding_channels,
            config.squeeze,
            cyclic=cyclic,
            of_tiles=config.embed_tiles,
        )
        if n_previous
        else nn.Sequential(Spread(size))
    )
    if config.position:
        embedding.append(Offset((n_context, *size)))
    return Flow(Chain(chain), (1, *shape), embedding)


def _channel_order(block: int, channels: int) -> Tensor:
    """Start of a 1x1 convolution: a random order, then one that swaps the halves, in turn.

    With random orders alone, some channels would meet no spline at all: one in four in a flow of
    four blocks of four channels.
    """
    if block % 2:
        return torch.arange(channels).roll(channels // 2)
    return torch.randperm(channels)


class EmbeddingNetwork(nn.Sequential):
    """Brings the context to the size of the squeezed layer (table 7).

    Args:
        channels_in: images of the context.
        channels: channels of all convolutions.
        squeeze: tile of the layer.
        cyclic: whether the height wraps around.
        of_tiles: begin with the tiles, without the two convolutions on voxels.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        squeeze: tuple[int, int],
        *,
        cyclic: bool,
        of_tiles: bool,
    ) -> None:
        voxels: list[nn.Module] = []
        if not of_tiles:
            voxels = [
                nn.Conv2d(channels_in, channels, 1),
                nn.LeakyReLU(),
                SameConv2d(channels, channels, cyclic=cyclic),
                nn.LeakyReLU(),
            ]
        super().__init__(
            *voxels,
            nn.Conv2d(channels if voxels else channels_in, channels, squeeze, stride=squeeze),
            nn.LeakyReLU(),
            SameConv2d(channels, channels, cyclic=cyclic),
        )


class Spread(nn.Module):
    """The first layer has no earlier ones: its two conditions are the same everywhere.

    Args:
        size: height and width of the squeezed layer.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, context: Tensor) -> Tensor:
        return context[:, :, :1, :1].expand(-1, -1, *self.size)
