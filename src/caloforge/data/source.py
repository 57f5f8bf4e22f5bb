"""One or several files of showers as one source."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.data.files import open_file
from caloforge.data.hdf5 import ShowerFileError
from caloforge.data.showerfile import ShowerFile
from caloforge.geometry import Geometry
from caloforge.showers import Floats, Particles, Showers, checked_rows, fingerprint, runs

__all__ = ["FileSource", "open_source"]


class FileSource:
    """Showers of several files, one after the other; no more than one of them is open.

    Another process gets the paths, not the showers.

    Args:
        paths: the files, of any layout, all of one kind and geometry.
        geometry: of the showers, or the name of a preset; needed only where the files do not say.

    Attributes:
        paths: the files.
        geometry: of the showers.
        particles: the incident particles, n.

    Raises:
        ShowerFileError: if one of them cannot be read, or there is none.
        ValueError: for files of different kinds or geometries.
    """

    def __init__(self, paths: Sequence[Path], geometry: Geometry | str | None = None) -> None:
        self.paths = tuple(paths)
        if not self.paths:
            raise ShowerFileError("expected one file of showers or more, got none")
        self._given = geometry
        self._open: tuple[int, ShowerFile[Any]] | None = None
        self._looked_at: set[int] = set()
        first = self._file(0)
        self.geometry: Geometry = first.geometry
        self._kind = type(first[:0])
        particles: list[Particles] = []
        for number, path in enumerate(self.paths):
            file = self._file(number)
            if file.geometry != self.geometry or type(file[:0]) is not self._kind:
                raise ValueError(
                    f"{path} holds {file[:0]!r}, {self.paths[0]} {first!r}: give files of one kind "
                    "and geometry"
                )
            particles.append(file.particles)
        self.particles = Particles.concatenate(particles)
        self._begins = np.cumsum([0, *map(len, particles)])

    def __reduce__(self) -> tuple[Any, ...]:
        # another process may be in another folder, and need not check the files again
        paths = tuple(Path(path).absolute() for path in self.paths)
        return type(self), (paths, self._given), {"_looked_at": set(range(len(paths)))}

    def __len__(self) -> int:
        return len(self.particles)

    def __repr__(self) -> str:
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"FileSource({len(self)} showers of {self.geometry.name}, {self.paths[0]}{more})"

    @property
    def energy_inc(self) -> Floats:
        """Incident energies [MeV], shape (n,)."""
        return self.particles.energy

    def __getitem__(self, selection: slice) -> Any:
        """Read a run of showers."""
        return self.take(np.arange(len(self))[selection])

    def take(self, rows: NDArray[np.integer[Any]], /) -> Showers:
        """See `ShowerSource`."""
        wanted, place = np.unique(checked_rows(rows, len(self)), return_inverse=True)
        cuts = np.searchsorted(wanted, self._begins)
        parts = [
            self._file(number).take(wanted[start:stop] - self._begins[number])
            for number, (start, stop) in enumerate(pairwise(cuts))
            if stop > start
        ]
        taken: Showers = self._kind.concatenate(parts or [self._file(0)[:0]])
        return taken[place]

    def blocks(self, size: int, /) -> Iterator[Showers]:
        """See `ShowerSource`; what looks wrong in a file is reported when it is first read."""
        runs(len(self), size)  # refuses a size that is none
        return self._blocks(size)

    def _blocks(self, size: int) -> Iterator[Showers]:
        rest = []  # of the file before
        missing = size
        for number in range(len(self.paths)):
            begin, end = 0, int(self._begins[number + 1] - self._begins[number])
            while end - begin >= missing:
                rest.append(self._run(number, begin, begin + missing))
                yield rest[0] if len(rest) == 1 else self._kind.concatenate(rest)
                begin, rest, missing = begin + missing, [], size
            if end > begin:
                rest.append(self._run(number, begin, end))
                missing -= end - begin
        if rest:
            yield self._kind.concatenate(rest)

    def fingerprint(self) -> str:
        """See `ShowerSource`."""
        return fingerprint(self)

    def close(self) -> None:
        """Close the file that is open; the next that is asked for opens it again."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _run(self, number: int, start: int, stop: int) -> Showers:
        file = self._file(number)
        file.warns = number not in self._looked_at
        run: Showers = file[start:stop]
        if stop == len(file):
            self._looked_at.add(number)
        return run

    def _file(self, number: int) -> ShowerFile[Any]:
        if self._open is None or self._open[0] != number:
            self.close()
            self._open = number, open_file(self.paths[number], self._given)
        return self._open[1]


def open_source(
    paths: str | Path | Sequence[str | Path], geometry: Geometry | str | None = None
) -> FileSource:
    """The showers of a file, or of several in the order of their names.

    Example:
        >>> showers = open_source("train_*.h5")  # doctest: +SKIP

    Args:
        paths: a file, a pattern such as "train_*.h5", or several of them.
        geometry: of the showers, or the name of a preset; needed only where the files do not say.

    Raises:
        ShowerFileError: if a file cannot be read, or a pattern fits none.
        ValueError: for a file that is named twice, or files of different kinds or geometries.
    """
    given = [paths] if isinstance(paths, str | Path) else paths
    found = sorted(path for each in given for path in _matching(each))
    twice = {str(one) for one, other in pairwise(found) if one == other}
    if twice:
        raise ValueError(f"{', '.join(sorted(twice))}: named twice, name every file once")
    return FileSource(found, geometry)


def _matching(path: str | Path) -> list[Path]:
    """The files that a pattern fits, or the one that is named."""
    if not glob.has_magic(str(path)) or Path(path).exists():
        return [Path(path)]
    found = [Path(match) for match in glob.glob(str(path))]
    if not found:
        raise ShowerFileError(f"no file fits the pattern {path}")
    return found
