"""What every file of showers offers, whatever its layout: reading and writing in a stream."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry, geometry_preset, geometry_presets
from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["ShowerFile", "ShowerFileError", "ShowerWriter"]

Showers = TypeVar("Showers", VoxelShowers, PointShowers)

FORMAT_VERSION = 1
COMPRESSION: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


class ShowerFileError(ValueError):
    """A file of showers cannot be read as asked; the file itself is never changed."""


class ShowerFile(ABC, Generic[Showers]):
    """An open file of showers, read slice by slice.

    Args:
        path: the file.
        geometry: the voxels, or the name of a preset; needed only where the file does not say.

    Raises:
        ShowerFileError: if the file is missing, truncated, of another layout or geometry.
    """

    def __init__(self, path: str | Path, geometry: Geometry | str | None = None) -> None:
        self.path = Path(path)
        self._file = open_hdf5(self.path)
        try:
            self._check_version()
            self.attributes: dict[str, Any] = {
                name: value.item() if isinstance(value, np.generic) else value
                for name, value in self._file.attrs.items()
            }
            self._n_showers = self._count_showers()
            self._open(geometry_preset(geometry) if isinstance(geometry, str) else geometry)
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _open(self, geometry: Geometry | None) -> None:
        """Check the layout."""

    @abstractmethod
    def _read(self, start: int, stop: int) -> Showers:
        """Read showers start … stop - 1."""

    def __len__(self) -> int:
        return self._n_showers

    def __getitem__(self, selection: slice) -> Showers:
        """Read a run of showers.

        Raises:
            ShowerFileError: if what is stored there is damaged or not physical.
        """
        start, stop, step = selection.indices(len(self))
        if step != 1:
            raise ValueError(f"a file is read in runs without step, got step {step}")
        try:
            return self._read(start, max(start, stop))
        except (OSError, ValueError) as error:
            raise ShowerFileError(f"{self.path}, showers {start} to {stop}: {error}") from error

    def batches(self, size: int) -> Iterator[Showers]:
        """Read the file in runs of up to `size` showers."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    @property
    def energy_inc(self) -> NDArray[np.float32]:
        """Incident energies [MeV] of all showers, shape (n,)."""
        return self._incident(0, len(self))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _incident(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.asarray(self._file["incident_energies"][start:stop], np.float32).reshape(-1)

    def _check_version(self) -> None:
        version = int(self._file.attrs.get("format_version", FORMAT_VERSION))
        if version != FORMAT_VERSION:
            raise ShowerFileError(
                f"{self.path} has format_version {version}, this caloforge reads {FORMAT_VERSION}: "
                "update caloforge"
            )

    def _count_showers(self) -> int:
        energies = self._dataset("incident_energies")
        if energies.ndim > 2 or (energies.ndim == 2 and energies.shape[1] != 1):
            raise ShowerFileError(
                f"{self.path}: incident_energies must have shape (n, 1), got {energies.shape}"
            )
        return int(energies.shape[0])

    def _dataset(self, name: str) -> h5py.Dataset:
        if not isinstance(self._file.get(name), h5py.Dataset):
            raise ShowerFileError(
                f"{self.path} has no dataset {name!r}; it holds {', '.join(self._file) or 'nothing'}"
            )
        return self._file[name]

    def _find_geometry(self, given: Geometry | None, n_voxels: int | None = None) -> Geometry:
        """The geometry that the file names, or the given one; both must agree."""
        named = self.attributes.get("geometry")
        stored: Geometry | None = None
        if "geometry_definition" in self.attributes:
            stored = Geometry.from_dict(json.loads(self.attributes["geometry_definition"]))
        elif named in geometry_presets():
            stored = geometry_preset(str(named))
        if given is not None and named is not None and given.name != named:
            raise ShowerFileError(
                f"{self.path} holds showers of {named}, not of {given.name}: "
                "leave the geometry out, or choose the right file"
            )
        geometry = given or stored
        if geometry is None:
            like = [
                name for name in geometry_presets() if geometry_preset(name).n_voxels == n_voxels
            ]
            hint = f" ({n_voxels} voxels, as in {' and '.join(like)})" if like else ""
            raise ShowerFileError(
                f"{self.path} does not say a geometry that is known here{hint}: "
                f"give one, for example geometry={(like or ['calochallenge-2'])[0]!r}"
            )
        if n_voxels is not None and geometry.n_voxels != n_voxels:
            raise ShowerFileError(
                f"{self.path} has {n_voxels} voxels a shower, {geometry.name} has "
                f"{geometry.n_voxels}: choose the geometry that the file was made with"
            )
        return geometry


class ShowerWriter(ABC, Generic[Showers]):
    """A file of showers being written in a stream.

    Args:
        path: where to write; an unfinished file belongs under a temporary name, see `replacing`.
        attributes: written to the root of the file.
    """

    def __init__(self, path: str | Path, attributes: Mapping[str, Any]) -> None:
        self._file = h5py.File(path, "w")
        self._file.attrs["format_version"] = FORMAT_VERSION
        for name, value in attributes.items():
            self._file.attrs[name] = value
        self._incident = growing(self._file, "incident_energies", np.float32, (1,))

    @abstractmethod
    def append(self, showers: Showers) -> None:
        """Write showers behind those already written."""

    def _name_geometry(self, geometry: Geometry) -> None:
        self._file.attrs["geometry"] = geometry.name
        known = geometry.name in geometry_presets()
        if not known or geometry_preset(geometry.name) != geometry:
            self._file.attrs["geometry_definition"] = json.dumps(geometry.to_dict())
        self._file.attrs["threshold_MeV"] = geometry.threshold

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        ShowerFileError: if it is missing, truncated or no HDF5 file.
    """
    if not path.is_file():
        raise ShowerFileError(f"there is no file {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ShowerFileError(
            f"{path} is no readable HDF5 file ({error}): it may be truncated; fetch or make it again"
        ) from error


def growing(
    group: h5py.Group, name: str, dtype: Any, shape: tuple[int, ...] = (), chunk: int = 1 << 16
) -> h5py.Dataset:
    """Create an empty, compressed dataset that grows along its first axis."""
    return group.create_dataset(
        name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(chunk, *shape), **COMPRESSION
    )


def extend(dataset: h5py.Dataset, values: NDArray[Any]) -> None:
    """Append values along the first axis."""
    start = dataset.shape[0]
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values
