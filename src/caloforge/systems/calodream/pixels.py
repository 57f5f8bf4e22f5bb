"""Voxels as the shape network draws them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from caloforge.preprocessing import Chain, LogEnergy, Logit, Standardise, Transform
from caloforge.systems.calodream.config import ShapeNetwork
from caloforge.systems.calodream.shares import to_shares, to_showers
from caloforge.units import MeV

__all__ = ["HitPixels", "Pixels", "SharePixels", "voxel_pixels"]


class Pixels(ABC):
    """Between the voxels of showers and an image of one channel or more.

    Attributes:
        channels: of the image.
        transform: what is fitted, which a stage keeps beside its weights.
    """

    channels: int
    transform: Transform

    @abstractmethod
    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit on voxel energies [MeV], shape (n, L, a, b), of the training split, streamed."""

    @abstractmethod
    def image(self, showers: Tensor) -> Tensor:
        """The image, shape (n, channels, L, a, b).

        Args:
            showers: voxel energies [MeV], shape (n, L, a, b).
        """

    @abstractmethod
    def showers(self, image: Tensor, layer_energies: Tensor) -> Tensor:
        """Voxel energies [MeV], shape (n, L, a, b).

        Args:
            image: shape (n, channels, L, a, b).
            layer_energies: [MeV], shape (n, L).
        """


class SharePixels(Pixels):
    """The share of the energy of its layer, through a logit and standardised (equation 3).

    Args:
        config: that of the shape network.
        shape: of the voxels.
    """

    channels = 1

    def __init__(self, config: ShapeNetwork, shape: tuple[int, int, int]) -> None:
        self.transform = Chain(Logit(config.alpha), Standardise(shape))

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        self.transform.fit(lambda: map(to_shares, batches()))

    def image(self, showers: Tensor) -> Tensor:
        pixels: Tensor = self.transform(to_shares(showers))
        return pixels[:, None]

    def showers(self, image: Tensor, layer_energies: Tensor) -> Tensor:
        return to_showers(self.transform.inverse(image[:, 0]), layer_energies)


class HitPixels(Pixels):
    """Whether a voxel is hit, -1 or 1, and the logarithm of its energy, standardised over hits.

    Where there is no hit the second channel is 0, as is the mean over hits. So nothing lies between
    an empty voxel and a hit that a network would have to learn to avoid. The bits are those of
    arXiv:2208.04202, section 3.

    Args:
        config: that of the shape network.
        shape: of the voxels.
    """

    channels = 2

    def __init__(self, config: ShapeNetwork, shape: tuple[int, int, int]) -> None:
        self.transform = Chain(LogEnergy(1 * MeV, floor=0.0), Standardise((1,)))

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        self.transform.fit(lambda: (showers[showers > 0][:, None] for showers in batches()))

    def image(self, showers: Tensor) -> Tensor:
        hit = showers > 0
        energy = torch.where(hit, self.transform(torch.where(hit, showers, 1.0)), 0.0)
        return torch.stack([torch.where(hit, 1.0, -1.0), energy], 1)

    def showers(self, image: Tensor, layer_energies: Tensor) -> Tensor:
        """The energies are those of the image, whatever those of the layers."""
        bit, energy = image.unbind(1)
        return torch.where(bit < 0, 0.0, self.transform.inverse(energy))  # NaN stays NaN


def voxel_pixels(config: ShapeNetwork, shape: tuple[int, int, int]) -> Pixels:
    """The pixels of a configuration.

    Args:
        config: that of the shape network.
        shape: of the voxels.
    """
    kinds: dict[str, type[SharePixels | HitPixels]] = {"shares": SharePixels, "hits": HitPixels}
    return kinds[config.pixels](config, shape)
