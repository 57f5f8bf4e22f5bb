"""The encoder of point clouds: points that interact through pooled features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_, linear
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["EPiCEncoder", "EPiCLayer", "counted"]

SLOPE = 0.01
SUM_SCALE = 1e-3  # of the sum over the points of a cloud, of which there are thousands


class EPiCLayer(nn.Module):
    """An equivariant point cloud layer (EPiC-GAN, arXiv:2301.08128, section 3.1).

    The global vector g of a cloud learns from its points x_i, then they learn from it

        g' = phi(g + G_2 phi(G_1 [mean x_i, sum x_i, g, c]))
        x_i' = phi(x_i + L_2 phi(L_1 [x_i, g', c]))

    with leaky ReLUs phi, the condition c, linear layers of normed weights, and a sum scaled down.

    Args:
        features: of a point.
        size: of the global vector.
        context: features of the condition.
    """

    def __init__(self, features: int, size: int, context: int) -> None:
        super().__init__()
        self.to_global = _linear(2 * features + size + context, features)
        self.of_global = _linear(features, size)
        self.points = _PointsOfClouds(features, size + context, features)

    def forward(
        self, x: Tensor, common: Tensor, context: Tensor, cloud: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The points and the global vectors, of the shapes they came in.

        Args:
            x: points of all clouds, shape (points, features).
            common: the global vector of each cloud, shape (n, size).
            context: the condition of each cloud, shape (n, context).
            cloud: which cloud each point belongs to, shape (points,).
        """
        seen = torch.cat([*_pooled(x, cloud, len(common)), common, context], 1)
        hidden = leaky_relu_(self.to_global(seen), SLOPE)
        common = leaky_relu_(common + self.of_global(hidden), SLOPE)
        return self.points(x, torch.cat([common, context], 1), cloud, x), common


class EPiCEncoder(nn.Module):
    """Clouds to normal distributions of a latent vector (CaloClouds, section 3.2).

    A layer of single points, one of the pooled cloud, `EPiCLayer`s whose global vector is as long
    as the latent one, and two layers of the pooled cloud with a head for mu and one for
    log sigma^2. Linear layers have weights of normed rows (arXiv:1602.07868). With 4 features, 2 of
    the condition and 256 of the latent space these are the published 730,368 parameters.

    Clouds of any number of points lie in one tensor: nothing is padded.

    Args:
        features: of a point.
        context: features of the condition.
        latent: features of the latent space.
        hidden: features of a point inside.
        layers: number of equivariant layers.
    """

    def __init__(
        self, features: int, context: int, latent: int, hidden: int = 128, layers: int = 3
    ) -> None:
        super().__init__()
        self.points = _PointsOfClouds(features, context, hidden)
        self.cloud = nn.Sequential(
            _linear(2 * hidden + context, hidden),
            nn.LeakyReLU(SLOPE),
            _linear(hidden, latent),
            nn.LeakyReLU(SLOPE),
        )
        self.layers = nn.ModuleList(EPiCLayer(hidden, latent, context) for _ in range(layers))
        self.summary = _linear(2 * hidden + latent + context, hidden)
        self.last = _linear(hidden, hidden)
        self.mean = _linear(hidden, latent)
        self.log_variance = _linear(hidden, latent)

    def forward(self, x: Tensor, context: Tensor, cloud: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma^2, shape (n, latent) each.

        Args:
            x: points of all clouds in one tensor, shape (points, features).
            context: the condition of each cloud, shape (n, context).
            cloud: which cloud each point belongs to, shape (points,).
        """
        n = len(context)
        x = self.points(x, context, cloud)
        common: Tensor = self.cloud(torch.cat([*_pooled(x, cloud, n), context], 1))
        for layer in self.layers:
            x, common = layer(x, common, context, cloud)
        seen = torch.cat([*_pooled(x, cloud, n), common, context], 1)
        hidden = leaky_relu_(self.summary(seen), SLOPE)
        hidden = leaky_relu_(hidden + self.last(hidden), SLOPE)
        return self.mean(hidden), self.log_variance(hidden)


class _PointsOfClouds(nn.Module):
    """Two layers of points x_i and their clouds' context c, with a residual.

        y_i = phi(W_1 [x_i, c]),  x_i' = phi(r_i + W_2 y_i)

    with r_i = y_i unless given.
    """

    def __init__(self, features: int, context: int, features_out: int) -> None:
        super().__init__()
        self.features = features
        self.first = _linear(features + context, features_out)
        self.second = _linear(features_out, features_out)

    def forward(
        self, x: Tensor, context: Tensor, cloud: Tensor, residual: Tensor | None = None
    ) -> Tensor:
        # what a cloud adds to its points is the same for all of them: computed once, then spread
        weight = self.first.weight
        added = linear(context, weight[:, self.features :], self.first.bias)
        y = linear(x, weight[:, : self.features]) + added.index_select(0, cloud)
        y = leaky_relu_(y, SLOPE)
        return leaky_relu_(self.second(y) + (y if residual is None else residual), SLOPE)


def _linear(features_in: int, features_out: int) -> nn.Linear:
    layer: nn.Linear = weight_norm(nn.Linear(features_in, features_out))
    return layer


def counted(cloud: Tensor, n: int) -> Tensor:
    """Points of each of n clouds, shape (n,), for which an accelerator is not waited for.

    Args:
        cloud: which cloud each point belongs to, shape (points,).
        n: number of clouds.
    """
    return cloud.new_zeros(n).index_add_(0, cloud, torch.ones_like(cloud))


def _pooled(x: Tensor, cloud: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean and scaled sum over the points of each of n clouds, shape (n, features) each."""
    exact = torch.promote_types(x.dtype, torch.float32)  # half precision does not hold thousands
    total = x.new_zeros(n, x.shape[1], dtype=exact).index_add(0, cloud, x.to(exact))
    n_points = counted(cloud, n).clamp_min(1)
    return total / n_points[:, None], SUM_SCALE * total
