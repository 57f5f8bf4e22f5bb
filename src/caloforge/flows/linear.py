"""Linear bijections: activation norm, 1x1 convolution, permutation, flatten, squeeze."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from caloforge.flows.base import Bijection
from caloforge.flows.prepared import ChannelMap, Inverse

__all__ = ["ActNorm", "Convolution1x1", "Flatten", "Permutation", "Squeeze"]


class ActNorm(Bijection):
    """Activation norm z = exp(log_scale) x + shift, one of each a channel (Glow, arXiv:1807.03039).

    `initialise` sets both so that a first batch comes out with mean 0 and variance 1.

    Args:
        channels: number of channels C of x (n, C, height, width).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * x.shape[2] * x.shape[3]).expand(len(x))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp() + self.shift, self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (z - self.shift) * (-self.log_scale).exp(), -self._log_det(z)

    def prepared(self) -> Inverse:
        scale = (-self.log_scale.detach()).exp().flatten()
        return ChannelMap(scale.diag(), -(scale * self.shift.detach().flatten())[:, None])

    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        std, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True)
        # a channel that is constant in the first batch keeps its scale
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        self.log_scale.data.copy_(-std[0].log())
        self.shift.data.copy_(-(mean / std)[0])
        return super().initialise(x, context)


class Convolution1x1(Bijection):
    """Invertible 1x1 convolution z = P L U x + bias (Glow, arXiv:1807.03039, section 3.2).

    P is a fixed permutation that is saved with the weights, L lower triangular with unit diagonal,
    U upper triangular with diagonal exp(log_diagonal). L and U start as the identity, so that the
    layer starts as the permutation.

    Args:
        order: P as the channel that comes first, second, …, shape (C,); x is (n, C, height, width).
    """

    permutation: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        channels = len(order)
        self.register_buffer("permutation", order)
        n_off_diagonal = channels * (channels - 1) // 2
        self.lower = nn.Parameter(torch.zeros(n_off_diagonal))
        self.upper = nn.Parameter(torch.zeros(n_off_diagonal))
        self.log_diagonal = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def _factors(self) -> tuple[Tensor, Tensor]:
        channels = len(self.log_diagonal)
        below = torch.tril_indices(channels, channels, -1, device=self.lower.device)
        lower = torch.eye(channels, dtype=self.lower.dtype, device=self.lower.device)
        lower = lower.index_put((below[0], below[1]), self.lower)
        upper = torch.diag(self.log_diagonal.exp())
        upper = upper.index_put((below[1], below[0]), self.upper)
        return lower, upper

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_diagonal.sum() * x.shape[2] * x.shape[3]).expand(len(x))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):  # half precision would blur the data
            lower, upper = self._factors()
            matrix = (lower @ upper)[self.permutation]
            z = nn.functional.conv2d(x, matrix[:, :, None, None], self.bias)
        return z, self._log_det(x)

    def _inverse_matrix(self) -> Tensor:
        lower, upper = self._factors()
        identity = torch.eye(len(self.bias), dtype=lower.dtype, device=lower.device)
        below = torch.linalg.solve_triangular(lower, identity, upper=False, unitriangular=True)
        matrix: Tensor = torch.linalg.solve_triangular(upper, below, upper=True)
        return matrix[:, self.permutation]

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast(z.device.type, enabled=False):
            matrix = self._inverse_matrix()[:, :, None, None]
            x = nn.functional.conv2d(z - self.bias[:, None, None], matrix)
        return x, -self._log_det(z)

    def prepared(self) -> Inverse:
        matrix = self._inverse_matrix().detach()
        return ChannelMap(matrix, -(matrix @ self.bias.detach())[:, None])


class Permutation(Bijection):
    """Reorders the features of x (n, D); the order is saved with the weights.

    Args:
        order: which feature comes first, second, …, shape (D,).
    """

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z[:, torch.argsort(self.order)], z.new_zeros(len(z))

    def prepared(self) -> Inverse:
        order = torch.argsort(self.order)
        return lambda z, context: z.index_select(1, order)


class Flatten(Bijection):
    """Lays the elements of x (n, *shape) in a row z (n, D), the last axis fastest.

    Args:
        shape: shape of x without the batch.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(len(x))

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(shape),)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.reshape(len(z), *self.shape), z.new_zeros(len(z))


class Squeeze(Bijection):
    """Stacks small tiles into channels (RealNVP, arXiv:1605.08803, section 3.6).

    x (n, C, height, width) becomes z (n, C a b, height / a, width / b).

    Args:
        factors: size (a, b) of a tile.
    """

    def __init__(self, factors: tuple[int, int]) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.factors
        n, channels, height, width = x.shape
        tiles = x.reshape(n, channels, height // a, a, width // b, b).permute(0, 1, 3, 5, 2, 4)
        z = tiles.reshape(n, channels * a * b, height // a, width // b)
        return z, x.new_zeros(n)

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        (channels, height, width), (a, b) = shape, self.factors
        return channels * a * b, height // a, width // b

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.factors
        n, channels, height, width = z.shape
        tiles = z.reshape(n, channels // (a * b), a, b, height, width).permute(0, 1, 4, 2, 5, 3)
        return tiles.reshape(n, channels // (a * b), height * a, width * b), z.new_zeros(n)
