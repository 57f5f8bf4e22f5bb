"""The block whose features do not see each other: the context alone sets how each is mapped."""

from __future__ import annotations

from torch import Tensor, nn

from caloforge.flows.base import Bijection
from caloforge.flows.univariate import Univariate

__all__ = ["Elementwise"]


class Elementwise(Bijection):
    """z_i = f(x_i; theta_i(context)), every feature by itself.

    Args:
        network: maps the context (n, context) to (n, features * univariate.n_parameters), such as
            an `MLP`.
        univariate: the map f.
    """

    def __init__(self, network: nn.Module, univariate: Univariate) -> None:
        super().__init__()
        self.network = network
        self.univariate = univariate

    @property
    def sequential_passes(self) -> int:
        return 1

    def _raw(self, x: Tensor, context: Tensor | None) -> Tensor:
        if context is None:
            raise ValueError("an element-wise block has nothing but a context to go by, got None")
        # in mixed precision the network alone computes in half precision
        raw: Tensor = self.network(context).to(x.dtype)
        split: Tensor = raw.unflatten(1, (-1, self.univariate.n_parameters))
        return split

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.univariate.forward(x, self._raw(x, context))
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.univariate.inverse(z, self._raw(z, context))
        return x, log_slope.sum(1)
