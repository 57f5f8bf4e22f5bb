"""The particle gun: which particle, with which energy, from where and in which direction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.pdg import pdg_code
from caloforge.showers import ALONG_DEPTH

__all__ = ["PARTICLES", "EnergySpectrum", "Fixed", "Gun", "LogUniform", "Uniform"]

PARTICLES = ("e-", "e+", "gamma")
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class EnergySpectrum(ABC):
    """How the kinetic energies of the particles are distributed.

    As text it is its kind and its energies in MeV: `fixed:5e4`, `uniform:1e4:1e5`,
    `loguniform:1e3:1e6`.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def mean(self) -> float:
        """Mean energy [MeV]."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Sample n energies [MeV], shape (n,)."""

    def __str__(self) -> str:
        return ":".join([self.kind, *(repr(getattr(self, f.name)) for f in fields(self))])

    @staticmethod
    def parse(text: str) -> EnergySpectrum:
        """Read a spectrum from its text; a number alone is a fixed energy [MeV].

        Raises:
            ValueError: for any other text.
        """
        kind, *energies = text.split(":") if ":" in text else ("fixed", text)
        known: dict[str, type[EnergySpectrum]] = {s.kind: s for s in (Fixed, Uniform, LogUniform)}
        try:
            values = [float(energy) for energy in energies]
        except ValueError:
            values = []
        if kind not in known or len(values) != len(fields(known[kind])):
            raise ValueError(
                "an energy spectrum is fixed:<E>, uniform:<low>:<high> or loguniform:<low>:<high> "
                f"in MeV, got {text!r}: write for example loguniform:1e3:1e6"
            )
        return known[kind](*values)


@dataclass(frozen=True)
class Fixed(EnergySpectrum):
    """One energy for all particles.

    Args:
        value: kinetic energy [MeV].

    Raises:
        ValueError: if the energy is not positive.
    """

    value: float
    kind: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        if not 0 < self.value < np.inf:
            raise ValueError(f"Fixed needs a positive energy [MeV], got {self.value:g}")

    @property
    def mean(self) -> float:
        """Mean energy [MeV]."""
        return self.value

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """The energy n times [MeV], shape (n,)."""
        return np.full(n, self.value)


@dataclass(frozen=True)
class _Range(EnergySpectrum):
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < np.inf:
            raise ValueError(
                f"{type(self).__name__} needs 0 < low < high [MeV], got low = {self.low:g}, "
                f"high = {self.high:g}: write for example {self.kind}:1e3:1e5"
            )


@dataclass(frozen=True)
class Uniform(_Range):
    """Energies of constant density p(E) = 1 / (high - low).

    Args:
        low: lowest energy [MeV].
        high: highest energy [MeV].

    Raises:
        ValueError: unless 0 < low < high.
    """

    kind: ClassVar[str] = "uniform"

    @property
    def mean(self) -> float:
        """Mean energy [MeV]."""
        return (self.low + self.high) / 2

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Sample n energies [MeV], shape (n,)."""
        return rng.uniform(self.low, self.high, n)


@dataclass(frozen=True)
class LogUniform(_Range):
    """Energies of constant density in log E: p(E) = 1 / (E log(high / low)).

    Args:
        low: lowest energy [MeV].
        high: highest energy [MeV].

    Raises:
        ValueError: unless 0 < low < high.
    """

    kind: ClassVar[str] = "loguniform"

    @property
    def mean(self) -> float:
        """Mean energy (high - low) / log(high / low) [MeV]."""
        return (self.high - self.low) / float(np.log(self.high / self.low))

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Sample n energies [MeV], shape (n,)."""
        return np.exp(rng.uniform(np.log(self.low), np.log(self.high), n))


@dataclass(frozen=True)
class Gun:
    """Shoots particles at the detector, whose front face lies in the plane z = 0.

    Args:
        particle: "e-", "e+" or "gamma".
        energy: spectrum of the kinetic energy.
        position: where the particles start (x, y, z) [mm], z <= 0; (0, 0, 0) is the middle of the
            front face.
        direction: where they fly (x, y, z), of any length, z > 0.

    Raises:
        ValueError: for another particle, or a gun that does not point at the detector.
    """

    particle: str
    energy: EnergySpectrum
    position: Vector = (0.0, 0.0, -1.0)
    direction: Vector = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.particle not in PARTICLES:
            raise ValueError(
                f"the gun shoots {', '.join(PARTICLES)}, got {self.particle!r}: hadrons would need "
                "read-outs and data that this simulation does not have"
            )
        for name in ("position", "direction"):
            vector = np.asarray(getattr(self, name), dtype=np.float64)
            if vector.shape != (3,) or not np.isfinite(vector).all():
                raise ValueError(f"{name} must be three finite numbers (x, y, z), got {vector}")
            object.__setattr__(self, name, tuple(vector.tolist()))
        if self.position[2] > 0:
            raise ValueError(
                f"the gun must stand before the front face, z <= 0 mm, got position {self.position}"
            )
        if self.direction[2] <= 0:
            raise ValueError(
                f"the gun must point into the detector, z > 0, got direction {self.direction}"
            )
        length = float(np.linalg.norm(self.direction))
        object.__setattr__(self, "direction", tuple(u / length for u in self.direction))

    @property
    def pdg(self) -> NDArray[np.int32]:
        """Code of the particle, shape ()."""
        return np.array(pdg_code(self.particle), np.int32)

    def direction_in(self, axis: Literal["particle", "detector"]) -> NDArray[np.float32]:
        """The direction in the frame of a detector's voxels, shape (3,).

        It is along the depth for voxels that follow the particle, see `Detector`.
        """
        along = ALONG_DEPTH if axis == "particle" else self.direction
        return np.array(along, dtype=np.float32)

    @property
    def impact(self) -> tuple[float, float]:
        """Where the line of flight meets the front face (x, y) [mm]."""
        (x, y, z), (u_x, u_y, u_z) = self.position, self.direction
        return x - z * u_x / u_z, y - z * u_y / u_z

    def transverse_axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Unit vectors x', y' perpendicular to the direction, each of shape (3,).

        They are the detector's x and y, rotated by the smallest angle that takes z into the
        direction u: x' = (1 - u_x² a, -u_x u_y a, -u_x) with a = 1 / (1 + u_z), y' alike.
        """
        u_x, u_y, u_z = self.direction
        a = 1 / (1 + u_z)
        across = np.array([1 - u_x**2 * a, -u_x * u_y * a, -u_x])
        upward = np.array([-u_x * u_y * a, 1 - u_y**2 * a, -u_y])
        return across, upward
