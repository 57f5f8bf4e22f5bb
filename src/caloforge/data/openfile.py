"""What files that are read and files that are written have in common."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TypeVar

import h5py

from caloforge.showers import (
    PointShowers,
    VoxelShowers,
)

__all__ = ["FORMAT_VERSION", "REQUEST", "Kind", "OpenFile"]

Kind = TypeVar("Kind", VoxelShowers, PointShowers)

FORMAT_VERSION = 1
REQUEST = "request"  # attribute: what a job was asked for that wrote the file


class OpenFile:
    """Closes the HDF5 file at the end of a `with` block."""

    _file: h5py.File

    def close(self) -> None:
        """Close the file; what was written is complete only then."""
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
