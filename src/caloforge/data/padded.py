"""Point clouds in other formats: CaloClouds' padded HDF5, and the files of the package showerdata.

Both keep a shower as rows of four numbers, energies in GeV, and pad with points without energy:

- CaloClouds: `energy` (n, 1), `events` (n, N, 4) or (n, 4, N) with X' [mm], number of the layer,
  smeared over the layer or not, Z' [mm] and energy, in the detector's coordinates; from CaloClouds3
  on `p_norm_local` (n, 3), the directions in the frame of the points, z along the depth.
- showerdata: x [mm], y [mm], number of the layer, energy, and in new files the time, which is not
  read; with the particles' kinds and directions in addition.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caloforge.data.columns import code_of
from caloforge.data.hdf5 import ShowerFileError
from caloforge.data.showerfile import ShowerFile
from caloforge.data.showerwriter import geometry_attributes
from caloforge.data.sink import Sink
from caloforge.geometry import Geometry, ild_ecal
from caloforge.pdg import NOT_KNOWN
from caloforge.processes import uninterrupted
from caloforge.showers import PointShowers
from caloforge.units import GeV

__all__ = ["CaloCloudsFile", "ShowerDataFile", "write_showerdata"]

_BLOCK = 1 << 23  # numbers of padded showers held at a time, 32 MB in float32
_SHOWERDATA = ("showers", "directions", "pdg", "shower_ids", "num_points", "shape")
_MOST_POINTS = 1 << 24  # of a shower, 268 MB with the padding
_IMPACT = (0.0, 40.0)  # mm, (X', Z') of CaloClouds' training sample


class _PaddedFile(ShowerFile[PointShowers]):
    """A file of padded point clouds, read slice by slice."""

    _incident_unit: ClassVar[float] = GeV
    _usual_geometry: ClassVar[str] = "ild-ecal"
    _n_points: int  # with the padding

    @abstractmethod
    def _columns(self, start: int, stop: int) -> tuple[NDArray[Any], ...]:
        """x [mm], y [mm], layer and energy [GeV] of padded showers, shape (stop - start, N)."""

    @property
    def _at_once(self) -> int:
        return max(1, _BLOCK // max(1, 4 * self._n_points))

    def _read(self, start: int, stop: int) -> PointShowers:
        x, y, layer, energy = self._columns(start, stop)
        points = energy != 0  # what is negative or not finite is refused, not padding
        offset = np.concatenate([[0], np.cumsum(points.sum(axis=1))])
        numbers = layer[points]
        if not np.isfinite(numbers).all() or (numbers < 0).any():
            raise ValueError("layers must be numbers from 0, got negative or not finite ones")
        return PointShowers(
            offset=offset,
            x=x[points].astype(np.float32),
            y=y[points].astype(np.float32),
            layer=np.floor(numbers).astype(np.int64),
            energy=(energy[points] * GeV).astype(np.float32),
            geometry=self.geometry,
            **self._read_particles(start, stop),
        )


class CaloCloudsFile(_PaddedFile):
    """A file of CaloClouds' samples; x and y are counted from its impact point.

    Args:
        path: the file.
        geometry: by default the real cells of the ILD around the impact point, as its samples have.
        impact: (X', Z') of the impact point [mm] that the sample was simulated at.

    Raises:
        ShowerFileError: if the file is missing, truncated, or of another layout.
    """

    _incident_name: ClassVar[str] = "energy"
    _optional: ClassVar[Mapping[str, str]] = {"direction": "p_norm_local", "pdg": "pdg"}

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry | str | None = None,
        *,
        impact: tuple[float, float] = _IMPACT,
    ) -> None:
        self._impact = impact
        super().__init__(path, geometry)

    def _open(self, geometry: Geometry | None) -> None:
        self._events = self._dataset("events")
        shape = self._events.shape
        if len(shape) != 3 or shape[0] != len(self) or 4 not in shape[1:]:
            raise ShowerFileError(
                f"{self.path}: events must have shape ({len(self)}, N, 4) for {len(self)} "
                f"energies, got {shape}"
            )
        if shape[1:] == (4, 4):
            raise ShowerFileError(
                f"{self.path}: events of shape {shape} may be 4 points of 4 numbers in either "
                "order: pad them with a point without energy, to shape "
                f"({len(self)}, 5, 4)"
            )
        self._axis = 2 if shape[2] == 4 else 1
        self._n_points = int(shape[3 - self._axis])
        self.geometry = geometry or ild_ecal(self._impact)

    def _columns(self, start: int, stop: int) -> tuple[NDArray[Any], ...]:
        x, layer, z, energy = np.moveaxis(np.asarray(self._events[start:stop]), self._axis, 0)
        return x - self._impact[0], z - self._impact[1], layer, energy


class ShowerDataFile(_PaddedFile):
    """A file of the package showerdata, read through it.

    Args:
        path: the file.
        geometry: by default what the file says, or else the real cells of the ILD.

    Raises:
        ImportError: if the package is not installed.
        ShowerFileError: if the file is missing, truncated, or of another layout.
    """

    _incident_name: ClassVar[str] = "energies"
    _optional: ClassVar[Mapping[str, str]] = {"direction": "directions", "pdg": "pdg"}

    def _open(self, geometry: Geometry | None) -> None:
        for name in _SHOWERDATA:  # which the package reads without a look
            self._dataset(name)
        self._package = _showerdata().ShowerDataFile(self.path)
        self._n_points = self._package.shape[1]
        if not 0 <= self._n_points <= _MOST_POINTS:
            raise ShowerFileError(
                f"{self.path}: shape gives {self._n_points} points a shower, more than "
                f"{_MOST_POINTS} are not read: was it damaged?"
            )
        self.geometry = self._find_geometry(geometry, usual=ild_ecal())

    def close(self) -> None:
        """Close the file."""
        self._package.close()
        super().close()

    def _columns(self, start: int, stop: int) -> tuple[NDArray[Any], ...]:
        points = self._package[start:stop].points
        x, y, layer, energy = np.moveaxis(points[..., :4], -1, 0)
        return x, y, layer + 0.1, energy  # whole numbers that may have been rounded down


def write_showerdata(path: Path, showers: PointShowers, attributes: Mapping[str, Any]) -> None:
    """Write point clouds through the package showerdata, batch by batch.

    Args:
        path: where to write; an unfinished file belongs under a temporary name, see `replacing`.
        showers: what to write.
        attributes: written to the root of the file, with the geometry; `particle` names the kind of
            those whose `pdg` is not known.

    Raises:
        ImportError: if the package is not installed.
        ValueError: if the kind of a particle is not known.
    """
    pdg = np.where(showers.pdg == NOT_KNOWN, code_of(attributes.get("particle")), showers.pdg)
    if (pdg == NOT_KNOWN).any():
        raise ValueError(
            f"showerdata stores the kind of every particle, and those of "
            f"{(pdg == NOT_KNOWN).sum()} of {len(pdg)} showers are not known: give the showers "
            "their pdg, or attributes={'particle': …} with the name of all, such as 'gamma'"
        )
    showerdata = _showerdata()
    counts = np.diff(showers.offset)
    shape = (len(showers), int(counts.max(initial=0)), 4)
    size = max(1, _BLOCK // max(1, 4 * shape[1]))
    sink = Sink(path)
    with uninterrupted(), showerdata.ShowerDataFile(sink, "w", shape=shape) as file:
        for start in range(0, len(showers), size):
            if sink.error is not None:
                break
            batch = showers[start : start + size]
            n_points = np.diff(batch.offset)
            place = np.arange(len(batch.energy)) - np.repeat(batch.offset[:-1], n_points)
            padded = np.zeros((len(batch), *shape[1:]), np.float32)
            columns = (batch.x, batch.y, batch.layer, batch.energy / GeV)
            padded[batch.event(), place] = np.stack(columns, axis=-1)
            file[start : start + len(batch)] = showerdata.Showers(
                points=padded,
                energies=batch.energy_inc[:, None] / GeV,
                pdg=pdg[start : start + len(batch)],
                directions=batch.direction,
                num_points=n_points,
            )
        file.attrs.update({**attributes, **geometry_attributes(showers.geometry)})
    sink.close()
    if sink.error is not None:
        raise sink.error


def _showerdata() -> Any:
    try:
        return importlib.import_module("showerdata")
    except ImportError as error:
        raise ImportError(
            "files of showerdata need the package: pip install 'caloforge[points]'"
        ) from error
