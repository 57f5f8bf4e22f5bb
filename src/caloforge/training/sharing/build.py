"""A folder is complete or absent: filled under a temporary name, then renamed."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caloforge.data import check_folder

__all__ = ["building", "check_empty"]


def check_empty(folder: Path) -> None:
    """See that a folder can be made, or is there and empty.

    Raises:
        ValueError: if it cannot, or something lies in it.
    """
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: choose another folder")


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, and rename it to that when the block succeeds.

    Where another process made the same folder meanwhile, that one stays.

    Raises:
        ValueError: as for `check_empty`.
    """
    check_empty(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder.is_dir() and any(folder.iterdir())):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
