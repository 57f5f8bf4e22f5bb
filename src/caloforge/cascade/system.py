"""The contract of a system: a cascade of stages that turns incident energies into showers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.asked import asked_particles, outside_trained
from caloforge.cascade.choices import Choice, check_offered, chosen, united
from caloforge.cascade.described import described, described_as_html
from caloforge.cascade.handed import handed, received
from caloforge.cascade.likelihood import LogDensity, log_density
from caloforge.cascade.quantities import Quantities, of_particles
from caloforge.cascade.seeds import Branch, Seeds
from caloforge.cascade.stage import Correction, Stage
from caloforge.cascade.trained import TrainedRange
from caloforge.cascade.usual import UsualParticle
from caloforge.devices import find_device
from caloforge.geometry import Geometry
from caloforge.showers import Particles, Showers, ShowerSource, VoxelShowers, check_units
from caloforge.upload import upload

__all__ = ["System"]


class System(ABC):
    """An ordered set of stages that turns incident energies into showers.

    Subclasses build their stages from a configuration, a frozen dataclass named `Config`.

    Attributes:
        name: name of the system, such as "l2lflows".
        kind: of the showers that it samples and learns from, `VoxelShowers` or `PointShowers`.
        sizes: names of its presets.
        fixed_geometries: name of the geometry of each preset that is for one geometry alone.
        default_geometry: name of the geometry that the other presets are described for.
        papers: where it was published, such as "arXiv:2405.20407".
        config: the configuration.
        geometry: the voxels, or the detector in whose layers points lie.
        seed: of its initial weights.
        usual: direction and kind of the particles that it was trained on.
        stages: the stages, in sampling order.
        trained: what it was trained on; None where that is not known.
        n_rejected: samples that a stage rejected since the system was built or loaded.
    """

    name: ClassVar[str]
    kind: type[Any]
    Config: ClassVar[type[Any]]
    sizes: ClassVar[tuple[str, ...]]
    fixed_geometries: ClassVar[Mapping[str, str]] = {}
    default_geometry: ClassVar[str] = "calochallenge-2"
    papers: ClassVar[tuple[str, ...]] = ()
    seed: int = 0
    usual: UsualParticle = UsualParticle()
    trained: TrainedRange | None = None

    def __init__(self, config: Any, geometry: Geometry) -> None:
        self.config = config
        self.geometry = geometry
        self.stages: dict[str, Stage] = {}
        self.n_rejected = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return received, (handed(self),)

    def __repr__(self) -> str:
        return described(self)

    def _repr_html_(self) -> str:
        return described_as_html(self)

    @classmethod
    @abstractmethod
    def preset(cls, size: str, geometry: Geometry) -> Any:
        """The configuration of a preset for a geometry.

        Raises:
            ValueError: for an unknown preset, or a geometry that the system cannot take.
        """

    @abstractmethod
    def showers(self, quantities: Quantities, options: SamplingOptions) -> Showers:
        """The showers of sampled quantities."""

    def training_sample(self, showers: ShowerSource[Any]) -> ShowerSource[Any]:
        """What the stages learn from; by default the showers themselves.

        Args:
            showers: the training sample.
        """
        return showers

    @property
    def is_directed(self) -> bool:
        """Whether a stage is conditioned on the direction of the incident particle."""
        return any("direction" in stage.reads for stage in self.stages.values())

    def upstream(self, stage: str) -> dict[str, Stage]:
        """The stages that a stage needs."""
        return {name: self.stages[name] for name in self.stages[stage].needs}

    def to(self, device: torch.device | str) -> System:
        """Move all stages to a device."""
        there = torch.empty(0, device=device)
        for stage in self.stages.values():
            if not stage.is_prepared or next(stage.parameters(), there).device != there.device:
                stage.to(device)  # which drops what was prepared
        return self

    def prepare(self, device: torch.device | str = "auto") -> str:
        """Ready to sample on a device, see `find_device`, whose name it gives.

        Raises:
            ValueError: for an accelerator that is not there.
        """
        place = find_device(device)
        self.to(place)
        for stage in self.stages.values():
            if not stage.is_prepared:
                stage.prepare()
        return place

    @property
    def n_parameters(self) -> dict[str, int]:
        """Number of trainable parameters of each stage."""
        return {
            name: sum(weights.numel() for weights in stage.parameters())
            for name, stage in self.stages.items()
        }

    @property
    def sequential_passes(self) -> dict[str, int]:
        """Passes through networks, one after the other, that each stage takes to sample."""
        return self.passes()

    def passes(self, options: Mapping[str, Any] | None = None) -> dict[str, int]:
        """`sequential_passes` with what a user chooses at generation."""
        chosen = self.chosen(options)
        return {name: stage.passes(chosen) for name, stage in self.stages.items()}

    @property
    def choices(self) -> Mapping[str, Choice]:
        """What it lets a user choose at generation, by name: by default all that its stages do.

        Raises:
            ValueError: if two stages offer different choices by one name.
        """
        return united({name: stage.choices for name, stage in self.stages.items()})

    def chosen(self, options: Mapping[str, Any] | None = None) -> SamplingOptions:
        """All of its choices: those of the options, or by default.

        Raises:
            ValueError: for a choice that it does not offer, or what a choice does not take.
        """
        given, choices = options or {}, self.choices
        check_offered(self.name, choices, given)
        return chosen(choices, given)

    @torch.inference_mode()
    def draw(
        self,
        particles: Particles | ArrayLike,
        *,
        seeds: Seeds,
        options: Mapping[str, Any] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> Showers:
        """Sample one batch of showers, `resample` for each incident particle.

        Args:
            particles: n incident particles, or their energies [MeV], shape (n,).
            seeds: of the n showers, on the device where the stages are.
            options: what a user chooses at generation, of `choices`.
            given: quantities that are known, first dimension n; stages up to the last that writes
                some of them are left out.

        Raises:
            ValueError: for options that the system does not offer, or if it samples less than its
                stages need.
            FloatingPointError: if a stage samples values that are not finite.
        """
        chosen = self.chosen(options)
        quantities = self.quantities(particles, seeds=seeds, options=chosen, given=given)
        self._check_finite(quantities)
        if "rejected" in quantities:
            self.n_rejected += int(quantities["rejected"].sum()) // chosen.get("resample", 1)
        return self.showers(quantities, chosen)

    def quantities(
        self,
        particles: Particles | ArrayLike,
        *,
        seeds: Seeds,
        options: Mapping[str, Any] | None = None,
        given: Mapping[str, Tensor] | None = None,
        before: str | None = None,
    ) -> Quantities:
        """Sample the quantities that the stages write, of one batch.

        Args:
            particles: as for `draw`.
            seeds: of the n showers, on the device where the stages are.
            options: what a user chooses at generation, of `choices`.
            given: as for `draw`.
            before: the stage to stop at; None for all.

        Raises:
            ValueError: as for `draw`.
        """
        chosen = self.chosen(options)
        times = chosen.get("resample", 1)
        quantities = of_particles(Particles.of(particles)) | dict(given or {})
        read = {"energy_inc", *(given or {})}.union(*(s.reads for s in self.stages.values()))
        quantities = {  # what no stage reads is not copied to the device
            name: upload(values, seeds.device) if name in read else values
            for name, values in quantities.items()
        }
        stages = self._wanted(quantities, chosen, before)
        shapes = {name: s.latent_shape for name, s in stages.items() if s.latent_shape is not None}
        latents = seeds.normals(shapes)
        for name, stage in stages.items():
            if stage.training:
                stage.eval()
            if missing := [read for read in stage.reads if read not in quantities]:
                raise ValueError(
                    f"the stage {name} needs {', '.join(missing)}, which no stage of this "
                    f"{self.name} samples: give them, such as coarse showers to upsample"
                )
            if times > 1 and "resample" in stage.choices:
                quantities = {k: q.repeat_interleave(times, 0) for k, q in quantities.items()}
                seeds, latents, times = seeds.repeat(times), {}, 1
            own, z = reduce(Seeds.branch, stage.seeded or (name,), seeds), latents.get(name)
            quantities |= stage.sample(quantities, self.upstream(name), own, chosen, z)
        return quantities

    def _wanted(
        self, known: Quantities, options: SamplingOptions, before: str | None
    ) -> dict[str, Stage]:
        """The stages after the last that writes known quantities, up to one to stop at.

        Corrections are left out until they are fitted, and without post-processing.
        """
        stages = list(self.stages.items())
        written = [i for i, (_, s) in enumerate(stages) if s.writes and known.keys() >= {*s.writes}]
        end = len(stages) if before is None else list(self.stages).index(before)
        return {
            name: stage
            for name, stage in stages[max(written, default=-1) + 1 : end]
            if not isinstance(stage, Correction) or (stage.is_fitted and options.postprocess)
        }

    def _check_finite(self, quantities: Quantities) -> None:
        # by sums and for all stages at once: an accelerator waits for what Python decides on
        written = [
            (name, key)
            for name, stage in self.stages.items()
            for key in stage.writes
            if key in quantities  # stages above given quantities are left out
        ]
        sums = torch.stack([quantities[key].sum() for _, key in written])
        for (name, _), finite in zip(written, torch.isfinite(sums).tolist(), strict=True):
            if not finite:
                raise FloatingPointError(
                    f"the stage {name} sampled values that are not finite: its training diverged, "
                    "or the incident energies lie far outside those it was trained on"
                )

    def stream(
        self,
        particles: Particles | ArrayLike,
        *,
        seed: int,
        batch_size: int = 100,
        first: int = 0,
        device: torch.device | str = "auto",
        options: Mapping[str, Any] | None = None,
        branch: Branch = Branch.GENERATION,
        strict: bool = False,
    ) -> Iterator[Showers]:
        """Sample showers batch by batch: `generate` says what is not said here.

        Args:
            first: number of the first shower, not 0 where a longer job is taken up in its middle.
            branch: what the showers are for: only those of one branch are the same.

        Raises:
            ValueError: as for `generate`.
        """
        asked = asked_particles(self, particles)
        outside_trained(self, asked, strict=strict)
        return self.batches(
            asked,
            seed=seed,
            batch_size=batch_size,
            first=first,
            branch=branch,
            device=device,
            options=options,
        )

    def batches(
        self,
        asked: Particles,
        *,
        seed: int,
        batch_size: int = 100,
        first: int = 0,
        branch: Branch = Branch.GENERATION,
        device: torch.device | str = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> Iterator[Showers]:
        """Sample showers as `stream` does, of particles that were checked before.

        Args:
            asked: what `asked_particles` gave.
            branch: what the showers are for: with one seed, those of two branches are independent.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        options = self.chosen(options)
        place = find_device(device)
        seeds = Seeds.of(seed, np.arange(first, first + len(asked)), place, branch)

        def sampled() -> Iterator[Showers]:
            self.prepare(place)
            for start in range(0, len(asked), batch_size):
                part = slice(start, start + batch_size)
                yield self.draw(asked[part], seeds=seeds[part], options=options)

        return sampled()

    def generate(
        self,
        particles: Particles | ArrayLike,
        *,
        seed: int,
        batch_size: int = 100,
        device: torch.device | str = "auto",
        options: Mapping[str, Any] | None = None,
        strict: bool = False,
    ) -> Showers:
        """Generate showers, one (or `options.resample`) for each incident particle.

        A shower depends on the seed and its number alone: the batch size, other showers and the
        device change no more than the rounding.

        Args:
            particles: n incident particles, or their energies [MeV], shape (n,), for particles of
                the direction and kind of the training sample.
            seed: every shower has a generator of its own, made of the seed and its number.
            batch_size: showers sampled at once.
            device: where to compute; by default the accelerator if there is one.
            options: what a user chooses at generation, of `choices`.
            strict: refuse particles outside the trained range, or of another kind.

        Raises:
            ValueError: for particles that `Particles` refuses, or of directions that the system
                does not have, or if there are none, and see `strict`.

        Warns:
            UnitsWarning: if the energies look as if they were not in MeV.
            ExtrapolationWarning: for particles outside the trained range, or of another kind.
        """
        asked = asked_particles(self, particles)
        check_units("energies to generate for", self.geometry, asked.energy)
        batches = self.stream(
            asked,
            seed=seed,
            batch_size=batch_size,
            device=device,
            options=options,
            strict=strict,
        )
        showers: Showers = self.kind.concatenate(list(batches))
        return showers

    def log_prob(
        self,
        showers: VoxelShowers,
        *,
        noise_samples: int = 10,
        seed: int = 0,
        batch_size: int = 100,
        device: torch.device | str = "auto",
    ) -> LogDensity:
        """Log-density of showers given their incident energies, see `log_density`.

        Warns:
            ExtrapolationWarning: for particles outside the trained range.
        """
        density = log_density(
            self,
            showers,
            noise_samples=noise_samples,
            seed=seed,
            batch_size=batch_size,
            device=find_device(device),
        )
        outside_trained(self, showers.particles)
        return density
