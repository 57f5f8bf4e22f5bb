"""The index of a model that is shared: size and SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caloforge.training.enclosed import Enclosed
from caloforge.training.sharing.layout import CONFIG, INDEX, most_bytes

__all__ = ["Checksum", "Checksums"]

FORMAT_VERSION = 1
PIECE = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True)
class Checksum:
    """Size [bytes] and SHA-256, in hexadecimal digits, of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Checksums:
    """Those of all files of a model but the index itself, by name.

    Raises:
        ValueError: for a file that no model has, larger than any may be, or without a checksum.
    """

    files: Mapping[str, Checksum]

    def __post_init__(self) -> None:
        if CONFIG not in self.files:
            raise ValueError(f"{INDEX} does not name {CONFIG}: it is of no caloforge model")
        for name, file in self.files.items():
            most = None if name == INDEX else most_bytes(name)
            if most is None:
                raise ValueError(f"{INDEX} names {name[:100]!r}, which no caloforge model has")
            if not 0 <= file.size <= most or len(file.sha256) != 64:
                raise ValueError(
                    f"{INDEX} is damaged: expected up to {most:,} bytes and a SHA-256 of {name}, "
                    f"got {file.size:,} and {file.sha256[:70]!r}"
                )

    @classmethod
    def of(cls, folder: Path) -> Checksums:
        """Those of the files in a run folder that belong to a model.

        Raises:
            ValueError: if one of them is no plain file, or larger than any may be.
        """
        found = (*folder.glob("*"), *folder.glob("stages/*/*"))
        names = sorted(path.relative_to(folder).as_posix() for path in found)
        return cls({n: _checksum(folder, n) for n in names if most_bytes(n) and n != INDEX})

    @classmethod
    def read(cls, folder: Path) -> Checksums:
        """What `to_json` wrote to a folder.

        Raises:
            ValueError: if it is missing, damaged, or of a newer version of caloforge.
        """
        values = Enclosed(folder).json(folder / INDEX, most_bytes(INDEX) or 0)
        record: Mapping[str, Any] = values if isinstance(values, dict) else {}
        version = record.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ValueError(
                f"{INDEX} is of format {version}, and this caloforge reads {FORMAT_VERSION}: "
                "install a newer one (pip install --upgrade caloforge)"
            )
        try:
            files = {
                str(name): Checksum(int(of["bytes"]), str(of["sha256"]))
                for name, of in record["files"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{INDEX} is damaged: expected the size and the SHA-256 of every file by its name"
            ) from error
        return cls(files)

    def to_json(self) -> str:
        """The content of the file; `read` is the inverse."""
        files = {n: {"bytes": file.size, "sha256": file.sha256} for n, file in self.files.items()}
        return json.dumps({"format_version": FORMAT_VERSION, "files": files}, indent=1) + "\n"

    def check(self, folder: Path, *names: str) -> None:
        """Compare files of a folder, by default all, with their checksums.

        Raises:
            ValueError: if one of them is another, cut off, or missing.
        """
        for name in names or self.files:
            expected, found = self.files[name], _checksum(folder, name)
            if found.size != expected.size:
                raise ValueError(
                    f"{name} is cut off or another: expected {expected.size:,} bytes, got "
                    f"{found.size:,}"
                )
            if found.sha256 != expected.sha256:
                raise ValueError(
                    f"{name} is another: expected the SHA-256 {expected.sha256[:12]}…, got "
                    f"{found.sha256[:12]}…"
                )


def _checksum(folder: Path, name: str) -> Checksum:
    digest, size = hashlib.sha256(), 0
    with Enclosed(folder).opened(folder / name, most_bytes(name) or 0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return Checksum(size, digest.hexdigest())
