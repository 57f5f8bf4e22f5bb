"""Open, read and write files of showers, whatever their layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.data.calochallenge import CaloChallengeFile, CaloChallengeWriter
from caloforge.data.replacing import replacing
from caloforge.data.showerfile import ShowerFileError, VoxelFile, VoxelWriter, open_hdf5
from caloforge.data.sparse import PointFile, PointWriter, SparseFile, SparseWriter
from caloforge.geometry import Geometry
from caloforge.showers import PointShowers, VoxelShowers

__all__ = ["create", "open_points", "open_showers", "read", "read_points", "write"]

Layout = Literal["sparse", "calochallenge"]


def _contents(path: str | Path) -> str:
    with open_hdf5(Path(path)) as file:
        for name in ("voxels", "points", "showers"):
            if name in file:
                return name
        raise ShowerFileError(
            f"{path} is no file of showers: expected a dataset 'showers' (CaloChallenge) or a "
            f"group 'voxels' or 'points' (sparse), got {', '.join(file) or 'nothing'}"
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
    if contents == "points":
        raise ShowerFileError(f"{path} holds point clouds: use open_points or read_points")
    if contents == "voxels":
        return SparseFile(path, geometry)
    file = CaloChallengeFile(path, geometry)
    file.clip_negative = clip_negative
    return file


def open_points(path: str | Path) -> PointFile:
    """Open a sparse file of point clouds to read it in a stream.

    Raises:
        ShowerFileError: if the file is missing, truncated, or holds voxels.
    """
    if _contents(path) != "points":
        raise ShowerFileError(f"{path} holds voxel showers: use open_showers or read")
    return PointFile(path)


def read(path: str | Path, geometry: Geometry | str | None = None) -> VoxelShowers:
    """Read all voxel showers of a file; see `open_showers`."""
    with open_showers(path, geometry) as file:
        return file[:]


def read_points(path: str | Path) -> PointShowers:
    """Read all point clouds of a file; see `open_points`."""
    with open_points(path) as file:
        return file[:]


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
) -> Iterator[VoxelWriter]:
    """Write voxel showers in a stream; the file appears when the block ends without error.

    Args:
        path: where to write; an existing file is replaced only by a complete one.
        geometry: the voxels.
        layout: "sparse" for storage, "calochallenge" for exchange.
        attributes: written to the root of the file.
        columns: a number for each shower, by name, shape (n,); see `ShowerFile.column`.
        mantissa_bits: round energies to so many bits (sparse layout only), see `SparseWriter`.
        dtype: precision of the energies, float32 or float64.

    Raises:
        ValueError: for an unknown layout or a folder that does not exist.
    """
    if layout not in ("sparse", "calochallenge"):
        raise ValueError(f"layout must be 'sparse' or 'calochallenge', got {layout!r}")
    if mantissa_bits is not None and layout != "sparse":
        raise ValueError("mantissa_bits rounds energies in the sparse layout only")
    with replacing(path) as temporary:
        writer: VoxelWriter = (
            SparseWriter(
                temporary, geometry, attributes or {}, mantissa_bits=mantissa_bits, dtype=dtype
            )
            if layout == "sparse"
            else CaloChallengeWriter(temporary, geometry, attributes or {}, dtype=dtype)
        )
        with writer:
            yield writer
            for name, values in (columns or {}).items():
                writer.set_column(name, values)


def write(
    path: str | Path,
    showers: VoxelShowers | PointShowers,
    *,
    layout: Layout = "sparse",
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write showers to a file in their precision, complete or not at all; see `create`."""
    if isinstance(showers, PointShowers):
        with replacing(path) as temporary, PointWriter(temporary, attributes or {}) as points:
            for points_batch in showers.batches(1000):
                points.append(points_batch)
        return
    dtype = showers.energy.dtype
    with create(
        path, showers.geometry, layout=layout, attributes=attributes, dtype=dtype
    ) as writer:
        for batch in showers.batches(1000):
            writer.append(batch)
