"""The vision transformer of a field on a three-dimensional grid, conditioned on a vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.nets.attention import Attention
from caloforge.nets.linear import Linear
from caloforge.nets.waves import Waves

__all__ = ["ViT"]

TIME_FEATURES = 256


class Positions(nn.Module):
    """Learnable waves of the place of each patch, a third of the frequencies along each axis.

    Args:
        grid: patches along each axis.
        dim: features, which 6 divides: sine and cosine of dim / 2 frequencies.

    Raises:
        ValueError: if it does not.
    """

    places: Tensor

    def __init__(self, grid: Sequence[int], dim: int) -> None:
        super().__init__()
        if dim % 6:
            raise ValueError(
                f"positions have sines and cosines along three axes: 6 must divide {dim} features"
            )
        self.frequencies = nn.Parameter(torch.randn(3, dim // 6))
        axes = [torch.arange(size) / size for size in grid]
        self.register_buffer("places", torch.cartesian_prod(*axes), persistent=False)

    def forward(self) -> Tensor:
        """Shape (patches, dim)."""
        phase = 2 * math.pi * self.places[:, :, None] * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], -1).flatten(1)


class Dense(nn.Sequential):
    """A dense network of one hidden layer with GELU, token by token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(Linear(dim, hidden), nn.GELU(), Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (..., dim) of x (..., dim)."""
        first, gelu, last = self
        y: Tensor = last(first(x, gelu))
        return y


class Block(nn.Module):
    """Attention and a dense network, shifted, scaled and gated by the condition (equation 11).

    The gates begin at zero, and with them the block as the identity.
    """

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.dense = Dense(dim, hidden)
        self.modulation = nn.Sequential(nn.SiLU(), Linear(dim, 6 * dim))
        _to_zero(self.modulation[1])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift_h, scale_h, gate_h, shift_l, scale_l, gate_l = self.modulation(condition)[
            :, None
        ].chunk(6, -1)  # alike for all patches of a shower
        x = torch.addcmul(x, gate_h, self.attention(_modulated(x, shift_h, scale_h)))
        return torch.addcmul(x, gate_l, self.dense(_modulated(x, shift_l, scale_l)))


class ViT(nn.Module):
    """A velocity v(x, t, context) on a grid, as a transformer of its patches.

    The grid is cut into patches, which a linear layer embeds; blocks of attention follow, each
    conditioned on the sum of an embedded time and an embedded context (CaloDREAM, section 3.2 and
    figure 2; the conditioning is that of arXiv:2212.09748).

    Args:
        shape: of x without the batch, channels and three axes.
        patch: size of a patch along the three axes, which it divides.
        context: features of the context.
        dim: features of a patch.
        heads: attention heads.
        hidden: width of the hidden layer of a block.
        blocks: number of blocks.
        times: times that the velocity depends on, one, or two for the mean velocity in between.
        channels_out: of the output; None for as many as those of x.

    Raises:
        ValueError: if the patch does not divide the grid, or 6 or the heads the features.
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch: tuple[int, int, int],
        context: int,
        *,
        dim: int,
        heads: int,
        hidden: int,
        blocks: int,
        times: int = 1,
        channels_out: int | None = None,
    ) -> None:
        super().__init__()
        channels, *axes = shape
        if any(size % p for size, p in zip(axes, patch, strict=True)):
            raise ValueError(
                f"patches of {' x '.join(map(str, patch))} do not divide a grid of "
                f"{' x '.join(map(str, axes))}: choose a patch whose sides divide those of the grid"
            )
        self.channels_out = channels_out or channels
        self.shape, self.patch = tuple(shape), tuple(patch)
        self.grid = tuple(size // p for size, p in zip(axes, patch, strict=True))
        entries = channels * math.prod(patch)
        self.embedding = Linear(entries, dim)
        self.positions = Positions(self.grid, dim)
        self.waves = Waves(TIME_FEATURES)
        self.times = nn.ModuleList(_embedding(TIME_FEATURES, dim) for _ in range(times))
        self.context = _embedding(context, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, hidden) for _ in range(blocks))
        self.modulation = nn.Sequential(nn.SiLU(), Linear(dim, 2 * dim))
        self.last = Linear(dim, self.channels_out * math.prod(patch))
        _to_zero(self.modulation[1])
        _to_zero(self.last)

    def ignore_time(self, number: int) -> None:
        """Let one of the times have no influence, until training gives it some."""
        embedding = self.times[number]
        assert isinstance(embedding, nn.Sequential)
        _to_zero(embedding[-1])

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """The velocity, of the shape of x but for its channels.

        Args:
            x: shape (n, *shape).
            t: shape (n,), or (n, times) where there are several.
            context: shape (n, context).

        Raises:
            ValueError: for more or fewer times than it depends on.
        """
        assert context is not None
        waves = self.waves(t[:, None] if t.ndim == 1 else t).unbind(1)
        condition = self.context(context)
        for embedding, wave in zip(self.times, waves, strict=True):
            condition = condition + embedding(wave)
        tokens = self.embedding(self._patches(x)) + self.positions()
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        return self._grid(self.last(_modulated(tokens, shift, scale)))

    def _patches(self, x: Tensor) -> Tensor:
        """Shape (n, patches, entries) from (n, *shape)."""
        (z, a, b), (p, q, r) = self.grid, self.patch
        split = x.reshape(len(x), self.shape[0], z, p, a, q, b, r)
        return split.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)

    def _grid(self, patches: Tensor) -> Tensor:
        """Inverse of `_patches`."""
        (z, a, b), (p, q, r) = self.grid, self.patch
        split = patches.reshape(len(patches), z, a, b, self.channels_out, p, q, r)
        shape = (len(patches), self.channels_out, *self.shape[1:])
        return split.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(shape)


def _embedding(features: int, dim: int) -> nn.Sequential:
    return nn.Sequential(Linear(features, dim), nn.SiLU(), Linear(dim, dim))


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """a x + b of equation 11, x normalised token by token, with a = 1 + scale."""
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


def _to_zero(layer: nn.Module) -> None:
    for weights in layer.parameters():
        nn.init.zeros_(weights)
