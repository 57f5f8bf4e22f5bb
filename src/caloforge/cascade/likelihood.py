"""Densities of showers: the joint density of all stages, averaged over the noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caloforge.cascade.arguments import incident_particles
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Branch, batch_rng
from caloforge.cascade.stage import Correction
from caloforge.showers import VoxelShowers

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["EntryNoise", "HasDensity", "LogDensity", "log_density"]


class EntryNoise(Protocol):
    """The distribution of noise, such as one of `torch.distributions`."""

    def log_prob(self, value: Tensor, /) -> Tensor:
        """Log-density element by element."""

    def entropy(self) -> Any:
        """Minus the mean of the log-density, one number."""


@runtime_checkable
class HasDensity(Protocol):
    """What a stage offers that has a density of what it writes."""

    def add_noise(self, quantities: Quantities, rng: torch.Generator) -> Quantities:
        """With the noise that gives what the stage writes a density."""

    def entry_noise(self) -> EntryNoise:
        """What an empty entry of `writes` holds after `add_noise`."""

    def log_prob(self, quantities: Quantities, upstream: Any, rng: torch.Generator) -> Tensor:
        """Log-density of what the stage writes, given what it reads.

        Args:
            quantities: with the noise of all stages, in MeV.
            upstream: the stages of `needs`.
            rng: for what a network sees besides them, such as padding.

        Returns:
            In double precision and MeV^-1 for each entry of `writes`, shape (n,); minus infinity
            for what the stage cannot sample.
        """


@dataclass(frozen=True, eq=False)
class LogDensity:
    """Log-densities of showers; see `System.log_prob`.

    Args:
        stages: log-density of what each stage writes, given what it reads, shape (n,) each: that of
            the noise-filled shower, in MeV^-1 for each of its energies.
        noise: the part of it that is the known log-density of the noise in empty entries, shape
            (n,) each: the same number for every one of them.
        error: standard error of `total` from the finite number of noise samples, shape (n,); NaN
            where it is not known, for one sample or a density of zero.
    """

    stages: Mapping[str, NDArray[np.float64]]
    noise: Mapping[str, NDArray[np.float64]]
    error: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Log-density of the noise-filled shower given its incident energy, shape (n,)."""
        total: NDArray[np.float64] = np.sum(list(self.stages.values()), axis=0)
        return total

    @property
    def sparse(self) -> dict[str, NDArray[np.float64]]:
        """Log-density of the shower without the noise, by stage, shape (n,) each.

        Empty entries count with their probability, the others with their density [MeV^-1]:
        `stages` less `noise`, which is a lower bound of it (Flow++, arXiv:1902.00275, section 3.1).
        """
        return {name: self.stages[name] - self.noise[name] for name in self.stages}

    @classmethod
    def concatenate(cls, parts: Sequence[LogDensity]) -> LogDensity:
        """Join the densities of batches of showers, in order.

        Raises:
            ValueError: if there is nothing to join.
        """
        if not parts:
            raise ValueError("there are no showers to take the density of")

        def joined(of: Iterable[Mapping[str, NDArray[np.float64]]]) -> dict[str, Any]:
            columns = list(of)
            return {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}

        return cls(
            joined(part.stages for part in parts),
            joined(part.noise for part in parts),
            np.concatenate([part.error for part in parts]),
        )


