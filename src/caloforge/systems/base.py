"""The one contract: a stage is a trainable network with its preprocessing, a system a cascade."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from caloforge.geometry import Geometry
from caloforge.preprocessing import Transform
from caloforge.showers import VoxelShowers
from caloforge.systems.quantities import Quantities, ShowerQuantities
from caloforge.systems.recipe import Recipe

__all__ = ["SamplingOptions", "Stage", "System", "batch_rng", "check_device", "incident_energies"]

Batch = dict[str, Tensor]
Upstream = Mapping[str, "Stage"]


@dataclass(frozen=True)
class SamplingOptions:
    """What a user chooses at generation.

    Args:
        postprocess: apply the system's post-processing, such as the rescaling to layer energies;
            the read-out threshold is always applied.
    """

    postprocess: bool = True


class Stage(nn.Module, ABC):
    """One trainable network and the preprocessing it was fitted with.

    A stage never owns another: the frozen stages of `needs` are handed in as `upstream`.

    Attributes:
        needs: stages that must be trained, and are then frozen, before this one.
        reads: physical quantities that it is conditioned on.
        writes: physical quantities that it samples.
        recipe: how it is trained.
        is_fitted: whether `fit` was called or a checkpoint loaded.
    """

    needs: tuple[str, ...] = ()
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    recipe: Recipe
    is_fitted: bool = False

    @abstractmethod
    def fit(self, sample: ShowerQuantities, upstream: Upstream, rng: torch.Generator) -> None:
        """Fit the transforms, and what else depends on data, on the training split; once."""

    @abstractmethod
    def context(self, quantities: Quantities) -> Tensor:
        """Conditioning of the network: the only place it is built, in training and in sampling."""

    @abstractmethod
    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        """What `loss` needs of a batch of showers, noise and augmentation included."""

    @abstractmethod
    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """The scalar to minimise."""

    @abstractmethod
    def sample(
        self,
        quantities: Quantities,
        upstream: Upstream,
        rng: torch.Generator,
        options: SamplingOptions,
    ) -> Quantities:
        """Draw: the given quantities and the stage's own `writes`."""

    def transforms(self) -> dict[str, Any]:
        """State of every fitted transform, by attribute, in JSON's types."""
        return {
            name: module.state()
            for name, module in self.named_children()
            if isinstance(module, Transform)
        }

    def load_transforms(self, states: Mapping[str, Any]) -> None:
        """Inverse of `transforms`.

        Raises:
            ValueError: if the states are of other transforms.
        """
        own = {n: module for n, module in self.named_children() if isinstance(module, Transform)}
        if own.keys() != states.keys():
            raise ValueError(
                f"expected the transforms {', '.join(own)}, got {', '.join(states)}: "
                "the checkpoint is of another stage or version"
            )
        for name, module in own.items():
            module.load_state(states[name])
        self.is_fitted = True


