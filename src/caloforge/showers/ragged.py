"""What voxels and points share: showers of any number of entries, cut out of one row."""

from __future__ import annotations

import dataclasses
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

import caloforge
from caloforge.geometry import Geometry
from caloforge.pdg import NOT_KNOWN
from caloforge.showers.fingerprint import fingerprint
from caloforge.showers.particles import ALONG_DEPTH, Floats, Particles, Selection, row_numbers

__all__ = ["RaggedShowers", "checked_rows"]


def integers(name: str, values: ArrayLike) -> NDArray[np.integer[Any]]:
    given = np.asarray(values)
    if given.dtype.kind in "iu":
        return given
    if given.size:
        raise ValueError(f"{name} must hold integers, got {given.dtype}: convert it knowingly")
    return given.astype(np.int64)


class _InGeometry:
    geometry: Geometry  # a field that each kind of showers has after its columns


@dataclass(frozen=True, eq=False)
class RaggedShowers(_InGeometry):
    """What voxels and points share: entries of all showers in one row, cut by `offset`.

    Every shower has its incident particle: `energy_inc`, `direction` and `pdg`, which `particles`
    holds together.

    Attributes:
        of_showers: names of the arrays with one entry for each shower.
        columns: names of those that `offset` cuts.
    """

    energy_inc: Floats
    offset: NDArray[np.int64]
    direction: Floats = field(default=ALONG_DEPTH, kw_only=True)  # type: ignore[arg-type]
    pdg: NDArray[np.int32] = field(default=NOT_KNOWN, kw_only=True)  # type: ignore[arg-type]

    of_showers: ClassVar[tuple[str, ...]] = ("energy_inc", "direction", "pdg")
    columns: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        particles = Particles(self.energy_inc, self.direction, self.pdg)
        object.__setattr__(self, "energy_inc", particles.energy)
        object.__setattr__(self, "direction", particles.direction)
        object.__setattr__(self, "pdg", particles.pdg)
        object.__setattr__(self, "offset", integers("offset", self.offset).astype(np.int64))
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

    @property
    def particles(self) -> Particles:
        """The incident particles, one a shower."""
        return Particles(self.energy_inc, self.direction, self.pdg)

    def of_particles(self) -> dict[str, NDArray[Any]]:
        """The columns of the incident particles, for other showers of the same ones."""
        return {name: getattr(self, name) for name in self.of_showers}

    def __len__(self) -> int:
        return len(self.energy_inc)

    def _repr_html_(self) -> str:
        """The first showers as a picture; text alone where matplotlib is not installed."""
        text = f"<p>{escape(repr(self))}</p>"
        if not len(self):
            return text
        try:
            figure = caloforge.draw_showers(self)  # type: ignore[arg-type]
        except ModuleNotFoundError:
            return text
        picture = BytesIO()
        figure.savefig(picture, format="png")
        data = b64encode(picture.getvalue()).decode("ascii")
        return f'{text}<img src="data:image/png;base64,{data}">'

    def __getitem__(self, selection: Selection) -> Self:
        """Select showers by slice, indices or mask."""
        if isinstance(selection, slice) and selection.step in (None, 1):
            return self._run(*selection.indices(len(self))[:2])
        showers = row_numbers(len(self), selection)
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
        """Runs of up to `size` showers, in order.

        Raises:
            ValueError: for a size below 1.
        """
        return (self[run] for run in runs(len(self), size))

    batches = blocks

    def fingerprint(self) -> str:
        """Hash of all numbers, see `fingerprint`."""
        return fingerprint(self)

    def event(self) -> NDArray[np.int64]:
        """Shower that each entry belongs to, shape (n_entries,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))


def runs(n: int, size: int) -> Iterator[slice]:
    """The runs of up to `size` of n showers, in order.

    Raises:
        ValueError: for a size below 1, when it is called.
    """
    if size < 1:
        raise ValueError(f"expected batches of 1 shower or more, got a size of {size}")
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


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
    begins = offset[showers]
    counts = offset[showers + 1] - begins
    chosen = offsets(counts)
    return chosen, np.arange(chosen[-1]) + np.repeat(begins - chosen[:-1], counts)


def offsets(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """First entry of each shower and, last, the number of entries."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
