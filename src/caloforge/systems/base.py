"""The one contract: a stage is a trainable network with its preprocessing, a system a cascade."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from caloforge.geometry import Geometry
from caloforge.nets import Preparable
from caloforge.preprocessing import Transform
from caloforge.showers import VoxelShowers
from caloforge.systems.arguments import batch_rng, check_device, incident_energies
from caloforge.systems.calibration import Calibration
from caloforge.systems.likelihood import LogDensity, Noise, log_density
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


class Stage(Preparable, ABC):
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

    def prepare(self) -> None:
        """Into eval mode, with what sampling needs of the weights computed, see `Preparable`."""
        self.eval()
        for module in self.modules():
            if isinstance(module, Preparable) and module is not self:
                module.prepare()
        self._prepared = True

    @property
    @abstractmethod
    def sequential_passes(self) -> int:
        """Passes through networks, one after the other, that a draw takes.

        A batch shares them, so that they rule the time of small batches.
        """

    def add_noise(self, quantities: Quantities, rng: torch.Generator) -> Quantities:
        """With the noise that gives what the stage writes a density; by default none."""
        return quantities

    def noise(self) -> Noise | None:
        """What an empty entry of `writes` holds after `add_noise`; by default nothing known."""
        return None

    def log_prob(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        """Log-density of what the stage writes, given what it reads; only flows have one.

        Args:
            quantities: with the noise of all stages, in MeV.
            upstream: the stages of `needs`.
            rng: for what a network sees beside them, such as padding.

        Returns:
            In double precision and MeV^-1 for each entry of `writes`, shape (n,); minus infinity
            for what the stage cannot draw.

        Raises:
            NotImplementedError: for stages that have none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no density: only flows have one")

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
        calibrations: what is fitted after training, in the order in which it is applied.
        n_redrawn: draws that a stage rejected since the system was built or loaded.
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
        self.calibrations: dict[str, Calibration] = {}
        self.n_redrawn = 0

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
        there = torch.empty(0, device=device)
        for part in (*self.stages.values(), *self.calibrations.values()):
            ready = isinstance(part, Stage) and part.is_prepared
            if not ready or next(part.parameters(), there).device != there.device:
                part.to(device)  # which drops what was prepared
        return self

    def calibrate(
        self,
        showers: VoxelShowers,
        *,
        seed: int,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        """Fit what is fitted after training, on showers that are drawn for it and discarded.

        Args:
            showers: the training sample.
            seed: of what is drawn.
            device: where to compute.
            progress: called with the name of a calibration, showers done and showers wanted.
        """
        for name, calibration in self.calibrations.items():
            if not calibration.is_fitted:
                counted = None if progress is None else partial(progress, name)
                calibration.fit(self, showers, seed=seed, device=device, progress=counted)

    @property
    def n_parameters(self) -> dict[str, int]:
        """Number of trainable parameters of each stage."""
        return {
            name: sum(weights.numel() for weights in stage.parameters())
            for name, stage in self.stages.items()
        }

    @property
    def sequential_passes(self) -> dict[str, int]:
        """Passes through networks, one after the other, that each stage takes to draw."""
        return {name: stage.sequential_passes for name, stage in self.stages.items()}

    @torch.inference_mode()
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
        self._check_finite(quantities)
        if "redrawn" in quantities:
            self.n_redrawn += int(quantities["redrawn"].sum())
        showers = self.assemble(quantities, chosen).flatten(1)
        showers = torch.where(showers < self.geometry.threshold, 0.0, showers)
        return VoxelShowers.from_dense(energies, showers.cpu().numpy(), self.geometry)

    def _check_finite(self, quantities: Quantities) -> None:
        # by sums and for all stages at once: an accelerator waits for what Python decides on
        written = [(name, key) for name, stage in self.stages.items() for key in stage.writes]
        sums = torch.stack([quantities[key].sum() for _, key in written])
        for (name, _), finite in zip(written, torch.isfinite(sums).tolist(), strict=True):
            if not finite:
                raise FloatingPointError(
                    f"the stage {name} drew values that are not finite: its training diverged, or "
                    "the incident energies lie far outside those it was trained on"
                )

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
        for stage in self.stages.values():
            if not stage.is_prepared:
                stage.prepare()
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

    def log_prob(
        self,
        showers: VoxelShowers,
        *,
        draws: int = 10,
        seed: int = 0,
        batch_size: int = 100,
        device: torch.device | str = "cpu",
    ) -> LogDensity:
        """Log-density of showers given their incident energies, `log_prob(showers).total`.

        The joint density of layer energies and voxels [MeV^-1 each] as the flows draw them, before
        post-processing and threshold. Empty voxels and layers have no density of their own: as in
        training they are filled with noise n, and all else is blurred by it. The value is

            < log p(showers + n | energy_inc) >,   log p = sum over stages of log p(writes | reads)

        averaged over draws of the noise: what training maximises. (The log of <p> would be that of
        the luckiest draw, as thousands of voxels are noise.) It is minus infinity for energies
        that the flows cannot draw, larger than any that they were trained on. The same seed, device
        and batch size give the same values.

        Args:
            showers: showers of the system's geometry.
            draws: draws of the noise.
            seed: every batch draws from its own generator, derived from the seed and its number.
            batch_size: showers looked at at once.
            device: where to compute.

        Returns:
            The density by stage, and the error that the finite number of draws leaves.

        Raises:
            ValueError: for showers of another geometry or none at all, and for systems with stages
                that have no density.
            FloatingPointError: if a stage gives densities that are no numbers.
        """
        stages = self.stages.items()
        without = [name for name, stage in stages if type(stage).log_prob is Stage.log_prob]
        if without:
            raise ValueError(f"{self.name} has no density: {', '.join(without)} are no flows")
        return log_density(
            self, showers, draws=draws, seed=seed, batch_size=batch_size, device=device
        )
