"""The density of the noise that fills voxels without energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["FillNoise"]


@dataclass(frozen=True)
class FillNoise:
    """What an empty voxel holds after `fill_zeros` and `add_uniform`.

    The density of a log-normal energy plus a uniform one,

        q(e) = [F(e) - F(e - width)] / width,   F(e) = Phi(log10(e / median) / decades)

    with the cumulative Gaussian Phi (noise of Convolutional L2LFlows, section 3.3 and table 8).

    Args:
        median: median of the log-normal fill [MeV].
        decades: standard deviation of its log10.
        width: width of the uniform noise [MeV].

    Raises:
        ValueError: where one of them is not positive: the noise has no density then.
    """

    median: float
    decades: float
    width: float

    def __post_init__(self) -> None:
        if not min(self.median, self.decades, self.width) > 0:
            raise ValueError(
                "empty voxels have a density only if median, spread and width of their noise are "
                f"positive, got {self.median}, {self.decades} and {self.width}"
            )

    def log_prob(self, energy: Tensor) -> Tensor:
        """log q [log MeV^-1], the shape of the energies [MeV]."""
        upper, lower = self._scaled(energy), self._scaled(energy - self.width)
        # Phi loses its digits near 1: there the difference is taken on the other side
        above = lower > 0
        upper, lower = torch.where(above, -lower, upper), torch.where(above, -upper, lower)
        between: Tensor = torch.erfc(-upper) - torch.erfc(-lower)
        return between.log() - math.log(2 * self.width)

    def _scaled(self, energy: Tensor) -> Tensor:
        """x with Phi = erfc(-x) / 2, minus infinity for energies that are not positive."""
        x: Tensor = (energy.clamp_min(0) / self.median).log10() / (2**0.5 * self.decades)
        return x

    def entropy(self) -> float:
        """- <log q> [log MeV], integrated numerically."""
        return _entropy(self)


@lru_cache(maxsize=32)
def _entropy(noise: FillNoise) -> float:
    reach = 10 ** (8 * noise.decades)  # eight standard deviations
    lowest, highest = noise.median / reach, noise.median * reach + noise.width
    grid = torch.linspace(math.log(lowest), math.log(highest), 20_001, dtype=torch.float64).exp()
    log_density = noise.log_prob(grid)
    density = log_density.exp()
    integrand = torch.where(density > 0, density * log_density, 0.0)
    return -float(torch.trapezoid(integrand, grid))
