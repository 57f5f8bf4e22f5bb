"""The variational autoencoder of a field on a three-dimensional grid, conditioned on a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

from caloforge.nets.preparable import Preparable

__all__ = ["Autoencoder3d", "DownSampling", "divergence"]

FIRST_LOG_VARIANCE = -6.0
# Numbers (without the last axis) of a single grid up to which PyTorch takes a slow way on the CPU.
SLOW = 20_480
LOG_VARIANCES = (-30.0, 20.0)  # between which an exponential is harmless


@dataclass(frozen=True)
class DownSampling:
    """A convolution to a coarser grid, in the decoder its transpose back to the finer one.

    Args:
        channels: of the block that it ends.
        kernel: along the three axes.
        stride: along the three axes.
        padding: along the three axes.
    """

    channels: int
    kernel: tuple[int, int, int] = (1, 1, 1)
    stride: tuple[int, int, int] = (1, 1, 1)
    padding: tuple[int, int, int] = (0, 0, 0)

    def coarse(self, grid: Sequence[int]) -> tuple[int, ...]:
        """The coarser grid of a grid.

        Raises:
            ValueError: if there is none from which every point of the finer one can be made again.
        """
        sizes = []
        for n, k, s, p in zip(grid, self.kernel, self.stride, self.padding, strict=True):
            if not (1 <= s <= k <= n + 2 * p and 0 <= p < k):
                raise ValueError(
                    f"a kernel of {k} with stride {s} and padding {p} does not make {n} points "
                    "coarser and back: the stride must be no larger than the kernel, the padding "
                    "smaller, and the kernel no larger than the padded axis"
                )
            sizes.append((n + 2 * p - k) // s + 1)
        return tuple(sizes)


class Autoencoder3d(nn.Module):
    """Encoder and decoder of three-dimensional convolutions (CaloDREAM, section 3.3, table 4).

    A block of the encoder has two convolutions of 3 x 3 x 3 points, which keep the grid, and one
    that makes it coarser; the decoder mirrors it with a transposed convolution and two that keep
    the grid, each followed by a leaky ReLU. Convolutions of single points lead to the latent
    channels, back from them, and to the output. The first convolution of a block sees the
    coordinates of every point as further channels, and what one network, shared by all blocks,
    makes of the condition: numbers that are added to its channels, others in each layer of points
    along the first axis.

    Args:
        grid: points along the three axes.
        blocks: of the encoder, in order.
        latent_channels: channels of the latent grid.
        condition: features of the condition.
        cyclic: whether the second axis wraps around: its ends then see each other, and its
            coordinates are cosine and sine.

    Attributes:
        latent_shape: channels and points of the latent grid.

    Raises:
        ValueError: if a block cannot make its grid coarser and back.
    """

    def __init__(
        self,
        grid: tuple[int, int, int],
        blocks: Sequence[DownSampling],
        latent_channels: int,
        condition: int,
        *,
        cyclic: bool = False,
    ) -> None:
        super().__init__()
        grids = [tuple(grid)]
        for block in blocks:
            grids.append(block.coarse(grids[-1]))
        self.latent_shape = (latent_channels, *grids[-1])
        self.in_layer = grid[1] * grid[2]
        widths = [1, *(block.channels for block in blocks)]
        features = max(widths)
        self.condition = nn.Sequential(
            nn.Linear(condition, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU()
        )
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        outer = [widths[1], *widths[1:-1]]  # after the decoder's blocks
        steps = zip(blocks, pairwise(grids), pairwise(widths), outer, strict=True)
        for block, (fine, coarse), (before, width), after in steps:
            self.encoder.append(_Pair(fine, (before, width, width), features, cyclic))
            self.down.append(_Down(block, cyclic))
            self.up.insert(0, _up(block, fine, coarse))
            self.decoder.insert(0, _Pair(fine, (width, width, after), features, cyclic))
        self.to_latent = _Points(widths[-1], 2 * latent_channels)
        self.from_latent = _Points(latent_channels, widths[-1])
        self.to_logits = _Points(outer[0], 1)
        # it begins with little noise, and with points that are alike and of sum 1 in each layer
        nn.init.constant_(self.to_latent.bias[latent_channels:], FIRST_LOG_VARIANCE)
        nn.init.constant_(self.to_logits.bias, -math.log(max(1, self.in_layer - 1)))

    def encode(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent points, shape (n, *latent_shape) each.

        Args:
            x: fractions of the layers along the first axis, each of sum 1, shape (n, *grid).
            condition: shape (n, condition).
        """
        seen = self.condition(condition)
        # of order 1, or the latent points drown in their noise and the decoder ignores them
        x = (self.in_layer * x)[:, None].contiguous(memory_format=torch.channels_last_3d)
        for pair, down in zip(self.encoder, self.down, strict=True):
            x = leaky_relu_(down(pair(x, seen)))
        mean, log_variance = self.to_latent(x).chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def decode(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Logits, shape (n, *grid).

        Args:
            latent: shape (n, *latent_shape).
            condition: shape (n, condition).
        """
        seen = self.condition(condition)
        x = leaky_relu_(self.from_latent(latent))
        for up, pair in zip(self.up, self.decoder, strict=True):
            x = pair(leaky_relu_(up(x)), seen)
        logits: Tensor = self.to_logits(x)[:, 0]
        return logits


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a normal distribution from N(0, 1), element by element.

        D = (mu^2 + sigma^2 - 1 - log sigma^2) / 2

    Args:
        mean: mu.
        log_variance: log sigma^2.
    """
    return (mean.square() + log_variance.expm1() - log_variance) / 2


class _Points(nn.Linear):
    """A convolution of single points, as a product: the channels lie last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _Same(nn.Conv3d):
    """A convolution of 3 x 3 x 3 points that keeps the grid."""

    def __init__(self, before: int, after: int, cyclic: bool, *, bias: bool = True) -> None:
        super().__init__(before, after, 3, padding=(1, 0 if cyclic else 1, 1), bias=bias)
        self.cyclic = cyclic
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = _wrapped(x, 1) if self.cyclic else x
        if x.is_cpu and len(x) == 1 and x[..., 0].numel() <= SLOW:
            return super().forward(x.expand(2, -1, -1, -1, -1))[:1]
        return super().forward(x)


class _Pair(Preparable):
    """Two convolutions that keep the grid, the first of which sees coordinates and condition.

    Args:
        grid: points along the three axes.
        widths: channels before, between and after.
        features: of the condition.
        cyclic: whether the second axis wraps around.
    """

    coordinates: Tensor

    def __init__(
        self, grid: tuple[int, ...], widths: tuple[int, int, int], features: int, cyclic: bool
    ) -> None:
        super().__init__()
        before, between, after = widths
        coordinates = _coordinates(grid, cyclic)
        self.register_buffer("coordinates", coordinates, persistent=False)
        self.first = _Same(before, between, cyclic)
        # further channels of the first, separately: they are the same for all of a batch
        self.place = _Same(coordinates.shape[1], between, cyclic, bias=False)
        self.condition = nn.Linear(features, between * grid[0])
        self.second = _Same(between, after, cyclic)

    def prepare(self) -> None:
        with torch.no_grad():
            self._prepared = self.place(self.coordinates)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.first(x).contiguous(memory_format=torch.channels_last_3d)
        by_layer = self.condition(condition).reshape(len(x), -1, x.shape[2], 1, 1)
        x += self._prepared if self.is_prepared else self.place(self.coordinates)
        x += by_layer
        return leaky_relu_(self.second(leaky_relu_(x)))


class _Down(nn.Conv3d):
    """The convolution to the coarser grid of a block."""

    def __init__(self, block: DownSampling, cyclic: bool) -> None:
        z, a, b = block.padding
        padding = (z, 0 if cyclic else a, b)
        super().__init__(block.channels, block.channels, block.kernel, block.stride, padding)
        self.margin = a if cyclic else 0

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_wrapped(x, self.margin) if self.margin else x)


def _up(block: DownSampling, fine: Sequence[int], coarse: Sequence[int]) -> nn.ConvTranspose3d:
    """From the coarser grid of a block to the finer one, to the last point."""
    sizes = zip(fine, coarse, block.kernel, block.stride, block.padding, strict=True)
    z, a, b = (n - ((m - 1) * s - 2 * p + k) for n, m, k, s, p in sizes)
    return nn.ConvTranspose3d(
        block.channels, block.channels, block.kernel, block.stride, block.padding, (z, a, b)
    )


def _wrapped(x: Tensor, margin: int) -> Tensor:
    """With the other end beyond each end of the second axis of the grid."""
    return torch.cat([x[..., -margin:, :], x, x[..., :margin, :]], -2)


def _coordinates(grid: Sequence[int], cyclic: bool) -> Tensor:
    """Of each point, from -1 to 1, shape (1, 3, *grid), or (1, 4, *grid) where one is an angle."""
    z, a, b = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid), indexing="ij")
    if not cyclic:
        return torch.stack([z, a, b])[None]
    angle = torch.arange(grid[1]) * (2 * math.pi / grid[1])
    turns = [wave[:, None].expand(grid) for wave in (angle.cos(), angle.sin())]
    return torch.stack([z, *turns, b])[None]
