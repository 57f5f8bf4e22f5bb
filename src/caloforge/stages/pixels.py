"""Voxels as the shape network samples them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from caloforge.preprocessing import Chain, LogEnergy, Logit, Standardise, Transform
from caloforge.stages.config import ShapeNetwork
from caloforge.stages.shares import to_shares, to_showers
from caloforge.units import MeV

__all__ = ["HitPixels", "Pixels", "SharePixels", "voxel_pixels"]

# So near to the data the velocity is no longer scaled up: methods with stages at t = 1 would leave
# for infinity, as states of few steps are far off there.
CLOSE = 0.05
LOG_STDS = (-5.0, 2.0)  # of a voxel's energy, between which an exponential is harmless


class Pixels(ABC):
    """Between the voxels of showers and an image of one channel or more.

    Attributes:
        channels: of the image.
        outputs: channels that a network has to give for it.
        transform: what is fitted, which a stage keeps with its weights.
    """

    channels: int
    outputs: int
    transform: Transform

    @abstractmethod
    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit on voxel energies [MeV], shape (n, L, a, b), of the training split, streamed."""

    @abstractmethod
    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The velocity at x that a network's output means, the shape of x.

        Args:
            output: shape (n, outputs, L, a, b).
            x: the image on its way from noise, shape (n, channels, L, a, b).
            t: time, from 0 for noise to 1, shape (n,).
        """

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
    """The fraction of the energy of its layer, through a logit and standardised (equation 3).

    Args:
        config: that of the shape network.
        shape: of the voxels.
    """

    channels = 1
    outputs = 1

    def __init__(self, config: ShapeNetwork, shape: tuple[int, int, int]) -> None:
        self.transform = Chain(Logit(config.alpha), Standardise(shape))

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        self.transform.fit(lambda: map(to_shares, batches()))

    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The output itself."""
        return output

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
    """

    channels = 2
    outputs = 3

    def __init__(self) -> None:
        self.transform = Chain(LogEnergy(1 * MeV, floor=0.0), Standardise((1,)))

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        self.transform.fit(lambda: (showers[showers > 0][:, None] for showers in batches()))

    def velocity(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """(D - x) / (1 - t), with D the mean of the image given x.

        The network says what it expects of each voxel: the log-odds l of a hit, and mean m and
        spread s of its energy. What the voxel's own pixels (b, e) say is added by Bayes' rule,
        with the noise 1 - t that they still have:

            log P / (1 - P) = l + 2 t b / (1 - t)^2
                              + log N(e; t m, t^2 s^2 + (1 - t)^2) - log N(e; 0, (1 - t)^2)
            D = (2 P - 1, P [m + t s^2 (e - t m) / (t^2 s^2 + (1 - t)^2)])

        So bits become 1 or -1 as noise fades, whatever the network has learned.
        """
        odds, mean, log_std = output.to(x.dtype).unbind(1)
        bit, energy = x.unbind(1)
        t = t[:, None, None, None]
        left = (1 - t).clamp_min(CLOSE)
        noise, variance = left.square(), (2 * log_std.clamp(*LOG_STDS)).exp()
        width = t.square() * variance + noise
        off = energy - t * mean
        likelier = energy.square() / noise - off.square() / width + (noise / width).log()
        hit = torch.sigmoid(odds + 2 * t * bit / noise + likelier / 2)
        expected = torch.stack([2 * hit - 1, hit * (mean + t * variance / width * off)], 1)
        return (expected - x) / left[:, None]

    def image(self, showers: Tensor) -> Tensor:
        hit = showers > 0
        energy = torch.where(hit, self.transform(torch.where(hit, showers, 1.0)), 0.0)
        return torch.stack([torch.where(hit, 1.0, -1.0), energy], 1)

    def showers(self, image: Tensor, layer_energies: Tensor) -> Tensor:
        """Energies are those of the image; a layer with energy has at least its likeliest hit."""
        bit, energy = image.unbind(1)
        empty = bit < 0  # NaN stays NaN
        without = empty.flatten(2).all(2)
        likeliest = bit == bit.amax((2, 3), keepdim=True)
        empty &= ~(likeliest & (without & (layer_energies > 0))[..., None, None])
        return torch.where(empty, 0.0, self.transform.inverse(energy))


def voxel_pixels(config: ShapeNetwork, shape: tuple[int, int, int]) -> Pixels:
    """The pixels of a configuration.

    Args:
        config: that of the shape network.
        shape: of the voxels.
    """
    return HitPixels() if config.pixels == "hits" else SharePixels(config, shape)
