"""Coupling blocks: one half of the channels or features sets how the other is mapped."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from caloforge.flows.base import Bijection
from caloforge.flows.knots import KnotTable
from caloforge.flows.prepared import Inverse
from caloforge.flows.spline import Spline
from caloforge.flows.univariate import Univariate
from caloforge.nets import MLP, UNet
from caloforge.nets.folded import Images

__all__ = ["Coupling"]

Columns = Callable[[Tensor], Tensor]  # of points along the columns

# Pixels, or changed features, that a prepared coupling takes at once on a CPU: so few that what the
# network computes stays in the caches, so many that the calls of operators do not count.
PIXELS = 5000


class Coupling(Bijection):
    """A coupling along the channels (RealNVP, arXiv:1605.08803; Convolutional L2LFlows, 3.2).

    The first C // 2 channels and the context go through a network that gives the map of every
    remaining element; they themselves pass unchanged.

    Args:
        channels: number of channels C of x (n, C, height, width), or of features of x (n, C).
        network: maps (n, C // 2 + context channels, ...) to
            (n, (C - C // 2) * univariate.n_parameters, ...), such as a `UNet` or an `MLP`.
        univariate: the element-wise map.
    """

    def __init__(self, channels: int, network: nn.Module, univariate: Univariate) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"a coupling splits 2 channels or more, got {channels}: squeeze first")
        self.n_channels = channels
        self.n_kept = channels // 2
        self.network = network
        self.univariate = univariate

    @property
    def sequential_passes(self) -> int:
        return 1

    def _raw(self, kept: Tensor, context: Tensor | None) -> Tensor:
        seen = kept if context is None else torch.cat([kept, context], 1)
        # in mixed precision the network alone computes in half precision
        raw: Tensor = self.network(seen).to(kept.dtype)
        # (n, channel, parameter, ...)
        split: Tensor = raw.unflatten(1, (-1, self.univariate.n_parameters))
        return split

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = x[:, : self.n_kept], x[:, self.n_kept :]
        image, log_slope = self.univariate.forward(changed, self._raw(kept, context), dim=2)
        return torch.cat([kept, image], 1), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = z[:, : self.n_kept], z[:, self.n_kept :]
        image, log_slope = self.univariate.inverse(changed, self._raw(kept, context), dim=2)
        return torch.cat([kept, image], 1), log_slope.flatten(1).sum(1)

    def prepared(self) -> Inverse:
        network, spline = self.network, self.univariate
        if not (isinstance(network, UNet | MLP) and isinstance(spline, Spline)):
            return super().prepared()
        table = KnotTable(spline, next(network.parameters()))
        # row r of element (channel, ...) of the table lies in output r of the channel
        first = spline.n_parameters * torch.arange(self.n_channels - self.n_kept)
        rows = table.rows[:, None]
        outputs = torch.where(rows < 0, -1, rows + first).flatten()
        if isinstance(network, MLP):
            return self._of_vectors(table, network.columns(outputs))
        return self._of_images(table, network.folded(outputs))

    def _of_vectors(self, table: KnotTable, network: Columns) -> Inverse:
        def inverse(z: Tensor, context: Tensor | None) -> Tensor:
            kept, changed = z.t().split([self.n_kept, self.n_channels - self.n_kept])
            seen = kept if context is None else torch.cat([kept, context.t()])
            at_once = max(1, PIXELS // len(changed)) if z.is_cpu else len(z)
            pieces = zip(seen.split(at_once, 1), changed.split(at_once, 1), strict=True)
            mapped = [_mapped(table, network(seen), changed) for seen, changed in pieces]
            return torch.cat([kept, torch.cat(mapped, 1)]).t()

        return inverse

    def _of_images(self, table: KnotTable, network: Images) -> Inverse:
        def inverse(z: Tensor, context: Tensor | None) -> Tensor:
            n, channels, height, width = z.shape
            flat = z.transpose(0, 1).reshape(channels, -1)
            kept, changed = flat.split([self.n_kept, channels - self.n_kept])
            seen = kept.t()
            if context is not None:
                context = context.permute(0, 2, 3, 1).reshape(n * height * width, -1)
                seen = torch.cat([seen, context], 1)
            images = seen.reshape(n, height, width, -1)
            at_once = max(1, PIXELS // (height * width)) if z.is_cpu else n
            pieces = zip(
                images.split(at_once), changed.split(at_once * height * width, 1), strict=True
            )
            mapped = [
                _mapped(table, network(seen).flatten(0, 2).t(), changed) for seen, changed in pieces
            ]
            x = torch.cat([kept, mapped[0] if len(mapped) == 1 else torch.cat(mapped, 1)])
            return x.view(channels, n, height, width).transpose(0, 1)

        return inverse


def _mapped(table: KnotTable, raw: Tensor, changed: Tensor) -> Tensor:
    """Splines inverted on changed (channel, point), raw (row and channel, point)."""
    knots = raw.contiguous().view(table.n_rows, -1)
    return table.inverse(changed.reshape(-1), knots).view_as(changed)
