"""Open, read and write files of showers of any layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.data.calochallenge import CaloChallengeFile, CaloChallengeWriter
from caloforge.data.hdf5 import ShowerFileError, blaming, find, open_hdf5
from caloforge.data.padded import CaloCloudsFile, ShowerDataFile, write_showerdata
from caloforge.data.replacing import replacing
from caloforge.data.showerfile import ShowerFile, VoxelFile
from caloforge.data.showerwriter import ShowerWriter
from caloforge.data.sparse import (
    PointFile,
    PointWriter,
    SparseFile,
    SparseWriter,
    check_mantissa,
)
from caloforge.geometry import Geometry
from caloforge.names import did_you_mean
from caloforge.processes import uninterrupted
from caloforge.showers import Particles, PointShowers, Showers, VoxelShowers

__all__ = [
    "check_layout",
    "create",
    "create_points",
    "holds_points",
    "open_file",
    "open_points",
    "open_showers",
    "read",
    "read_particles",
    "write",
]

PointsFile = ShowerFile[PointShowers]

Layout = Literal["sparse", "calochallenge", "showerdata"]

# What distinguishes the layouts: the type of the object of a name. `showers` of showerdata are a
# row of rows.
_CONTENTS: tuple[tuple[str, type, str], ...] = (
    ("voxels", h5py.Group, "voxels"),
    ("points", h5py.Group, "points"),
    ("num_points", h5py.Dataset, "showerdata"),
    ("events", h5py.Dataset, "caloclouds"),
    ("showers", h5py.Dataset, "showers"),
)
_POINTS: dict[str, type[PointsFile]] = {
    "points": PointFile,
    "caloclouds": CaloCloudsFile,
    "showerdata": ShowerDataFile,
}


def _contents(path: str | Path) -> str:
    with open_hdf5(Path(path)) as file:
        # the CaloChallenge's two datasets decide, whatever else the file contains
        if getattr(find(file, "showers"), "ndim", 0) == 2 and find(file, "incident_energies"):
            return "showers"
        for name, kind, contents in _CONTENTS:
            if isinstance(find(file, name), kind):
                return contents
        with blaming(path, "its head"):
            held = ", ".join(file) or "nothing"
        raise ShowerFileError(
            f"{path} is no file of showers: expected a dataset 'showers' (CaloChallenge, "
            "showerdata) or 'events' (CaloClouds), or a group 'voxels' or 'points' (sparse), got "
            f"{held}"
        )


def open_showers(
    path: str | Path, geometry: Geometry | str | None = None, *, clip_negative: bool = False
) -> VoxelFile:
    """Open a file of voxel showers to read it in a stream.

    Args:
        path: a CaloChallenge or sparse HDF5 file.
        geometry: the voxels or the name of a preset; needed only where the file does not say.
        clip_negative: read negative voxel energies of a CaloChallenge file as 0, with a warning;
            else they are refused.

    Raises:
        ShowerFileError: if the file is missing, truncated, of another layout or geometry.

    Warns:
        ShowerFileWarning: where negative energies are clipped.
    """
    contents = _contents(path)
    if contents in _POINTS:
        raise ShowerFileError(f"{path} holds point clouds: use open_points or read")
    if contents == "voxels":
        return SparseFile(path, geometry)
    file = CaloChallengeFile(path, geometry)
    file.clip_negative = clip_negative
    return file


def open_points(path: str | Path, geometry: Geometry | str | None = None) -> PointsFile:
    """Open a file of point clouds to read it in a stream.

    The sparse form, that of the package showerdata, or CaloClouds' padded HDF5, which is taken to
    be at the impact point (X', Z') = (0, 40) mm; for another one, use `CaloCloudsFile`.

    Args:
        path: the file.
        geometry: the detector in whose layers the points lie, or the name of a preset; by default
            what the file says. Files of showerdata and of CaloClouds that do not say it are taken
            to be of `ild-ecal`.

    Raises:
        ImportError: if the file is showerdata's and that package is not installed.
        ShowerFileError: if the file is missing, truncated, of another geometry, or holds voxels.
    """
    contents = _contents(path)
    if contents not in _POINTS:
        raise ShowerFileError(f"{path} holds voxel showers: use open_showers or read")
    return _POINTS[contents](path, geometry)


def open_file(path: str | Path, geometry: Geometry | str | None = None) -> VoxelFile | PointsFile:
    """Open a file of voxels or of points, whichever it holds; see `open_showers`, `open_points`."""
    return (open_points if holds_points(path) else open_showers)(path, geometry)


def holds_points(path: str | Path) -> bool:
    """Whether a file holds point clouds.

    Raises:
        ShowerFileError: if the file is missing, truncated, or no file of showers.
    """
    return _contents(path) in _POINTS


def read_particles(path: str | Path) -> Particles:
    """The incident particles of a file of any layout and geometry.

    Raises:
        ShowerFileError: if the file is missing, truncated, or no file of showers.
    """
    contents = _contents(path)
    voxels = SparseFile if contents == "voxels" else CaloChallengeFile
    return _POINTS.get(contents, voxels).read_particles(path)


def read(path: str | Path, geometry: Geometry | str | None = None) -> Any:
    """Read all showers of a file of any known form, `VoxelShowers` or `PointShowers`.

    Example:
        >>> showers = cf.read("showers.h5")
        >>> points = cf.read("points.h5")

    Args:
        path: as for `open_showers` or `open_points`.
        geometry: as for these; needed only where the file does not say.

    Raises:
        ImportError, ShowerFileError: as for `open_showers` and `open_points`.
    """
    with open_file(path, geometry) as file:
        return file[:]


def check_layout(
    kind: type[Any], layout: str, *, mantissa_bits: int | None = None, streamed: bool = True
) -> None:
    """Refuse a layout that cannot be written, before anything is made for it.

    Args:
        kind: of the showers, `VoxelShowers` or `PointShowers`.
        layout: its name.
        mantissa_bits: as for `create`.
        streamed: whether it is written piece by piece.

    Raises:
        ValueError: for a layout that does not hold such showers, or does not round them so.
    """
    is_points = issubclass(kind, PointShowers)
    if is_points and streamed and layout == "showerdata":
        raise ValueError(
            "layout 'showerdata' is written at once: write a sparse file, read it, and write its "
            "showers with cf.write"
        )
    known = ("sparse", "showerdata") if is_points else ("sparse", "calochallenge")
    if layout not in known:
        raise ValueError(
            f"layout must be {known[0]!r} or {known[1]!r}, got {layout!r} for "
            f"{'points' if is_points else 'voxels'}{did_you_mean(layout, known)}"
        )
    check_mantissa(mantissa_bits)
    if mantissa_bits is not None and layout != "sparse":
        raise ValueError("mantissa_bits rounds energies in the sparse layout only")


@contextmanager
def create(
    path: str | Path,
    geometry: Geometry,
    *,
    layout: Layout = "sparse",
    attributes: Mapping[str, Any] | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    mantissa_bits: int | None = None,
    dtype: DTypeLike = np.float32,
    n_expected: int | None = None,
) -> Iterator[ShowerWriter[VoxelShowers]]:
    """Write voxel showers in a stream; the file appears when the block ends without error.

    Args:
        path: where to write; an existing file is replaced only by a complete one.
        geometry: the voxels.
        layout: "sparse" for storage, "calochallenge" for exchange.
        attributes: written to the root of the file.
        columns: a number for each shower, by name, shape (n,); see `ShowerFile.column`.
        mantissa_bits: round energies to so many bits (sparse layout only), see `SparseWriter`.
        dtype: precision of the energies, float32 or float64.
        n_expected: number of showers, to say how much space is needed where the disk is full.

    Raises:
        NoSpaceError: if the disk is full.
        ValueError: for an unknown layout or a folder that does not exist.
    """
    check_layout(VoxelShowers, layout, mantissa_bits=mantissa_bits)
    with replacing(path) as temporary:
        with uninterrupted():
            writer: ShowerWriter[VoxelShowers] = (
                SparseWriter(
                    temporary, geometry, attributes or {}, mantissa_bits=mantissa_bits, dtype=dtype
                )
                if layout == "sparse"
                else CaloChallengeWriter(temporary, geometry, attributes or {}, dtype=dtype)
            )
        with _filling(writer, columns, n_expected):
            yield writer


@contextmanager
def create_points(
    path: str | Path,
    geometry: Geometry,
    *,
    attributes: Mapping[str, Any] | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    mantissa_bits: int | None = None,
    n_expected: int | None = None,
) -> Iterator[ShowerWriter[PointShowers]]:
    """Write point clouds in a stream in the sparse layout; see `create`."""
    with replacing(path) as temporary:
        with uninterrupted():
            writer = PointWriter(temporary, geometry, attributes or {}, mantissa_bits=mantissa_bits)
        with _filling(writer, columns, n_expected):
            yield writer


@contextmanager
def _filling(
    writer: ShowerWriter[Any], columns: Mapping[str, NDArray[Any]] | None, n_expected: int | None
) -> Iterator[None]:
    """Close the file after the block, the columns written last."""
    writer.n_expected = n_expected
    with writer:
        yield
        for name, values in (columns or {}).items():
            writer.set_column(name, values)


def write(
    path: str | Path,
    showers: Showers,
    *,
    layout: Layout = "sparse",
    attributes: Mapping[str, Any] | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write showers to a file in their precision, complete or not at all.

    Example:
        >>> cf.write("first.h5", showers[:10], layout="calochallenge")

    Args:
        path: where to write; an existing file is replaced only by a complete one.
        showers: what to write.
        layout: for voxels "sparse" or "calochallenge", see `create`; for points "sparse" or
            "showerdata", which needs the kinds of the particles, as `pdg` or attribute `particle`.
        attributes: written to the root of the file.
        columns: a number for each shower, by name, shape (n,); "showerdata" has no place for them.

    Raises:
        NoSpaceError: if the disk is full.
        ValueError: for a layout that does not hold such showers, or as for `create`.
    """
    if isinstance(showers, PointShowers):
        _write_points(path, showers, layout, attributes or {}, columns)
        return
    dtype = showers.energy.dtype
    with create(
        path,
        showers.geometry,
        layout=layout,
        attributes=attributes,
        columns=columns,
        dtype=dtype,
        n_expected=len(showers),
    ) as writer:
        for batch in showers.batches(1000):
            writer.append(batch)


def _write_points(
    path: str | Path,
    showers: PointShowers,
    layout: Layout,
    attributes: Mapping[str, Any],
    columns: Mapping[str, NDArray[Any]] | None,
) -> None:
    check_layout(PointShowers, layout, streamed=False)
    if layout == "showerdata":
        if columns:
            raise ValueError(
                f"layout 'showerdata' has no place for the columns {', '.join(columns)}: write "
                "them to a sparse file"
            )
        with replacing(path) as temporary:
            write_showerdata(temporary, showers, attributes)
        return
    with create_points(
        path,
        showers.geometry,
        attributes=attributes,
        columns=columns,
        n_expected=len(showers),
    ) as writer:
        for batch in showers.batches(1000):
            writer.append(batch)
