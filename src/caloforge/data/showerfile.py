"""The interface of files of showers to readers, for any layout."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.data.columns import (
    code_of,
    find_columns,
)
from caloforge.data.detector import agreed_geometry, unknown_geometry
from caloforge.data.hdf5 import (
    ShowerFileError,
    ShowerFileWarning,
    blaming,
    find,
    find_dataset,
    open_hdf5,
)
from caloforge.data.openfile import FORMAT_VERSION, REQUEST, Kind, OpenFile
from caloforge.geometry import Geometry, geometry_preset
from caloforge.showers import (
    ALONG_DEPTH,
    Floats,
    ImpossibleShowerError,
    Particles,
    VoxelShowers,
    check_incident,
    check_units,
    checked_rows,
    fingerprint,
    runs,
)
from caloforge.units import MeV

__all__ = [
    "ShowerFile",
    "ShowerFileError",
    "ShowerFileWarning",
    "VoxelFile",
]

_ENERGIES = 1 << 22  # incident energies checked at a time, 32 MB in double precision
_NEAR = 8  # showers between two wanted ones that are read along rather than left out
_UNLIKELY = 1e-3  # chance below which an end of empty showers is reported


class ShowerFile(OpenFile, ABC, Generic[Kind]):
    """An open file of showers, read slice by slice.

    Args:
        path: the file.
        geometry: the voxels, or the detector whose layers points lie in, or the name of a preset;
            needed only where the file does not say.

    Attributes:
        geometry: of the showers.
        warns: whether it warns of what looks wrong and may be right, such as energies in another
            unit than MeV.

    Raises:
        ShowerFileError: if the file is missing, truncated, of another layout or geometry.
    """

    geometry: Geometry
    warns: bool = True

    # names of the columns of the particles, which need not be there
    _optional: ClassVar[Mapping[str, str]] = {"direction": "direction", "pdg": "pdg"}
    _chosen: ClassVar[tuple[str, ...]] = ("warns", "clip_negative")  # when it was opened
    _chunk_cache: ClassVar[int] = 1 << 20  # of each dataset [bytes]
    _incident_name: ClassVar[str] = "incident_energies"
    _incident_unit: ClassVar[float] = MeV
    _usual_geometry: ClassVar[str] = "calochallenge-2"  # to name where the file does not say

    def __init__(self, path: str | Path, geometry: Geometry | str | None = None) -> None:
        wanted = geometry_preset(geometry) if isinstance(geometry, str) else geometry
        self._units_are_checked: bool = False
        self._open_head(Path(path))
        try:
            with blaming(self.path, "its head"):
                self._open(wanted)
        except BaseException:
            self._file.close()
            raise

    def _open_head(self, path: Path) -> None:
        """Open the file and read its metadata and the incident particles."""
        self.path: Path = path
        self._file = open_hdf5(self.path, chunk_cache=self._chunk_cache)
        try:
            with blaming(self.path, "its head"):
                self._check_version()
                self.attributes: dict[str, Any] = {
                    name: value.item() if isinstance(value, np.generic) else value
                    for name, value in self._file.attrs.items()
                }
                self._incident = self._find_incident()
                self._of_particles = find_columns(self._file, len(self), self._optional)
        except BaseException:
            self._file.close()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file itself."""
        chosen = {name: vars(self)[name] for name in self._chosen if name in vars(self)}
        return type(self), (self.path.absolute(), self.geometry), chosen

    @classmethod
    def read_particles(cls, path: str | Path) -> Particles:
        """The incident particles of all showers, for any geometry.

        Raises:
            ShowerFileError: if the file is missing, truncated, or holds no incident energies.
        """
        head = cls.__new__(cls)  # without the showers, which might not fit anything
        head._open_head(Path(path))
        try:
            return head.particles
        finally:
            head._file.close()

    @abstractmethod
    def _open(self, geometry: Geometry | None) -> None:
        """Check the layout and find the geometry."""

    @abstractmethod
    def _read(self, start: int, stop: int) -> Kind:
        """Read showers start … stop - 1, no more than `_at_once`."""

    @property
    def _at_once(self) -> int | None:
        """Showers that are read at a time, to bound the memory; None for any number."""
        return None

    def __len__(self) -> int:
        return int(self._incident.shape[0])

    def __getitem__(self, selection: slice) -> Kind:
        """Read a run of showers.

        Raises:
            ShowerFileError: if what is stored there is damaged or not physical.
        """
        start, stop, step = selection.indices(len(self))
        if step != 1:
            raise ValueError(f"a file is read in runs without step, got step {step}")
        stop = max(start, stop)
        self._check_incident(start, stop)
        showers = self._read_run(start, stop)
        if self.warns and len(showers):
            self._look_at(showers, start, stop)
        return showers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}: {len(self)} of {self.geometry.name})"

    def _read_run(self, start: int, stop: int) -> Kind:
        size = self._at_once or max(1, stop - start)
        starts = range(start, max(stop, start + 1), size)  # at least one, were it empty
        parts = [self._read_part(first, min(first + size, stop)) for first in starts]
        return _joined(parts)

    def take(self, rows: NDArray[np.integer[Any]], /) -> Kind:
        """Read the showers of these numbers, in this order; see `ShowerSource`.

        Raises:
            IndexError: for a number that is not there.
            ShowerFileError: if what is stored there is damaged or not physical.
        """
        wanted, place = np.unique(checked_rows(rows, len(self)), return_inverse=True)
        if not wanted.size:
            return self._read_run(0, 0)
        near = np.split(wanted, np.flatnonzero(np.diff(wanted) > _NEAR) + 1)
        parts = [self._read_run(run[0], run[-1] + 1)[run - run[0]] for run in near]
        return _joined(parts)[place]

    def fingerprint(self) -> str:
        """Hash of all showers, see `caloforge.showers.fingerprint`."""
        return fingerprint(self)

    def blocks(self, size: int, /) -> Iterator[Kind]:
        """Read the file in runs of up to `size` showers.

        Raises:
            ShowerFileError: if any shower has no possible incident energy, before it is read.
            ValueError: for a size below 1.
        """
        self._check_incident(0, len(self))
        return (self[run] for run in runs(len(self), size))

    batches = blocks

    @property
    def energy_inc(self) -> Floats:
        """Incident energies [MeV] of all showers, shape (n,)."""
        self._check_incident(0, len(self))
        with blaming(self.path, self._incident_name):
            return self._read_incident(0, len(self))

    @property
    def particles(self) -> Particles:
        """The incident particles of all showers."""
        self._check_incident(0, len(self))
        with blaming(self.path, "its particles"):
            columns = self._read_particles(0, len(self))
            return Particles(columns["energy_inc"], columns["direction"], columns["pdg"])

    @property
    def passed_on(self) -> dict[str, Any]:
        """The attributes that hold for what is made of the file's showers, too.

        The request of the job that wrote the file is its own: with it another file would count as
        what that job was to write.
        """
        return {name: value for name, value in self.attributes.items() if name != REQUEST}

    def column(self, name: str) -> NDArray[Any] | None:
        """A number for each shower that was written with them, shape (n,); None if not there.

        Raises:
            ShowerFileError: if it has another shape or is damaged.
        """
        if find(self._file, name) is None:
            return None
        with blaming(self.path, name):
            values = np.asarray(self._dataset(name))
            if values.shape != (len(self),):
                raise ShowerFileError(
                    f"{self.path}: {name} must have shape ({len(self)},), got {values.shape}"
                )
            return values

    def _read_part(self, start: int, stop: int) -> Kind:
        with blaming(self.path, f"showers {start} to {stop}"):
            try:
                return self._read(start, stop)
            except ImpossibleShowerError as error:
                raise ShowerFileError(f"{self.path}, {error.counted_from(start)}") from error

    def _check_incident(self, start: int, stop: int) -> None:
        """Refuse impossible incident energies before anything else is read of their showers."""
        for first in range(start, stop, _ENERGIES):
            with blaming(self.path, self._incident_name):
                energies = self._read_incident(first, min(first + _ENERGIES, stop))
            try:
                check_incident(energies)
            except ImpossibleShowerError as error:
                raise ShowerFileError(f"{self.path}, {error.counted_from(first)}") from error

    def _look_at(self, showers: Kind, start: int, stop: int) -> None:
        if not self._units_are_checked:
            self._units_are_checked = True
            check_units(
                str(self.path),
                self.geometry,
                showers.energy_inc,
                showers.total_energy(),
                stacklevel=5,
            )
        if stop == len(self):
            self._check_end(start, np.diff(showers.offset))

    def _check_end(self, start: int, counts: NDArray[np.int64]) -> None:
        """Warn where the last showers are empty and those before are not.

        A file that was reserved by a writer that died ends so. If k showers at the end are empty
        and m of the n before them, Laplace's rule gives the next k the chance
        ((m + 1) / (n + 2))^k to be empty.
        """
        while start and not counts.any():
            before = max(0, start - len(counts))
            counts = np.concatenate([np.diff(self._read_part(before, start).offset), counts])
            start = before
        full = np.flatnonzero(counts)
        n = int(full[-1]) + 1 if full.size else 0
        k, m = len(counts) - n, n - full.size
        if k * np.log((m + 1) / (n + 2)) < np.log(_UNLIKELY):
            before_them = f", and {m} of the {n} before them have none" if n else ""
            warnings.warn(
                f"{self.path}: showers {len(self) - k} to {len(self) - 1}, its last, have no "
                f"energy in any voxel or point{before_them}: was the file reserved, and never "
                "filled by a writer that died?",
                ShowerFileWarning,
                stacklevel=4,
            )

    def _read_incident(self, start: int, stop: int) -> Floats:
        energies = np.asarray(self._incident[start:stop]).reshape(-1) * self._incident_unit
        return energies if energies.dtype == np.float64 else energies.astype(np.float32)

    def _read_particles(self, start: int, stop: int) -> dict[str, Any]:
        """The columns of the incident particles of showers start … stop - 1.

        What a file does not say is the default: along the depth, and of the kind that its attribute
        `particle` names, if any.
        """
        said = {name: d[start:stop] for name, d in self._of_particles.items()}
        default = {"direction": ALONG_DEPTH, "pdg": code_of(self.attributes.get("particle"))}
        return {"energy_inc": self._read_incident(start, stop), **default, **said}

    def _check_version(self) -> None:
        version = self._file.attrs.get("format_version", FORMAT_VERSION)
        # others may mean something else by it, and write "1.0"
        if isinstance(version, int | np.integer) and version != FORMAT_VERSION:
            raise ShowerFileError(
                f"{self.path} has format_version {version}, this caloforge reads {FORMAT_VERSION}: "
                "update caloforge"
            )

    def _find_incident(self) -> h5py.Dataset:
        energies = self._dataset(self._incident_name)
        if energies.ndim == 0 or energies.shape[1:] not in ((), (1,)):
            raise ShowerFileError(
                f"{self.path}: {self._incident_name} must have shape (n, 1), got {energies.shape}"
            )
        return energies

    def _dataset(self, name: str) -> h5py.Dataset:
        return find_dataset(self._file, name)

    def _find_geometry(
        self, given: Geometry | None, n_voxels: int | None = None, usual: Geometry | None = None
    ) -> Geometry:
        """The given geometry, or else what the file says, or else the usual one of its kind."""
        geometry = agreed_geometry(self.path, self.attributes, given) or usual
        if geometry is None:
            raise unknown_geometry(self.path, self.attributes, n_voxels, self._usual_geometry)
        if n_voxels is not None and geometry.n_voxels != n_voxels:
            raise ShowerFileError(
                f"{self.path} has {n_voxels} voxels a shower, {geometry.name} has "
                f"{geometry.n_voxels}: choose the geometry that the file was made with"
            )
        return geometry


def _joined(parts: Sequence[Kind]) -> Kind:
    return parts[0] if len(parts) == 1 else type(parts[0]).concatenate(parts)


VoxelFile = ShowerFile[VoxelShowers]
"""An open file of voxel showers."""
