"""The kind of a file that is not HDF5, by its first bytes, and what to do with it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["what_it_is"]

_HEAD = 1024  # bytes that are read

_UNPACK = "unpack it first"
_CONVERT = (
    "write its showers to HDF5 with h5py, as `incident_energies` (n, 1) and `showers` (n, n_voxels)"
)
_FETCH = "fetch it again"

# First bytes, at their place, of files of other kinds that users name.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"root", "a ROOT file", "read it with uproot; " + _CONVERT),
    (4, b"\xab\xad\xca\xfe", "an LCIO file", "read it with pyLCIO; " + _CONVERT),
    (4, b"\xfe\xca\xad\xab", "an LCIO file", "read it with pyLCIO; " + _CONVERT),
    (0, b"\x93NUMPY", "a NumPy array (npy)", "load it with numpy; " + _CONVERT),
    (0, b"\x1f\x8b", "compressed by gzip", "unpack it first, with gunzip"),
    (0, b"BZh", "compressed by bzip2", "unpack it first, with bunzip2"),
    (0, b"\xfd7zXZ\x00", "compressed by xz", "unpack it first, with unxz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it first, with unzstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", "unpack it first, with tar -xf"),
    (0, b"PK\x05\x06", "an empty zip archive", _FETCH),
    (
        0,
        b"version https://git-lfs",
        "the pointer of Git LFS to the file, not the file",
        "fetch the file itself with git lfs pull",
    ),
    (
        0,
        b"/annex/objects/",
        "the pointer of git-annex to the file, not the file",
        "fetch the file itself with git annex get",
    ),
    (0, b"PAR1", "a Parquet file", "read it with pyarrow; " + _CONVERT),
    (0, b"ARROW1", "an Arrow file", "read it with pyarrow; " + _CONVERT),
    (0, b"CDF\x01", "a netCDF 3 file", _CONVERT),
    (0, b"CDF\x02", "a netCDF 3 file", _CONVERT),
    (0, b"\x0e\x03\x13\x01", "an HDF4 file", "convert it with h4toh5"),
    (0, b"MATLAB 5.0", "a MATLAB 5 file", "save it as version 7.3; " + _CONVERT),
    (0, b"SQLite format 3", "an SQLite database", "choose a file of showers"),
    (0, b"\x89PNG", "a picture", "choose a file of showers"),
    (0, b"%PDF", "a PDF document", "choose a file of showers"),
)

# What text begins with, in small letters.
_TEXTS: tuple[tuple[str, str, str], ...] = (
    ("<!doctype html", "an HTML page", "fetch the file that the page offers, not the page"),
    ("<html", "an HTML page", "fetch the file that the page offers, not the page"),
    ("<bins", "a CaloChallenge binning (XML)", "read it with read_calochallenge_xml"),
    ("<?xml", "an XML file", "read binnings with read_calochallenge_xml; choose a file of showers"),
    ("{", "text (JSON)", "read it: a server may have answered with an error"),
)


def what_it_is(path: Path) -> tuple[str, str] | None:
    """What a file is, and what to do with it; None for one that is or may have been HDF5.

    Args:
        path: a plain file.

    Raises:
        OSError: if it may not be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "empty", f"{_FETCH}, or look why its writer left nothing"
    for place, signature, name, advice in _SIGNATURES:
        if head.startswith(signature, place):
            return name, advice
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        return "a pickle", "it is not loaded, as loading it may run any code; " + _CONVERT
    if not any(head):
        return "full of zeros where it should begin", f"a copy of it broke off: {_FETCH}"
    return _text(head)


def _zip(head: bytes) -> tuple[str, str]:
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]
    if first.endswith(b".npy"):
        return "NumPy arrays (npz)", "load them with numpy; " + _CONVERT
    if first.endswith((b"/data.pkl", b"/.format_version")):
        return "a file of PyTorch", "load it with torch, if you trust it; " + _CONVERT
    return "a zip archive", "unpack it first, with unzip"


def _text(head: bytes) -> tuple[str, str] | None:
    try:
        # a letter of several bytes may be cut at the end
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    text = text.lstrip()
    for beginning, name, advice in _TEXTS:
        if text.lower().startswith(beginning):
            return name, advice
    if "/annex/objects/" in text.partition("\n")[0]:
        return next((name, advice) for _, s, name, advice in _SIGNATURES if s[:6] == b"/annex")
    if not text or not all(letter.isprintable() or letter in "\t\r\n" for letter in text):
        return None
    first = text.splitlines()[0][:60]
    return f"text, which begins {first!r}", "choose a file of showers, or " + _CONVERT
