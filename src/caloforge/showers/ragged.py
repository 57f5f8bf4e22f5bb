"""What voxels and points share: showers of any number of entries, cut out of one row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.geometry import Geometry
from caloforge.showers.fingerprint import fingerprint
from caloforge.showers.plausible import check_incident

__all__ = ["Floats", "RaggedShowers", "checked_rows"]

Selection = slice | ArrayLike
Floats = NDArray[np.floating[Any]]
"""Energies and positions: float32, or float64 where an array of float64 was given."""


def integers(name: str, values: ArrayLike) -> NDArray[np.integer[Any]]:
    given = np.asarray(values)
    if given.dtype.kind in "iu":
        return given
    if given.size:
        raise ValueError(f"{name} must hold integers, got {given.dtype}: convert it knowingly")
    return given.astype(np.int64)


def floats(values: ArrayLike) -> Floats:
    """Double precision where an array has it, else single."""
    given = np.asarray(values)
    if given.dtype == np.float64 and isinstance(values, np.ndarray):
        return given
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as such
        return given.astype(np.float32, copy=False)


class _InGeometry:
    geometry: Geometry  # a field that each kind of showers has behind its columns


@dataclass(frozen=True, eq=False)
class RaggedShowers(_InGeometry):
    """What voxels and points share: entries of all showers in one row, cut by `offset`.

    Attributes:
        of_showers: names of the arrays with one entry for each shower.
        columns: names of those that `offset` cuts.
    """

    energy_inc: Floats
    offset: NDArray[np.int64]

    of_showers: ClassVar[tuple[str, ...]] = ("energy_inc",)
    columns: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "energy_inc", floats(self.energy_inc))
        object.__setattr__(self, "offset", integers("offset", self.offset).astype(np.int64))
        if self.energy_inc.ndim != 1:
            raise ValueError(f"energy_inc must have shape (n,), got {self.energy_inc.shape}")
        if self.offset.shape != (len(self) + 1,):
            raise ValueError(
                f"offset must have shape ({len(self) + 1},) for {len(self)} showers, "
                f"got {self.offset.shape}"
            )
        if self.offset[0] != 0 or np.any(np.diff(self.offset) < 0):
            raise ValueError(
                "offset must begin at 0 and never fall: it counts entries shower by shower"
            )
        for name in self.columns:
            shape = getattr(self, name).shape
            if shape != (self.offset[-1],):
                raise ValueError(
                    f"{name} must have shape ({self.offset[-1]},) as offset says, got {shape}"
                )
        check_incident(self.energy_inc)

    def __len__(self) -> int:
        return len(self.energy_inc)

    def __getitem__(self, selection: Selection) -> Self:
        """Select showers by slice, indices or mask."""
        if isinstance(selection, slice) and selection.step in (None, 1):
            return self._run(*selection.indices(len(self))[:2])
        showers = self._numbers(selection)
        offset, entries = entries_of(self.offset, showers)
        return dataclasses.replace(
            self,
            offset=offset,
            **{name: getattr(self, name)[showers] for name in self.of_showers},
            **{name: getattr(self, name)[entries] for name in self.columns},
        )

    def _run(self, start: int, stop: int) -> Self:
        """Consecutive showers, without a copy."""
        stop = max(start, stop)
        first, last = self.offset[start], self.offset[stop]
        return dataclasses.replace(
            self,
            offset=self.offset[start : stop + 1] - first,
            **{name: getattr(self, name)[start:stop] for name in self.of_showers},
            **{name: getattr(self, name)[first:last] for name in self.columns},
        )

    def _numbers(self, selection: Selection) -> NDArray[np.int64]:
        numbers = np.arange(len(self))
        if isinstance(selection, slice):
            return numbers[selection]
        wanted = np.atleast_1d(np.asarray(selection))
        if wanted.dtype == bool and wanted.shape != numbers.shape:
            raise IndexError(f"a mask must have shape {numbers.shape}, got {wanted.shape}")
        chosen: NDArray[np.int64] = numbers[wanted if wanted.size else slice(0)]
        return chosen

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join showers of one geometry, in order.

        Raises:
            ValueError: if there is nothing to join, or the geometries differ.
        """
        if not parts:
            raise ValueError(f"concatenate needs at least one {cls.__name__}, got none")
        for part in parts[1:]:
            if part.geometry != parts[0].geometry:
                raise ValueError(
                    f"showers of {parts[0].geometry.name} and {part.geometry.name} cannot be "
                    "joined: project or simulate them in one geometry"
                )
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (*cls.of_showers, *cls.columns)
        }
        counts = np.concatenate([np.diff(part.offset) for part in parts])
        return dataclasses.replace(parts[0], offset=offsets(counts), **joined)

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take [bytes]."""
        arrays = (getattr(self, field.name) for field in dataclasses.fields(self))
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

    def take(self, rows: NDArray[np.integer[Any]], /) -> Self:
        """The showers of these numbers, see `ShowerSource`."""
        return self[checked_rows(rows, len(self))]

    def blocks(self, size: int, /) -> Iterator[Self]:
        """Runs of up to `size` showers, in order."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    batches = blocks

    def fingerprint(self) -> str:
        """Hash of all numbers, see `fingerprint`."""
        return fingerprint(self)

    def event(self) -> NDArray[np.int64]:
        """Shower that each entry belongs to, shape (n_entries,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))


def checked_rows(rows: ArrayLike, n: int) -> NDArray[np.int64]:
    """Numbers of showers, of which there are n.

    Raises:
        IndexError: for a number that is not there.
    """
    numbers = integers("rows", rows).astype(np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < n:
        raise IndexError(
            f"there are showers 0 to {n - 1}, asked for {numbers.min()} to {numbers.max()}"
        )
    return numbers


def sums(key: NDArray[np.integer[Any]], energy: Floats, n_keys: int) -> NDArray[np.float64]:
    """Sum of the energies of each key, in double precision."""
    return np.asarray(np.bincount(key, weights=energy, minlength=n_keys), dtype=np.float64)


def entries_of(
    offset: NDArray[np.int64], showers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries of chosen showers, in their order.

    Args:
        offset: first entry of each shower and, last, the number of entries, shape (n + 1,).
        showers: their numbers, shape (n_chosen,).

    Returns:
        The offset among the chosen entries, shape (n_chosen + 1,), and the numbers of the entries.
    """
    counts = np.diff(offset)[showers]
    chosen = offsets(counts)
    return chosen, np.arange(chosen[-1]) + np.repeat(offset[showers] - chosen[:-1], counts)


def offsets(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """First entry of each shower and, last, the number of entries."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
