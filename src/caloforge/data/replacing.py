"""Files are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` and rename it to `path` when the block succeeds.

    If the block raises, the temporary file goes and an existing file at `path` is untouched. A
    link is followed: the file that it names is replaced.

    Raises:
        ValueError: if the folder of `path` does not exist, or `path` is itself a folder.
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} does not exist: create it to write {target}")
    if target.is_dir():
        raise ValueError(f"{target} is a folder: give the name of a file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