@torch.no_grad()
def log_density(
    system: System,
    showers: VoxelShowers,
    *,
    noise_samples: int,
    seed: int,
    batch_size: int,
    device: torch.device | str,
) -> LogDensity:
    """Log-density of showers given their incident energies, `log_density(…).total`.

    The joint density of layer energies and voxels [MeV^-1 each] as the flows sample them, before
    post-processing and threshold. Empty voxels and layers have no density of their own: as in
    training they are filled with noise n, and all else is blurred by it. The value is

        < log p(showers + n | energy_inc) >,   log p = sum over stages of log p(writes | reads)

    averaged over samples of the noise: what training maximises. (The log of <p> would be that of
    the luckiest sample, as thousands of voxels are noise.) It is minus infinity for energies that
    the flows cannot sample, larger than any that they were trained on. The same seed, device and
    batch size give the same values.

    Args:
        system: the system.
        showers: showers of the system's geometry.
        noise_samples: samples of the noise.
        seed: every batch has its own generator, derived from the seed and its number.
        batch_size: showers computed at once.
        device: where to compute.

    Returns:
        The density by stage, and the error that the finite number of noise samples leaves.

    Raises:
        ValueError: for showers of another geometry or none at all, numbers below 1, or a system
            with stages that have no density.
        FloatingPointError: if a stage gives densities that are no numbers.
    """
    stages = densities(system).values()
    if showers.geometry != system.geometry:
        raise ValueError(
            f"the showers are of {showers.geometry.name}, the system samples those of "
            f"{system.geometry.name}: project the showers into its voxels"
        )
    if min(noise_samples, batch_size) < 1:
        raise ValueError(
            f"noise_samples and batch_size must be 1 or more, got {noise_samples} and {batch_size}"
        )
    incident_particles(showers.particles)  # of which single precision may leave nothing
    system.to(device)
    for stage in stages:
        stage.eval()
    written = (name for stage in stages for name in stage.writes)
    # made dense batch by batch: a long sample need not fit into memory
    sample = ShowerQuantities(showers, ("energy_inc", *written), budget=0)
    parts = []
    for number, batch in enumerate(sample.batches(batch_size)):
        quantities = {name: values.to(device) for name, values in batch.items()}
        rng = batch_rng(seed, number, device, branch=Branch.DENSITY)
        parts.append(_batch(system, quantities, noise_samples, rng))
    return LogDensity.concatenate(parts)


def densities(system: System) -> dict[str, Any]:
    """The stages of a system that sample, but for corrections, which all have a density, by name.

    Raises:
        ValueError: naming those that have none.
    """
    stages = {n: s for n, s in system.stages.items() if s.writes and not isinstance(s, Correction)}
    without = [name for name, stage in stages.items() if not isinstance(stage, HasDensity)]
    if without:
        raise ValueError(f"{system.name} has no density: {', '.join(without)} give none")
    return stages


def _batch(
    system: System, quantities: Quantities, noise_samples: int, rng: torch.Generator
) -> LogDensity:
    """Of one batch.

    The noise in empty entries, most of a shower, makes most of the scatter between samples. Its own
    log-density is known, and so is the mean of it: what a sample has above that mean is subtracted
    (a control variate), which leaves the average as it is and takes nearly all of the scatter.
    """
    sampled = torch.stack([_one_sample(system, quantities, rng) for _ in range(noise_samples)])
    stages = dict(zip(densities(system), sampled.mean(0).cpu().numpy(), strict=True))
    if broken := [name for name, density in stages.items() if np.isnan(density).any()]:
        raise FloatingPointError(
            f"the stages {', '.join(broken)} give densities that are no numbers: their training "
            "diverged, or the incident energies lie far outside those they were trained on"
        )
    total = sampled.sum(1)
    error = (
        total.std(0) / noise_samples**0.5
        if noise_samples > 1
        else torch.full_like(total[0], torch.nan)
    )
    noise = {name: _mean_noise(stage, quantities) for name, stage in densities(system).items()}
    return LogDensity(stages, noise, error.cpu().numpy())


def _one_sample(system: System, quantities: Quantities, rng: torch.Generator) -> Tensor:
    """Of one sample of the noise, less the control variate, shape (n_stages, n)."""
    noised = quantities
    stages = densities(system)
    for stage in stages.values():
        noised = stage.add_noise(noised, rng)
    rows = []
    for name, stage in stages.items():
        density = stage.log_prob(noised, system.upstream(name), rng).double()
        noise = stage.entry_noise()
        for written in stage.writes:
            surplus = noise.log_prob(noised[written].double()) + noise.entropy()
            density = density - _sum(surplus.where(quantities[written] == 0, 0.0))
        rows.append(density)
    return torch.stack(rows)


def _mean_noise(stage: Any, quantities: Quantities) -> NDArray[np.float64]:
    """Mean log-density of the noise in empty entries of what a stage writes, shape (n,)."""
    entropy = stage.entry_noise().entropy()
    n_empty = torch.stack([_sum(quantities[written] == 0) for written in stage.writes]).sum(0)
    mean: NDArray[np.float64] = (-entropy * n_empty.double()).cpu().numpy()
    return mean


def _sum(values: Tensor) -> Tensor:
    """Over all entries of each shower, shape (n,)."""
    return values.reshape(len(values), -1).sum(1)
