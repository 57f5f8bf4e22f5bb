"""Incident particles: energy, direction and kind, one row a shower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.pdg import NOT_KNOWN, kinds_of, pdg_code
from caloforge.showers.plausible import check_incident

__all__ = ["ALONG_DEPTH", "Floats", "Particles", "Selection", "floats", "row_numbers"]

Selection = slice | ArrayLike
Floats = NDArray[np.floating[Any]]
"""Energies and positions: float32, or float64 where an array of float64 was given."""

ALONG_DEPTH = (0.0, 0.0, 1.0)
"""The direction of a particle that flies along the depth of the detector."""

_CODES = np.iinfo(np.int32)


def floats(values: ArrayLike) -> Floats:
    """Double precision where an array has it, else single."""
    given = np.asarray(values)
    if given.dtype == np.float64 and isinstance(values, np.ndarray):
        return given
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as such
        return given.astype(np.float32, copy=False)


def row_numbers(n: int, selection: Selection) -> NDArray[np.int64]:
    """The numbers of rows, of n, that a slice, indices or a mask select.

    Raises:
        IndexError: for a mask of another length, or a number that is not there.
    """
    numbers = np.arange(n)
    if isinstance(selection, slice):
        return numbers[selection]
    wanted = np.atleast_1d(np.asarray(selection))
    if wanted.dtype == bool and wanted.shape != numbers.shape:
        raise IndexError(f"a mask must have shape {numbers.shape}, got {wanted.shape}")
    chosen: NDArray[np.int64] = numbers[wanted if wanted.size else slice(0)]
    return chosen


def _unit_vectors(given: ArrayLike, n: int) -> Floats:
    """Directions, one for all particles or one for each, as shape (n, 3).

    Raises:
        ValueError: for another shape, or vectors that are not of length 1.
    """
    vectors = floats(given)
    if vectors.shape not in ((3,), (n, 3)):
        raise ValueError(
            f"direction must have shape (3,) for all showers or {(n, 3)} for each, got "
            f"{vectors.shape}"
        )
    length = np.linalg.norm(vectors, axis=-1)
    if not (np.abs(length - 1) < 1e-4).all():  # false for NaN
        raise ValueError(
            f"direction must hold vectors of length 1, got lengths from {length.min():.6g} to "
            f"{length.max():.6g}: divide them by their lengths"
        )
    return np.broadcast_to(vectors, (n, 3))


def _codes(given: ArrayLike, n: int) -> NDArray[np.int32]:
    """Codes of the Particle Data Group, one for all particles or one for each, as shape (n,)."""
    codes = np.asarray(pdg_code(given) if isinstance(given, str) else given)
    if codes.shape not in ((), (n,)):
        raise ValueError(
            f"pdg must have shape () for all showers or ({n},) for each, got {codes.shape}"
        )
    whole = codes.dtype.kind in "iu" or (codes.dtype.kind == "f" and (codes == codes.round()).all())
    if not whole or (codes.size and (codes.min() < _CODES.min or codes.max() > _CODES.max)):
        raise ValueError(
            "pdg must hold whole numbers, codes of the Particle Data Group such as 11 for e-, or "
            f"0 where the kind is not known, got {given!r}"
        )
    return np.broadcast_to(codes.astype(np.int32, copy=False), (n,))


@dataclass(frozen=True, eq=False)
class Particles:
    """Incident particles, one row a shower.

    Example:
        >>> Particles([1e4, 5e4], direction=[0.6, 0.0, 0.8], pdg="gamma")
        Particles(2 photons of 1e+04 to 5e+04 MeV)

    Args:
        energy: kinetic energy [MeV], above 0, shape (n,).
        direction: unit vectors along which they fly, with z along the depth of the detector, shape
            (n, 3), or (3,) for all; by default along z.
        pdg: codes of the Particle Data Group, shape (n,), or one for all, or a name such as "e-"
            (see `PDG_CODES`); 0, the default, where the kind is not known.

    Raises:
        ImpossibleShowerError: for energies that are not above 0 and finite; names the first.
        ValueError: for shapes that do not fit, directions that are no unit vectors, codes that are
            no whole numbers, or an unknown name.
    """

    energy: Floats
    direction: Floats = ALONG_DEPTH  # type: ignore[assignment]
    pdg: NDArray[np.int32] = NOT_KNOWN  # type: ignore[assignment]

    def __post_init__(self) -> None:
        energy = floats(self.energy)
        if energy.ndim != 1:
            raise ValueError(f"energy_inc must have shape (n,), got {energy.shape}")
        check_incident(energy)
        object.__setattr__(self, "energy", energy)
        object.__setattr__(self, "direction", _unit_vectors(self.direction, len(self)))
        object.__setattr__(self, "pdg", _codes(self.pdg, len(self)))

    @classmethod
    def of(cls, given: Particles | ArrayLike) -> Particles:
        """The particles themselves, or those of given energies [MeV], along z and of no kind.

        Raises:
            ValueError: for energies that are not of one dimension, or that the class refuses.
        """
        if isinstance(given, Particles):
            return given
        energies = np.asarray(given, dtype=np.float32)
        if energies.ndim != 1:
            raise ValueError(
                "energy_inc must be energies [MeV] of shape (n,), or particles, got shape "
                f"{energies.shape}"
            )
        return cls(energies)

    def __len__(self) -> int:
        return len(self.energy)

    def __getitem__(self, selection: Selection) -> Particles:
        """Select particles by slice, indices or mask."""
        chosen = (
            selection if isinstance(selection, slice) else row_numbers(len(self), selection)
        )  # a slice copies nothing
        return Particles(self.energy[chosen], self.direction[chosen], self.pdg[chosen])

    @classmethod
    def concatenate(cls, parts: Sequence[Particles]) -> Particles:
        """Join particles, in order.

        Raises:
            ValueError: if there is nothing to join.
        """
        if not parts:
            raise ValueError("concatenate needs at least one Particles, got none")
        names = ("energy", "direction", "pdg")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __repr__(self) -> str:
        span = f" of {self.energy.min():.4g} to {self.energy.max():.4g} MeV" if len(self) else ""
        return f"Particles({len(self)} {kinds_of(np.unique(self.pdg))}{span})"

    @property
    def kinds(self) -> tuple[int, ...]:
        """The codes that are there, in rising order, without that of those that are not known."""
        return tuple(code for code in np.unique(self.pdg).tolist() if code != NOT_KNOWN)

    @property
    def are_along_depth(self) -> bool:
        """Whether all fly along the depth of the detector."""
        return bool((self.direction == np.array(ALONG_DEPTH, np.float32)).all())