class System(ABC):
    """An ordered set of stages that turns incident energies into showers.

    Subclasses build their stages from a configuration, a frozen dataclass named `Config`.

    Attributes:
        name: name of the system, such as "l2lflows".
        sizes: names of its presets.
        homes: geometries of those presets that are for one alone.
        config: the configuration.
        geometry: the voxels.
        seed: of its initial weights.
        stages: the stages, in sampling order.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    sizes: ClassVar[tuple[str, ...]]
    homes: ClassVar[Mapping[str, str]] = {}
    seed: int = 0

    def __init__(self, config: Any, geometry: Geometry) -> None:
        self.config = config
        self.geometry = geometry
        self.stages: dict[str, Stage] = {}

    @classmethod
    @abstractmethod
    def preset(cls, size: str, geometry: Geometry) -> Any:
        """The configuration of a preset for a geometry.

        Raises:
            ValueError: for an unknown preset, or a geometry that the system cannot take.
        """

    @abstractmethod
    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        """Voxel energies [MeV] from the sampled quantities, shape (n, n_voxels) or (n, *shape)."""

    def upstream(self, stage: str) -> dict[str, Stage]:
        """The stages that a stage needs."""
        return {name: self.stages[name] for name in self.stages[stage].needs}

    def to(self, device: torch.device | str) -> System:
        """Move all stages to a device."""
        for stage in self.stages.values():
            stage.to(device)
        return self

    @property
    def n_parameters(self) -> dict[str, int]:
        """Number of trainable parameters of each stage."""
        return {
            name: sum(weights.numel() for weights in stage.parameters())
            for name, stage in self.stages.items()
        }

    @torch.no_grad()
    def draw(
        self,
        energy_inc: ArrayLike,
        *,
        rng: torch.Generator,
        device: torch.device | str = "cpu",
        options: SamplingOptions | None = None,
    ) -> VoxelShowers:
        """Draw one batch of showers, one for each incident energy.

        Args:
            energy_inc: incident energies [MeV], shape (n,).
            rng: source of randomness, on `device`.
            device: where the stages are.
            options: what a user chooses at generation.

        Raises:
            FloatingPointError: if a stage draws values that are not finite.
        """
        chosen = options or SamplingOptions()
        energies = np.asarray(energy_inc, dtype=np.float32)
        quantities: Quantities = {"energy_inc": torch.as_tensor(energies, device=device)}
        for name, stage in self.stages.items():
            if stage.training:
                stage.eval()
            quantities = stage.sample(quantities, self.upstream(name), rng, chosen)
            if not all(torch.isfinite(quantities[written]).all() for written in stage.writes):
                raise FloatingPointError(
                    f"the stage {name} drew values that are not finite: its training diverged, or "
                    "the incident energies lie far outside those it was trained on"
                )
        showers = self.assemble(quantities, chosen).flatten(1)
        showers = torch.where(showers < self.geometry.threshold, 0.0, showers)
        return VoxelShowers.from_dense(energies, showers.cpu().numpy(), self.geometry)

    def stream(
        self,
        energy_inc: ArrayLike,
        *,
        seed: int,
        batch_size: int = 100,
        first: int = 0,
        device: torch.device | str = "cpu",
        options: SamplingOptions | None = None,
    ) -> Iterator[VoxelShowers]:
        """Draw showers batch by batch; see `generate`.

        Args:
            energy_inc: incident energies [MeV], shape (n,).
            seed: every batch draws from its own generator, derived from the seed and its number.
            batch_size: showers drawn at once.
            first: number of the first batch, not 0 where a longer job is taken up in its middle.
            device: where to compute.
            options: what a user chooses at generation.

        Raises:
            ValueError: if energies are not positive numbers in one dimension.
        """
        energies = incident_energies(energy_inc)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.to(check_device(device))
        for number, start in enumerate(range(0, len(energies), batch_size), first):
            rng = batch_rng(seed, number, device)
            part = energies[start : start + batch_size]
            yield self.draw(part, rng=rng, device=device, options=options)

    def generate(
        self,
        energy_inc: ArrayLike,
        *,
        seed: int,
        batch_size: int = 100,
        device: torch.device | str = "cpu",
        options: SamplingOptions | None = None,
    ) -> VoxelShowers:
        """Generate showers, one for each incident energy.

        The same seed, device and batch size give the same showers.

        Args:
            energy_inc: incident energies [MeV], shape (n,).
            seed: every batch draws from its own generator, derived from the seed and its number.
            batch_size: showers drawn at once.
            device: where to compute.
            options: what a user chooses at generation.

        Raises:
            ValueError: if energies are not positive numbers in one dimension, or there are none.
        """
        batches = self.stream(
            energy_inc, seed=seed, batch_size=batch_size, device=device, options=options
        )
        return VoxelShowers.concatenate(list(batches))


def incident_energies(energy_inc: ArrayLike) -> NDArray[np.float32]:
    """Incident energies [MeV] as showers hold them, shape (n,).

    Raises:
        ValueError: if they are not positive numbers in one dimension.
    """
    energies = np.asarray(energy_inc, dtype=np.float32)
    if energies.ndim != 1:
        raise ValueError(f"energy_inc must be energies [MeV] of shape (n,), got {energies.shape}")
    wrong = np.flatnonzero(~(np.isfinite(energies) & (energies > 0)))
    if wrong.size:
        raise ValueError(
            "energy_inc must be positive, finite energies [MeV], "
            f"got {energies[wrong[0]]} at entry {wrong[0]}"
        )
    return energies


def batch_rng(seed: int, number: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one batch: independent of all others, so that any batch can be redone."""
    state = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & (2**63 - 1))


def check_device(device: torch.device | str) -> str:
    """The same device, if it can be had.

    Raises:
        ValueError: for an accelerator that is not there.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"PyTorch sees no accelerator for the device {device!r}: use 'cpu'")
    return str(device)
