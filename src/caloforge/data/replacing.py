"""Files are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "NoSpaceError",
    "check_empty",
    "check_folder",
    "check_target",
    "making",
    "making_folder",
    "replacing",
    "write_files",
]

FULL = (errno.ENOSPC, errno.EDQUOT)


class NoSpaceError(OSError):
    """A file found no space; what was there before is whole.

    Args:
        folder: where it was to be written.
        needed: size of all that is still to be written there [bytes].
    """

    def __init__(self, folder: Path, needed: float) -> None:
        self.folder, self.needed = folder, needed
        free = shutil.disk_usage(folder).free
        limit = "; a quota or the number of files may be the limit" if free > needed else ""
        super().__init__(
            errno.ENOSPC,
            f"no space left in {folder}: needed about {_size(needed)}, {_size(free)} free{limit}; "
            "free space or choose another folder, then go on, with --resume where the command has "
            "it",
        )

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.needed)


def check_target(path: str | Path) -> Path:
    """The file that a path names, links followed.

    Raises:
        ValueError: if no file can be written there: its folder does not exist, or it is itself a
            folder or no plain file.
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} does not exist: create it to write {target}")
    if target.is_dir():
        raise ValueError(f"{target} is a folder: give the name of a file")
    if target.exists() and not target.is_file():
        raise ValueError(f"{target} is no plain file: give the name of one")
    return target


def check_folder(path: str | Path) -> None:
    """Check that a folder exists or can be made.

    Raises:
        ValueError: if it cannot, as something on its way is no folder.
    """
    folder = Path(path).absolute()
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ValueError(f"{there} is no folder: choose another name for the folder {path}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path next to `path` and rename it to `path` when the block succeeds.

    If the block raises, the temporary file goes and an existing file at `path` is untouched. A
    link is followed: the file that it names is replaced.

    Raises:
        NoSpaceError: if the disk is full.
        ValueError: if the folder of `path` does not exist, or `path` is itself a folder.
    """
    target = check_target(path)
    stem = f".{target.name}.{socket.gethostname()}-"
    temporary = target.with_name(f"{stem}{os.getpid()}.tmp")
    _remove_abandoned(target.parent, stem)
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.errno not in FULL:
            raise
        written = temporary.stat().st_size if temporary.exists() else 0
        needed = error.needed if isinstance(error, NoSpaceError) else written
        temporary.unlink(missing_ok=True)
        raise NoSpaceError(target.parent, needed) from error  # says what is free without it
    finally:
        temporary.unlink(missing_ok=True)


def write_files(contents: Mapping[Path, str | bytes], *, parents: bool = False) -> None:
    """Write files, each complete or not at all, and none if one finds no space.

    Args:
        contents: of each file, text in UTF-8.
        parents: make the folders that they lie in where they are missing; those that were made go
            again if nothing is written.

    Raises:
        NoSpaceError: if the disk is full.
        ValueError: as for `replacing`.
    """
    coded = {p: text.encode() if isinstance(text, str) else text for p, text in contents.items()}
    folders = {path.parent for path in coded} if parents else ()
    try:
        with making(*folders), ExitStack() as stack:
            for path, content in coded.items():
                stack.enter_context(replacing(path)).write_bytes(content)
    except OSError as error:
        if error.errno not in FULL:
            raise
        place = next(f for f in next(iter(coded)).absolute().parents if f.is_dir())
        raise NoSpaceError(place, sum(map(len, coded.values()))) from error


@contextmanager
def making(*folders: Path) -> Iterator[None]:
    """Make folders, with those that they lie in; if the block fails, those that were made go again.

    Raises:
        ValueError: if something on the way is no folder.
    """
    for folder in folders:
        check_folder(folder)
    missing = {place for f in folders for place in (f, *f.parents) if not place.exists()}
    deepest_first = sorted(missing, key=lambda place: len(place.parts), reverse=True)
    try:
        for place in reversed(deepest_first):
            place.mkdir(exist_ok=True)
        yield
    except BaseException:
        for place in deepest_first:
            with suppress(OSError):  # it was not made, or something else lies in it
                place.rmdir()
        raise


def check_empty(folder: str | Path) -> None:
    """Check that a folder can be made, or exists and is empty.

    Raises:
        ValueError: if it cannot, or something lies in it.
    """
    check_folder(folder)
    if Path(folder).is_dir() and any(Path(folder).iterdir()):
        raise ValueError(f"{folder} exists already and is not empty: choose another folder")


@contextmanager
def making_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder next to `path` and rename it to `path` when the block succeeds.

    If the block raises, the temporary folder goes. Where another process made the same folder
    meanwhile, that one stays.

    Raises:
        ValueError: as for `check_empty`.
    """
    check_empty(path)
    folder = Path(path).absolute()
    temporary = folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    with making(folder.parent):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        try:
            temporary.mkdir()
            yield temporary
            try:
                temporary.rename(folder)
            except OSError:
                if not (folder.is_dir() and any(folder.iterdir())):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(folder: Path, stem: str) -> None:
    """Remove the temporary files of processes of this machine that were killed."""
    for path in folder.glob(f"{glob.escape(stem)}*.tmp"):
        process = path.name.removeprefix(stem).removesuffix(".tmp")
        if process.isdecimal() and not _is_alive(int(process)):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _size(n_bytes: float) -> str:
    """A size as people read it, such as 1.2 MB."""
    power = min(4, max(0, len(f"{n_bytes:.0f}") - 1) // 3)
    return f"{n_bytes / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
