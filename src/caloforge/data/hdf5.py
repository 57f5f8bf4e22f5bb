"""Checks that an HDF5 file itself holds its data.

No link is followed, and what was never written or would fill the memory is refused before it is
read.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from caloforge.data.foreign import what_it_is

__all__ = [
    "ShowerFileError",
    "ShowerFileWarning",
    "blaming",
    "find",
    "find_dataset",
    "open_hdf5",
]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LARGEST_CHUNK = 1 << 30  # bytes; one number of a chunk cannot be read without all of it
# gzip packs 1000 equal numbers into one at the best
_LARGE, _DENSEST = 1 << 26, 2000  # bytes, and bytes out of one


class ShowerFileError(ValueError):
    """A file of showers cannot be read as asked; the file itself is never changed."""


class ShowerFileWarning(UserWarning):
    """Something in a file of showers was not read as written, or looks unfinished."""


@contextmanager
def blaming(path: str | Path, part: str) -> Iterator[None]:
    """Whatever goes wrong in here is said of this part of this file."""
    try:
        yield
    except ShowerFileError:
        raise
    # What h5py raises for damage is any of these, depending on what is hit.
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ShowerFileError(f"{path}, {part}: {error}") from error


def open_hdf5(path: Path, *, chunk_cache: int = 1 << 20) -> h5py.File:
    """Open an HDF5 file for reading.

    Args:
        path: the file.
        chunk_cache: memory for uncompressed chunks of each dataset [bytes].

    Raises:
        ShowerFileError: if it is missing, in use, truncated or no HDF5 file; says what it is.
    """
    if not path.exists():
        raise ShowerFileError(f"there is no file {path}")
    if path.is_dir():
        kind = "a run folder: generate showers with it" if (path / "config.yaml").exists() else ""
        raise ShowerFileError(f"{path} is {kind or 'a folder'}; give a file of showers")
    if not path.is_file():
        raise ShowerFileError(f"{path} is no plain file but a pipe or a device: copy it to a file")
    try:
        return h5py.File(path, "r", rdcc_nbytes=chunk_cache, rdcc_nslots=chunk_cache // 1024)
    except OSError as error:
        raise ShowerFileError(f"{path} {_why(path, error)}") from error


def _why(path: Path, error: OSError) -> str:
    """Why a plain file cannot be opened, and what to do."""
    said = str(error)
    if error.errno in (errno.EAGAIN, errno.EACCES) and "lock" in said:
        return "is open in another process, which writes it: wait until it has ended"
    if "lock file" in said:
        return (
            f"cannot be locked on this file system ({said}): copy it to a local disk, or set "
            "HDF5_USE_FILE_LOCKING=FALSE"
        )
    if "already open for write" in said:
        return (
            "was left open by a writer that died: what it had written becomes readable with "
            "h5clear --status"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return "may not be read by you: ask its owner for the permission"
    foreign = what_it_is(path)
    if foreign is not None:
        return f"is {foreign[0]}, no HDF5 file: {foreign[1]}"
    with path.open("rb") as file:
        begins = file.read(len(_SIGNATURE))
    if begins != _SIGNATURE[: len(begins)] and not _has_user_block(path):
        return f"is no HDF5 file, it begins with the bytes {begins.hex(' ')}: choose another file"
    return (
        f"is no readable HDF5 file ({said}): it may be truncated, or its writer may have died; "
        "fetch or make it again"
    )


def _has_user_block(path: Path) -> bool:
    """Whether the signature of HDF5 comes after a block of foreign bytes."""
    size, place = path.stat().st_size, 512
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            place *= 2
    return False


def find(file: h5py.File, name: str) -> h5py.Group | h5py.Dataset | None:
    """What a file itself holds under a name, None for nothing.

    Raises:
        ShowerFileError: if a link stands there, as nothing outside the file is read, or damage.
    """
    found = file
    with blaming(file.filename, name):
        for part in name.split("/"):
            if not (isinstance(found, h5py.Group) and found.id.links.exists(part.encode())):
                return None
            if found.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
                raise ShowerFileError(
                    f"{file.filename}: {name!r} is a link, and links are not followed: copy what "
                    "it names into the file, for example with h5copy -f soft -f ext"
                )
            found = found[part]
    return found


def find_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset of numbers that a file itself holds, wholly written.

    Raises:
        ShowerFileError: if there is none, a link stands there, it is kept or continued outside the
            folder of the file, parts of it are missing, or it would fill the memory.
    """
    found = find(file, name)
    if not isinstance(found, h5py.Dataset):
        with blaming(file.filename, "its head"):
            held = ", ".join(file) or "nothing"
        raise ShowerFileError(
            f"{file.filename} has no dataset {name!r}, it holds {held}: was it written to its end?"
        )
    with blaming(file.filename, name):
        _check(found)
    return found


