"""Files of an untrusted folder: plain, of bounded size, never through a link."""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from caloforge.data import write_files

__all__ = ["Enclosed"]


class Enclosed:
    """The files of a folder and of the folders in it.

    The folder itself may be reached by a link; what lies in it is refused where it is one, or
    anything else but a plain file in plain folders, in reading as in writing.

    Args:
        root: the folder; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def holds(self, path: Path) -> bool:
        """Whether there is a plain file.

        Raises:
            ValueError: if there is something else, or it does not lie in the folder.
        """
        return self._status(path) is not None

    def read(self, path: Path, most: int) -> bytes:
        """The content of a file of up to `most` bytes.

        Raises:
            ValueError: if there is none, it is larger, or as for `holds`.
        """
        with self.opened(path, most) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"{path} grows while it is read: is it a file?")
        return content

    @contextmanager
    def opened(self, path: Path, most: int) -> Iterator[BinaryIO]:
        """A file of up to `most` bytes, to be read piece by piece within a block.

        Raises:
            ValueError: as for `check_size`.
        """
        self.check_size(path, most)
        # a file that has become something else since then is neither followed nor waited for
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            yield file

    def check_size(self, path: Path, most: int) -> int:
        """The size of a file [bytes].

        Raises:
            ValueError: if there is none, it is larger than `most`, or as for `holds`.
        """
        status = self._status(path)
        if status is None:
            raise ValueError(f"{path} is missing")
        if status.st_size > most:
            raise ValueError(
                f"{path} has {status.st_size:,} bytes, where no more than {most:,} are expected: "
                "it is no file of a model"
            )
        return status.st_size

    def json(self, path: Path, most: int) -> Any:
        """The values of a JSON file, all of its numbers finite.

        Raises:
            ValueError: if it is damaged, or as for `read`.
        """
        text = self.read(path, most)
        try:
            return json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except RecursionError:
            raise ValueError(f"{path} is nested without end") from None
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def write(self, contents: Mapping[Path, str | bytes]) -> None:
        """Write files and the folders that they lie in, see `write_files`.

        Raises:
            NoSpaceError: if the disk is full.
            ValueError: as for `holds`.
        """
        for path in contents:
            self._status(path)
            for waiting in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                if waiting.is_symlink():  # where a temporary file would be written through it
                    waiting.unlink()
        write_files(contents, parents=True)

    def remove(self, path: Path) -> None:
        """Remove a file, if there is one.

        Raises:
            ValueError: as for `holds`.
        """
        if self.holds(path):
            path.unlink()

    def _status(self, path: Path) -> os.stat_result | None:
        """That of a plain file, None if there is nothing."""
        if not path.is_relative_to(self.root) or ".." in path.relative_to(self.root).parts:
            raise ValueError(f"{path} does not lie in {self.root}: give a name without .. and /")
        place = self.root
        for part in path.relative_to(self.root).parts:
            place = place / part
            try:
                status = place.lstat()
            except FileNotFoundError:
                return None
            except NotADirectoryError:
                raise ValueError(f"{place.parent} is no folder: expected one of a model") from None
            _check_plain(place, status, is_folder=place != path)
        return status


def _check_plain(place: Path, status: os.stat_result, *, is_folder: bool) -> None:
    expected = "folder" if is_folder else "file"
    if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(status.st_mode):
        what = "a link" if stat.S_ISLNK(status.st_mode) else f"no plain {expected}"
        raise ValueError(
            f"{place} is {what}: expected a {expected} that lies there itself, as nothing outside "
            "is read or written; copy what you trust to its place"
        )


def _refuse(constant: str) -> float:
    raise ValueError(f"expected finite numbers, got {constant}")


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) < float("inf") else _refuse(text)
