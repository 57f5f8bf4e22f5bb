"""Files of showers being written in a stream, in any layout."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.data.columns import (
    COLUMNS,
    COMPRESSION,
    ROWS,
    extend,
    extend_columns,
    growing,
)
from caloforge.data.openfile import FORMAT_VERSION, Kind, OpenFile
from caloforge.data.replacing import FULL, NoSpaceError
from caloforge.data.sink import Sink
from caloforge.geometry import Geometry, geometry_preset, geometry_presets
from caloforge.processes import uninterrupted
from caloforge.showers import (
    VoxelShowers,
)

__all__ = ["ShowerWriter", "VoxelWriter", "geometry_attributes"]


class ShowerWriter(OpenFile, ABC, Generic[Kind]):
    """A file of showers being written in a stream; it says its geometry.

    Args:
        path: where to write; an unfinished file belongs under a temporary name, see `replacing`.
        attributes: written to the root of the file. Those of another file may be passed on: the
            geometry is always this file's own.
        geometry: of the showers.
        dtype: precision of the energies.

    Attributes:
        n_expected: number of showers that the file is to hold, where it is known; from it follows
            how much space is needed.

    Raises:
        NoSpaceError: if the disk is full; what follows is then written nowhere.
        ValueError: if an attribute is neither number nor text nor array.
    """

    n_expected: int | None = None

    def __init__(
        self,
        path: str | Path,
        attributes: Mapping[str, Any],
        geometry: Geometry,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.geometry = geometry
        self._folder = Path(path).absolute().parent
        self._n_written, self._is_refused = 0, False
        self._sink = Sink(path)
        self._file = h5py.File(self._sink, "w")
        try:
            for name, value in {**attributes, "format_version": FORMAT_VERSION}.items():
                if name not in ("geometry", "geometry_definition"):
                    self._set_attribute(name, value)
            for name, text in geometry_attributes(geometry).items():
                self._set_attribute(name, text)
        except BaseException:
            self.close()
            raise
        self._incident = growing(self._file, "incident_energies", dtype, (1,), chunk=ROWS)

    def close(self) -> None:
        """Close the file; what was written is complete only then.

        Raises:
            NoSpaceError: if the disk is full.
        """
        with self._writing():
            super().close()
            self._sink.close()

    def append(self, showers: Kind) -> None:
        """Write showers after those already written.

        Raises:
            ValueError: if they are in another geometry.
        """
        if showers.geometry != self.geometry:
            raise ValueError(
                f"this file takes showers of {self.geometry.name}, got showers of "
                f"{showers.geometry.name}: write them to a file of their own"
            )
        with self._writing():
            self._append(showers)
            extend_columns(self._file, showers.particles, self._incident.shape[0])
            extend(self._incident, showers.energy_inc[:, None])
            self._n_written += len(showers)

    def set_column(self, name: str, values: NDArray[Any]) -> None:
        """Write a number for each shower, shape (n,), with all showers.

        Raises:
            ValueError: if the numbers are not as many as the showers, or the name is taken.
        """
        if name in COLUMNS or name in self._file or values.shape != self._incident.shape[:1]:
            raise ValueError(
                f"column {name!r} needs a name of its own and {self._incident.shape[0]} numbers, "
                f"got shape {values.shape} beside {', '.join(self._file)}"
            )
        with self._writing():
            self._file.create_dataset(name, data=values, **COMPRESSION)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """HDF5 is not interrupted, and what the disk refused is raised once, after it."""
        with uninterrupted():
            yield
        error = self._sink.error
        if error is None or self._is_refused:
            return
        self._is_refused = True
        if error.errno not in FULL:
            raise error
        share = self._n_written / self.n_expected if self.n_expected and self._n_written else 1
        raise NoSpaceError(self._folder, self._sink.size / min(1, share)) from error

    @abstractmethod
    def _append(self, showers: Kind) -> None:
        """Write all but the incident energies."""

    def _set_attribute(self, name: str, value: Any) -> None:
        try:
            self._file.attrs[name] = value
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"attribute {name!r} must be a number, a text or an array, got {value!r}: "
                "leave it out, or write it as JSON"
            ) from error


class VoxelWriter(ShowerWriter[VoxelShowers]):
    """A file of voxel showers being written in a stream; it says its geometry and threshold."""

    def __init__(
        self,
        path: str | Path,
        attributes: Mapping[str, Any],
        geometry: Geometry,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        stored = {"threshold_MeV": geometry.threshold, **attributes}
        super().__init__(path, stored, geometry, dtype=dtype)


def geometry_attributes(geometry: Geometry) -> dict[str, str]:
    """The geometry in a file's metadata: the name, and where that is no preset, all of it."""
    known = geometry.name in geometry_presets() and geometry_preset(geometry.name) == geometry
    name = {"geometry": geometry.name}
    return name if known else name | {"geometry_definition": json.dumps(geometry.to_dict())}