def _check(found: h5py.Dataset) -> None:
    """Raise a ValueError for what is not to be read."""
    numbers = h5py.check_vlen_dtype(found.dtype) or found.dtype
    if numbers.kind not in "fiu":
        raise ValueError(f"it must hold numbers, got {numbers}")
    if not found.size:
        return
    if found.external:
        raise ValueError(
            f"it is kept outside the file, in {found.external[0][0]!r}, which is not read: copy "
            "its numbers into a dataset of the file"
        )
    if found.is_virtual:
        _check_sources(found)
    else:
        _check_filters(found)
        _check_storage(found)


def _check_filters(found: h5py.Dataset) -> None:
    creation = found.id.get_create_plist()
    for i in range(creation.get_nfilters()):
        code, _, _, said = creation.get_filter(i)
        name = said.decode(errors="replace") or "a filter"
        if not h5py.h5z.filter_avail(code):
            raise ValueError(
                f"it is compressed by {name} (number {code}), which this HDF5 does not know: "
                "rewrite the file with h5repack -f GZIP=4 where it was made"
            )


def _check_storage(found: h5py.Dataset) -> None:
    """Refuse what was declared but not written, or would not fit into the memory."""
    n_bytes = found.size * found.id.get_type().get_size()
    stored = found.id.get_storage_size()
    if found.chunks is None:
        if stored < n_bytes:
            raise ValueError(_unfinished(found, f"{stored} of its {n_bytes} bytes are there"))
        return
    pairs = zip(found.shape, found.chunks, strict=True)
    wanted, there = math.prod(-(-n // c) for n, c in pairs), found.id.get_num_chunks()
    if there < wanted:
        raise ValueError(_unfinished(found, f"{there} of its {wanted} chunks are there"))
    chunk = math.prod(found.chunks) * found.id.get_type().get_size()
    if chunk > _LARGEST_CHUNK:
        raise ValueError(
            f"it is cut into chunks of {chunk / 1e9:.3g} GB, each of which has to be read as one: "
            "rewrite the file in chunks of a few MB, with h5repack -l CHUNK=…"
        )
    if n_bytes > max(_LARGE, _DENSEST * stored):
        raise ValueError(
            f"it claims {n_bytes / 1e9:.3g} GB in {stored / 1e6:.3g} MB of the file: no showers "
            "pack so densely; make it again"
        )


def _unfinished(found: h5py.Dataset, what: str) -> str:
    return (
        f"it has the shape {found.shape} and was not written to its end, {what}: its writer died, "
        "or the file was only prepared; make it again, or copy what is there into a file of its own"
    )


def _check_sources(found: h5py.Dataset) -> None:
    """Refuse a virtual dataset unless all of its parts exist, next to the file."""
    mapped = 0
    for source in found.virtual_sources():
        _check_source(found, source)
        mapped += source.vspace.get_select_npoints()
    if mapped < found.size:
        raise ValueError(
            _unfinished(found, f"its parts give {mapped} of the {found.size} numbers of it")
        )


def _check_source(found: h5py.Dataset, source: Any) -> None:
    part = f"its part {source.dset_name} of {source.file_name!r}"
    if source.file_name == ".":
        _check_part(found.file, source, part)
        return
    folder = Path(found.file.filename).resolve().parent
    path = (folder / source.file_name).resolve()
    if "%" in source.file_name or not path.is_relative_to(folder):
        raise ValueError(
            f"it is virtual, and {part} lies outside the folder of the file, which is not read: "
            "move the parts there, or copy them into one file with h5repack -l CONTI"
        )
    if not path.is_file():
        raise ValueError(
            f"it is virtual, and {part} is missing, which would read as zeros: fetch or make it"
        )
    with open_hdf5(path) as file:
        _check_part(file, source, part)


def _check_part(file: h5py.File, source: Any, part: str) -> None:
    dataset = find(file, source.dset_name.strip("/"))
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual:
        raise ValueError(
            f"it is virtual, and {part} is no dataset of its own: fetch or make it again"
        )
    _check(dataset)
    chosen = source.src_space
    if chosen.get_select_type() == h5py.h5s.SEL_ALL:
        fits = dataset.size == source.vspace.get_select_npoints()
    else:
        ends = chosen.get_select_bounds()[1]
        fits = len(ends) == dataset.ndim and all(
            end < n for end, n in zip(ends, dataset.shape, strict=True)
        )
    if not fits:
        raise ValueError(
            f"it is virtual, and {part} has another shape, {dataset.shape}, than the numbers that "
            "are taken from it: fetch or make it again"
        )
