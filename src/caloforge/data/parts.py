"""Finished parts of one long job, kept next to its output until all are finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.data.files import Layout, check_layout, create, create_points, open_file, write
from caloforge.data.hdf5 import ShowerFileError
from caloforge.data.openfile import REQUEST
from caloforge.data.replacing import NoSpaceError, check_target, write_files
from caloforge.data.showerwriter import ShowerWriter
from caloforge.data.sparse import PointFile
from caloforge.showers import Showers, VoxelShowers

__all__ = ["Parts"]


class Parts:
    """The parts of a file of showers that is made piece by piece and can be resumed.

    The parts lie in the folder `<output>.parts`, each written complete or not at all, together with
    the request that they answer. `assemble` joins them in order, writes the request to the root of
    the output and removes the folder. So whenever a job is interrupted, what it has finished is
    known: by its parts, or by its output.

    Args:
        output: the file to be made.
        n_parts: number of parts that make it.
        request: what was asked, in JSON's types; a resumed job must ask the same.
        resume: continue with the parts that are there.
        kind: of the showers, `VoxelShowers` or `PointShowers`.
        layout: of the output, see `create`; part of the request where it is not "sparse".
        mantissa_bits: of the output, see `create`; part of the request where it is given.

    Attributes:
        is_finished: whether a resumed job has nothing left to do, its output being there.

    Raises:
        NoSpaceError: if the disk is full.
        ValueError: if parts of an earlier job are there and `resume` is not set, they answer
            another request, the folder for them holds something else or cannot be made, the
            output is a folder, or for a layout that does not hold such showers.
    """

    def __init__(
        self,
        output: str | Path,
        n_parts: int,
        request: Mapping[str, Any],
        *,
        resume: bool = False,
        kind: type[Any] = VoxelShowers,
        layout: Layout = "sparse",
        mantissa_bits: int | None = None,
    ) -> None:
        check_layout(kind, layout, mantissa_bits=mantissa_bits)
        self._form: dict[str, Any] = {} if layout == "sparse" else {"layout": layout}
        if mantissa_bits is not None:
            self._form["mantissa_bits"] = mantissa_bits
        if n_parts < 1:
            raise ValueError(f"n_parts must be 1 or more, got {n_parts}")
        self.output = Path(output)
        self.n_parts = n_parts
        # absolute, as other processes may be in other folders
        self.folder = self.output.absolute().with_name(self.output.name + ".parts")
        self._note = self.folder / "request.json"
        self._request = json.dumps({**request, **self._form})
        asked = {**json.loads(self._request), "n_parts": n_parts}
        check_target(self.output)
        self.is_finished = resume and self._is_answered()
        if self.is_finished:
            self._remove()  # remains of an interrupted removal
        elif self._note.exists():
            self._continue(asked, resume)
        else:
            self._begin(asked)

    def _is_answered(self) -> bool:
        """Whether the output is there and answers the same request."""
        if not self.output.exists():
            return False
        with suppress(ShowerFileError), open_file(self.output) as file:
            return bool(file.attributes.get(REQUEST) == self._request)
        return False

    def _begin(self, asked: dict[str, Any]) -> None:
        # this folder is removed in the end: nothing but leftovers of `replacing` may lie in it
        if self.folder.exists() and any(e.name[0] != "." for e in self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} holds no parts but other files: move them, or choose another output"
            )
        write_files({self._note: json.dumps(asked, indent=1)}, parents=True)

    def _continue(self, asked: dict[str, Any], resume: bool) -> None:
        if not resume:
            raise ValueError(
                f"{self.folder} holds the parts of an unfinished job: "
                "resume it, or remove that folder to start again"
            )
        before = json.loads(self._note.read_text())
        other = sorted(key for key in {*asked, *before} if asked.get(key) != before.get(key))
        if other:
            changes = ", ".join(
                f"{key}: {before.get(key)!r} then, {asked.get(key)!r} now" for key in other
            )
            raise ValueError(
                f"{self.folder} answers another request ({changes}): "
                "ask the same to resume, or remove that folder to start again"
            )

    def path(self, part: int) -> Path:
        """Where a part lies.

        Raises:
            ValueError: if there is no such part.
        """
        if not 0 <= part < self.n_parts:
            raise ValueError(f"part must lie in 0 … {self.n_parts - 1}, got {part}")
        return self.folder / f"{part:06d}.h5"

    def missing(self) -> list[int]:
        """Numbers of the parts that are still to be made."""
        if self.is_finished:
            return []
        return [part for part in range(self.n_parts) if not self.path(part).exists()]

    def save(
        self, part: int, showers: Showers, columns: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        """Write a part, complete or not at all; its columns are for `column`.

        Raises:
            NoSpaceError: if the disk is full. It says what the other parts and the output need as
                well.
        """
        try:
            write(self.path(part), showers, columns=columns)
        except NoSpaceError as error:
            still = len(self.missing()) + self.n_parts  # and all of them once more, joined
            raise NoSpaceError(self.output.absolute().parent, error.needed * still) from error

    def column(self, name: str) -> NDArray[Any]:
        """A column that was saved with every part, for all showers, shape (n,).

        Raises:
            ValueError: if a part has none of that name.
        """
        found = []
        for part in range(self.n_parts):
            with open_file(self.path(part)) as file:
                values = file.column(name)
            if values is None:
                raise ValueError(f"{self.path(part)} has no column {name!r}: make it again")
            found.append(values)
        return np.concatenate(found)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Make parts in the block, in any process: what is refused, or finds no space, is no job.

        If it has no finished part then, nothing of it is left.
        """
        try:
            yield
        except (ValueError, FloatingPointError, NoSpaceError):
            self.abandon()
            raise

    def abandon(self) -> None:
        """Remove the folder of a job that has no finished part: nothing is there to resume."""
        if len(self.missing()) == self.n_parts:
            self._remove()

    def _remove(self) -> None:
        # The note goes last: as long as there are parts, it says what they answer.
        parts = self.folder.glob("[0-9]*.h5")
        for path in (*parts, *self.folder.glob(".*.tmp"), self._note):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # files of others in it, or none at all
            self.folder.rmdir()

    def assemble(
        self,
        attributes: Mapping[str, Any],
        *,
        columns: Mapping[str, NDArray[Any]] | None = None,
    ) -> Path:
        """Join all parts in order into the output, in a stream, and remove them.

        See `create`, or `create_points` for point clouds.

        Raises:
            NoSpaceError: if the disk is full; the parts stay.
            ValueError: if parts are missing.
        """
        if self.is_finished:
            return self.output
        missing = self.missing()
        if missing:
            raise ValueError(
                f"{len(missing)} of {self.n_parts} parts of {self.output} are missing: "
                "resume the job"
            )
        with open_file(self.path(0)) as first:
            geometry = first.geometry
            creating: Callable[..., AbstractContextManager[ShowerWriter[Any]]] = (
                create_points if isinstance(first, PointFile) else create
            )
        try:
            with creating(
                self.output,
                geometry,
                attributes={**attributes, REQUEST: self._request},
                columns=columns,
                **self._form,
            ) as writer:
                for batch in self._stream():
                    writer.append(batch)
        except NoSpaceError as error:
            together = sum(self.path(part).stat().st_size for part in range(self.n_parts))
            raise NoSpaceError(error.folder, together) from error
        self.is_finished = True
        self._remove()
        return self.output

    def _stream(self) -> Iterator[Showers]:
        for part in range(self.n_parts):
            with open_file(self.path(part)) as file:
                file.warns = False  # of what this job made itself
                yield from file.batches(1000)
