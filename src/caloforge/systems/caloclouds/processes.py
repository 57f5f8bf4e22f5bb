"""The diffusion processes of points, and the ways back from noise that each of them has."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.diffusion import (
    MarkovChain,
    NoiseLevels,
    Preconditioned,
    denoising_error,
    euler,
    heun,
    multistep,
    quadratic_schedule,
)
from caloforge.systems.caloclouds.config import PointsConfig
from caloforge.systems.caloclouds.networks import PointNetwork
from caloforge.upload import upload

__all__ = ["Chain", "Edm", "LeveledNetwork", "Process", "Sampler", "make_process", "spread"]

LeveledNetwork = Callable[[Tensor, Tensor], Tensor]
"""F(x, level) of the shape of x, with the level of each cloud, shape (n,), or of all, (1,)."""

FreshNoise = Callable[[int], Tensor]
"""Standard normal numbers of the shape of the noise, others for each step."""

METHODS = {"dpm": (multistep, 1), "euler": (euler, 1), "heun": (heun, 2)}  # evaluations a step


@dataclass(frozen=True, eq=False)
class Sampler:
    """A way from noise to data.

    Args:
        n_evaluations: of the network, one after the other.
        sample: data from the network, standard normal noise and a source of more for each step.
        network: that was trained for it; None for the network of the process.
    """

    n_evaluations: int
    sample: Callable[[LeveledNetwork, Tensor, FreshNoise], Tensor]
    network: PointNetwork | None = None


class Process(ABC):
    """What a network of points is trained for, and how it makes points of noise.

    Attributes:
        is_standardised: whether it wants features of mean 0 and standard deviation 1.
        solvers: names of its samplers; N is any number of steps.
    """

    is_standardised: bool
    solvers: tuple[str, ...]

    @abstractmethod
    def error(
        self,
        network: LeveledNetwork,
        x: Tensor,
        n: int,
        cloud: Tensor | None,
        rng: torch.Generator,
    ) -> Tensor:
        """Square error of the network, entry by entry, the shape of x.

        Args:
            network: which is trained.
            x: points, side by side (n, points, 4), or all in one tensor (points, 4).
            n: number of clouds, of one level of noise each.
            cloud: which cloud each point of the one tensor belongs to; None where side by side.
            rng: source of levels and noise.
        """

    @abstractmethod
    def sampler(self, name: str) -> Sampler | None:
        """The sampler of a name, None if there is not."""


class Chain(Process):
    """The Markov chain, whose network predicts the noise (CaloClouds, equations 3.1 to 3.5).

    Args:
        chain: its steps.
    """

    is_standardised = False

    def __init__(self, chain: MarkovChain) -> None:
        self.chain = chain
        self.solvers = (f"ddpm-{chain.steps}",)

    def error(
        self,
        network: LeveledNetwork,
        x: Tensor,
        n: int,
        cloud: Tensor | None,
        rng: torch.Generator,
    ) -> Tensor:
        step = torch.randint(self.chain.steps, (n,), generator=rng, device=x.device)
        noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        noised = self.chain.noised(x, step if cloud is None else step[cloud], noise)
        return (network(noised, upload(self.chain.beta, x.device, x.dtype)[step]) - noise).square()

    def sampler(self, name: str) -> Sampler | None:
        if name not in self.solvers:
            return None

        def sample(network: LeveledNetwork, noise: Tensor, fresh: FreshNoise) -> Tensor:
            return self.chain.back(lambda x, beta: network(x, beta.reshape(1)), noise, fresh)

        return Sampler(self.chain.steps, sample)


class Edm(Process):
    """Noise of any level, whose network is a preconditioned denoiser (arXiv:2206.00364).

    Args:
        levels: of the noise, in standard deviations of the data.
    """

    is_standardised = True
    solvers = tuple(f"{method}-N" for method in METHODS)

    def __init__(self, levels: NoiseLevels) -> None:
        self.levels = levels

    def error(
        self,
        network: LeveledNetwork,
        x: Tensor,
        n: int,
        cloud: Tensor | None,
        rng: torch.Generator,
    ) -> Tensor:
        sigma = self.levels.sample(n, rng=rng, like=x)
        # the network wants the level of a cloud once, not for each of its points
        denoiser = Preconditioned(lambda x, _: network(x, sigma.log() / 4), 1.0)
        return denoising_error(denoiser, x, sigma if cloud is None else sigma[cloud], rng=rng)

    def sampler(self, name: str) -> Sampler | None:
        found = re.fullmatch(rf"({'|'.join(METHODS)})-([1-9]\d*)", name)
        if found is None:
            return None
        method, order = METHODS[found[1]]
        steps = int(found[2])

        def sample(network: LeveledNetwork, noise: Tensor, fresh: FreshNoise) -> Tensor:
            denoiser = Preconditioned(lambda x, level: network(x, level[:1]), 1.0)
            return method(denoiser, spread(noise, self.levels), self.levels, steps)

        return Sampler(order * steps - (order - 1), sample)


def spread(noise: Tensor, levels: NoiseLevels) -> Tensor:
    """Noise scaled to the width of data of standard deviation 1 with the highest level of noise."""
    return noise * math.sqrt(1 + levels.highest**-2)


def make_process(config: PointsConfig) -> Process:
    """The process of a configuration."""
    if config.process == "edm":
        return Edm(config.levels)
    return Chain(MarkovChain(quadratic_schedule(config.steps, *config.variances)))
