"""Bijections, chains of them, and the flow that a chain and a Gaussian make."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from caloforge.flows.prepared import ChannelMap, Inverse
from caloforge.nets import Preparable, fold, is_foldable

__all__ = ["Bijection", "Chain", "Flow"]


class Bijection(nn.Module, ABC):
    """An invertible map between data x and latent z with a tractable Jacobian.

    Both directions take x or z of shape (n, ...) and an optional context whose first dimension is n
    too, and return the image with log |det| of the direction taken, shape (n,).
    """

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z = f(x | context) and log |det dz/dx|, shape (n,)."""

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x = f^-1(z | context) and log |det dx/dz|, shape (n,)."""

    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set what depends on data from a first batch and return its image; by default nothing."""
        image: Tensor = self(x, context)[0]
        return image

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of z, without the batch, for x of a shape; by default the same."""
        return shape

    @property
    def sequential_passes(self) -> int:
        """Passes through networks, one after the other, that the inverse takes; by default none."""
        return 0

    def prepared(self) -> Inverse:
        """The inverse in eval mode, with the present weights and no log-determinant.

        It gives no gradients, and may round otherwise. By default nothing is faster than `inverse`.
        """
        return lambda z, context: self.inverse(z, context)[0]


class Chain(Bijection):
    """Bijections one after the other, in the order of x to z."""

    def __init__(self, bijections: Iterable[Bijection]) -> None:
        super().__init__()
        self.bijections = nn.ModuleList(bijections)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for bijection in self.bijections:
            x, log_det = bijection(x, context)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for bijection in reversed(self.bijections):
            z, log_det = bijection.inverse(z, context)  # type: ignore[operator]
            total = total + log_det
        return z, total

    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for bijection in self.bijections:
            x = bijection.initialise(x, context)  # type: ignore[operator]
        return x

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for bijection in self.bijections:
            shape = bijection.latent_shape(shape)  # type: ignore[operator]
        return shape

    @property
    def sequential_passes(self) -> int:
        return sum(bijection.sequential_passes for bijection in self.bijections)  # type: ignore[misc]

    def prepared(self) -> Inverse:
        steps: list[Inverse] = []
        for bijection in reversed(self.bijections):
            step: Inverse = bijection.prepared()  # type: ignore[operator]
            if steps and isinstance(step, ChannelMap) and isinstance(steps[-1], ChannelMap):
                steps[-1] = steps[-1].then(step)
            else:
                steps.append(step)

        def inverse(z: Tensor, context: Tensor | None) -> Tensor:
            for step in steps:
                z = step(z, context)
            return z

        return inverse


class Flow(Preparable):
    """A normalizing flow: a bijection onto independent standard Gaussians.

    log p(x) = log N(f(x); 0, 1) + log |det df/dx|
    (Convolutional L2LFlows, equation 3.1).

    Args:
        bijection: the map f from data to latent space.
        shape: shape of one data point, without the batch.
        embedding: network that turns the raw context into that of the bijection, run once a call.
    """

    def __init__(
        self, bijection: Bijection, shape: Sequence[int], embedding: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.bijection = bijection
        self.shape = tuple(shape)
        self.embedding = embedding

    def _embed(self, context: Tensor | None) -> Tensor | None:
        if self.embedding is None or context is None:
            return context
        embedded: Tensor = self.embedding(context)
        return embedded

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of x.

        Args:
            x: data, shape (n, *shape).
            context: the raw context, first dimension n.

        Returns:
            Shape (n,).
        """
        z, log_det = self.bijection(x, self._embed(context))
        log_normal = -0.5 * (z.square() + math.log(2 * math.pi))
        density: Tensor = log_normal.flatten(1).sum(1) + log_det
        return density

    def sample(
        self, n: int, context: Tensor | None = None, *, rng: torch.Generator | None = None
    ) -> Tensor:
        """Sample n points, shape (n, *shape), on the device and in the precision of the weights.

        The same from a prepared flow, up to rounding, but faster and without gradients.
        """
        return self.decode(self.sample_latent(n, rng=rng), context)

    def sample_latent(self, n: int, *, rng: torch.Generator | None = None) -> Tensor:
        """Sample n points of latent space, shape (n, *latent shape)."""
        weight = next(self.bijection.parameters())
        shape = (n, *self.latent_shape)
        return torch.randn(shape, generator=rng, device=weight.device, dtype=weight.dtype)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one point of latent space."""
        return self.bijection.latent_shape(self.shape)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """x = f^-1(z | context), shape (n, *shape): the points that `sample` gives for z."""
        if self._prepared is None:
            x, _ = self.bijection.inverse(z, self._embed(context))
            return x
        with torch.no_grad():
            embed, inverse = self._prepared
            sampled: Tensor = inverse(z, context if context is None else embed(context))
        return sampled

    @torch.no_grad()
    def prepare(self) -> None:
        """Compute once what sampling needs of the weights, see `Preparable`.

        Raises:
            ValueError: in training mode, where batch norms have no statistics of their own.
        """
        if self.training:
            raise ValueError("a flow is prepared for sampling in eval mode: call eval() first")
        self._prepared = (self._prepared_embedding(), self.bijection.prepared())

    def _prepared_embedding(self) -> Callable[[Tensor], Tensor]:
        if self.embedding is None:
            return lambda context: context
        if not is_foldable(self.embedding):
            return self.embedding
        folded = fold(self.embedding.children())
        return lambda context: folded(context.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set what depends on data (activation norms) from a first batch."""
        with torch.no_grad():
            self.bijection.initialise(x, self._embed(context))
