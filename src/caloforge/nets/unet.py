"""The U-Net of convolutional flows, and convolutions with a cyclic axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caloforge.nets.folded import Images, Upsampling, fold

__all__ = ["SameConv2d", "UNet"]


class SameConv2d(nn.Conv2d):
    """A convolution with odd kernel that keeps the size, cyclic along the height if asked.

    Args:
        channels_in: channels of x (n, channels_in, height, width).
        channels_out: channels of the output.
        kernel: size of the kernel.
        cyclic: pad the height with its other end instead of zeros.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 3, *, cyclic: bool = False
    ) -> None:
        margin = kernel // 2
        super().__init__(
            channels_in, channels_out, kernel, padding=(0 if cyclic else margin, margin)
        )
        self.cyclic_margin = margin if cyclic else 0

    def forward(self, x: Tensor) -> Tensor:
        margin = self.cyclic_margin
        if margin:
            x = torch.cat([x[:, :, -margin:], x, x[:, :, :margin]], 2)
        return super().forward(x)


class UNet(nn.Module):
    """Convolutions on several scales with skip connections (L2LFlows, figure 3 right, table 6).

    Every scale has two 3x3 convolutions, each followed by batch normalisation and a leaky ReLU.
    Down-sampling is a convolution with stride equal to its kernel, up-sampling its transpose; the
    coarsest scale has no convolution of its own. The last convolution has neither norm nor
    activation and starts at zero.

    Args:
        channels_in: channels of the input (n, channels_in, height, width).
        channels_out: channels of the output, of the same height and width.
        channels: channels of each scale, finest first.
        down_sampling: kernel (height, width) of each step to a coarser scale, one less than scales.
        cyclic: whether the height wraps around.
        last_kernels: sizes of the kernels of the last two convolutions.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        channels: Sequence[int],
        down_sampling: Sequence[tuple[int, int]],
        *,
        cyclic: bool,
        last_kernels: tuple[int, int] = (3, 3),
    ) -> None:
        super().__init__()
        if len(down_sampling) != len(channels) - 1:
            raise ValueError(
                f"{len(channels)} scales need {len(channels) - 1} down-sampling kernels, "
                f"got {len(down_sampling)}"
            )
        self.channels_out = channels_out
        self.encode = nn.ModuleList()
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decode = nn.ModuleList()
        width = channels_in
        for i, kernel in enumerate(down_sampling):
            fine, coarse = channels[i], channels[i + 1]
            self.encode.append(_block(width, fine, fine, cyclic=cyclic))
            self.down.append(nn.Conv2d(fine, coarse, kernel, stride=kernel))
            self.up.append(nn.ConvTranspose2d(coarse, fine, kernel, stride=kernel))
            if i:
                self.decode.append(_block(2 * fine, fine, fine, cyclic=cyclic))
            else:
                last = _block(2 * fine, fine, channels_out, last_kernels, cyclic=cyclic)
                self.decode.append(last[:-2])  # neither norm nor activation
            width = coarse
        self.activation = nn.LeakyReLU()
        head = self.decode[0][-1]  # type: ignore[index]
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for encode, down in zip(self.encode, self.down, strict=True):
            x = encode(x)
            skips.append(x)
            x = self.activation(down(x))
        for i in reversed(range(len(skips))):
            x = self.decode[i](torch.cat([skips[i], self.up[i](x)], 1))
        return x

    def folded(self, outputs: Tensor | None = None) -> Images:
        """The net as sampling runs it: on images with channels last, with its present weights.

        Args:
            outputs: which outputs are wanted, in which order, -1 for zeros; all by default.
        """
        wanted = [outputs, *[None] * (len(self.decode) - 1)]
        encode = [fold(block.children()) for block in self.encode]
        down = [fold([layer, self.activation]) for layer in self.down]
        up = [Upsampling(layer) for layer in self.up]  # type: ignore[arg-type]
        decode = [
            fold(block.children(), some) for block, some in zip(self.decode, wanted, strict=True)
        ]

        def run(x: Tensor) -> Tensor:
            skips = []
            for step, smaller in zip(encode, down, strict=True):
                x = step(x)
                skips.append(x)
                x = smaller(x)
            for i in reversed(range(len(skips))):
                x = decode[i](up[i].beside(skips[i], x))
            return x

        return run


def _block(
    channels_in: int,
    channels: int,
    channels_out: int,
    kernels: tuple[int, int] = (3, 3),
    *,
    cyclic: bool,
) -> nn.Sequential:
    """Two convolutions, each with norm and activation."""
    return nn.Sequential(
        SameConv2d(channels_in, channels, kernels[0], cyclic=cyclic),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(),
        SameConv2d(channels, channels_out, kernels[1], cyclic=cyclic),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(),
    )
