"""Convolutions as sampling runs them: norms folded in, weights laid out once, no gradients.

All images here have their channels last, (n, height, width, channels): the order in which the
processor's matrix products and convolutions run without moving data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from caloforge.nets.offset import Offset

__all__ = ["Images", "Upsampling", "fold", "is_foldable", "pick"]

Images = Callable[[Tensor], Tensor]

# Values of all patches below which a matrix product with copies of them beats the library's
# convolution, whose preparations take longer than so small a sum.
GATHERED = 100_000
# Weights in numbers from which they are used where they lie, at the price of moving the image.
MANY_WEIGHTS = 65_536


def is_foldable(module: nn.Module | None) -> bool:
    """Whether `fold` takes a module."""
    return isinstance(module, nn.Sequential) and all(
        (isinstance(layer, nn.Conv2d) and (_is_tiling(layer) or _keeps_size(layer)))
        or isinstance(layer, nn.BatchNorm2d | nn.LeakyReLU | Offset)
        for layer in module
    )


def fold(layers: Iterable[nn.Module], outputs: Tensor | None = None) -> Images:
    """Convolutions, batch norms in eval mode, leaky ReLUs and offsets as one function of images.

    A norm after a convolution scales its weights: with s = gamma / sqrt(var + eps),
    W' = s W and b' = s (b - mean) + beta.

    Args:
        layers: as in a `Sequential`; norms and activations after convolutions.
        outputs: which outputs of the last convolution are wanted, in which order, -1 for zeros;
            all by default.
    """
    steps: list[Images] = []
    left = list(layers)[::-1]
    while left:
        layer = left.pop()
        if isinstance(layer, Offset):
            steps.append(layer.image.detach().permute(1, 2, 0).contiguous().add)
            continue
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        weight, bias, slope = layer.weight.detach(), layer.bias.detach(), 1.0
        if left and isinstance(norm := left[-1], nn.BatchNorm2d):
            weight, bias = _with_norm(weight, bias, norm)
            left.pop()
        if left and isinstance(activation := left[-1], nn.LeakyReLU):
            slope = activation.negative_slope
            left.pop()
        if not left and outputs is not None:
            weight, bias = pick(weight, outputs), pick(bias, outputs)
        kind: type[Convolution | Tiling | Product] = Convolution
        if _is_tiling(layer):
            kind = Product if not left and layer.kernel_size == (1, 1) else Tiling
        steps.append(kind.of(weight, bias, slope, getattr(layer, "cyclic_margin", 0) > 0))

    def run(x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    return run


def _is_tiling(layer: nn.Conv2d) -> bool:
    return layer.stride == layer.kernel_size and layer.padding == (0, 0)


def _keeps_size(layer: nn.Conv2d) -> bool:
    margin = layer.kernel_size[0] // 2
    height = 0 if getattr(layer, "cyclic_margin", 0) else margin
    return layer.stride == (1, 1) and layer.padding == (height, margin) and layer.groups == 1


def _with_norm(weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
    shifted = (bias - norm.running_mean) * scale + norm.bias.detach()
    return weight * scale[:, None, None, None], shifted


def pick(values: Tensor, outputs: Tensor) -> Tensor:
    """Rows of values by their numbers, zeros for -1."""
    return torch.cat([values, torch.zeros_like(values[:1])])[outputs.to(values.device)]


@dataclass(frozen=True)
class Convolution:
    """A convolution that keeps the size of the image, and a leaky ReLU.

    Args:
        weight: shape (channels_out, kernel, kernel, channels_in).
        bias: shape (channels_out,).
        slope: of the activation below zero, 1 for none.
        cyclic: whether the height wraps around.
        wall: what lies beyond the image, zeros of shape (1, channels_in).
    """

    weight: Tensor
    bias: Tensor
    slope: float
    cyclic: bool
    wall: Tensor

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, slope: float, cyclic: bool) -> Convolution:
        wall = weight.new_zeros(1, weight.shape[1])
        return cls(weight.permute(0, 2, 3, 1).contiguous(), bias, slope, cyclic, wall)

    def __call__(self, x: Tensor) -> Tensor:
        small = x.is_cpu and x.numel() * self.weight[0, :, :, 0].numel() <= GATHERED
        y = self._gathered(x) if small else self._convolved(x)
        return y if self.slope == 1 else nn.functional.leaky_relu_(y, self.slope)

    def _gathered(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        outputs, kernel = self.weight.shape[:2]
        pixels = torch.cat([self.wall, x.reshape(-1, channels)])
        index = _neighbours(n, height, width, kernel, self.cyclic)
        patches = pixels.index_select(0, index).view(n * height * width, -1)
        y = torch.addmm(self.bias, patches, self.weight.view(outputs, -1).t())
        return y.view(n, height, width, outputs)

    def _convolved(self, x: Tensor) -> Tensor:
        margin = self.weight.shape[1] // 2
        if self.cyclic:
            x = torch.cat([x[:, -margin:], x, x[:, :margin]], 1)
        padding = (0 if self.cyclic else margin, margin)
        weight = self.weight.permute(0, 3, 1, 2)
        y = nn.functional.conv2d(x.permute(0, 3, 1, 2), weight, self.bias, padding=padding)
        return y.permute(0, 2, 3, 1)


@lru_cache(maxsize=64)
def _neighbours(n: int, height: int, width: int, kernel: int, cyclic: bool) -> Tensor:
    """Numbers of the pixels under the kernel at every pixel of n images, from 1, 0 for the wall."""
    margin = kernel // 2
    pixel = torch.arange(1, n * height * width + 1).view(n, height, width)
    around = torch.arange(-margin, height + margin)
    if cyclic:
        pixel = pixel[:, around % height]
    else:
        pixel = nn.functional.pad(pixel, (0, 0, margin, margin))
    pixel = nn.functional.pad(pixel, (margin, margin))
    return pixel.unfold(1, kernel, 1).unfold(2, kernel, 1).flatten()


@dataclass(frozen=True)
class Tiling:
    """A convolution whose kernels lie side by side, and a leaky ReLU: a product with each tile.

    Args:
        matrix: shape (values of a tile, channels_out).
        bias: shape (channels_out,).
        slope: of the activation below zero, 1 for none.
        tile: height and width of the kernel.
        order: of the axes (n, rows, height, columns, width, channels) of the tiled image: as
            `matrix` has them.
    """

    matrix: Tensor
    bias: Tensor
    slope: float
    tile: tuple[int, int]
    order: tuple[int, ...]

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, slope: float, cyclic: bool) -> Tiling:
        tile = (weight.shape[2], weight.shape[3])
        order = (0, 1, 3, 5, 2, 4)
        if weight.numel() < MANY_WEIGHTS:
            weight, order = weight.permute(0, 2, 3, 1), (0, 1, 3, 2, 4, 5)
        return cls(weight.reshape(len(weight), -1).t(), bias, slope, tile, order)

    def __call__(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        a, b = self.tile
        tiles = x.reshape(n, height // a, a, width // b, b, channels).permute(self.order)
        y = torch.addmm(self.bias, tiles.reshape(-1, a * b * channels), self.matrix)
        if self.slope != 1:
            nn.functional.leaky_relu_(y, self.slope)
        return y.view(n, height // a, width // b, -1)


@dataclass(frozen=True)
class Product:
    """A convolution of single pixels, and a leaky ReLU.

    The image comes with the channel as the slowest axis in memory: what splines want, and what
    takes a pass over all of it to make of another order.

    Args:
        matrix: shape (channels_out, channels_in).
        bias: shape (channels_out, 1).
        slope: of the activation below zero, 1 for none.
    """

    matrix: Tensor
    bias: Tensor
    slope: float

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, slope: float, cyclic: bool) -> Product:
        return cls(weight.flatten(1).contiguous(), bias[:, None], slope)

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, self.matrix, x.reshape(-1, x.shape[3]).t())
        if self.slope != 1:
            nn.functional.leaky_relu_(y, self.slope)
        return y.t().view(*x.shape[:3], -1)


class Upsampling:
    """A transposed convolution whose kernels lie side by side, put beside an image of its size.

    Args:
        layer: the convolution.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        assert layer.bias is not None
        weight = layer.weight.detach()  # (channels_in, channels_out, a, b)
        self.tile = (weight.shape[2], weight.shape[3])
        bias = layer.bias.detach()[:, None, None].expand(weight.shape[1:])
        # how to get from (n, rows, columns, *values of a tile) to (n, rows, a, columns, b, channel)
        self.order = (0, 1, 4, 2, 5, 3)
        if weight.numel() < MANY_WEIGHTS:
            weight, bias = weight.permute(0, 2, 3, 1), bias.permute(1, 2, 0)
            self.order = (0, 1, 3, 2, 4, 5)
        self.values = tuple(weight.shape[1:])
        self.matrix = weight.reshape(len(weight), -1)
        self.bias = bias.reshape(-1)

    def beside(self, image: Tensor, x: Tensor) -> Tensor:
        """Channels of the image, then those of the enlarged x."""
        n, rows, columns, channels = x.shape
        a, b = self.tile
        y = torch.addmm(self.bias, x.reshape(-1, channels), self.matrix)
        tiles = y.view(n, rows, columns, *self.values).permute(self.order)
        both = torch.cat([image.reshape(n, rows, a, columns, b, -1), tiles], 5)
        return both.view(n, rows * a, columns * b, -1)
