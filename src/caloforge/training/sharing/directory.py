"""A model in a folder of this machine, such as one that a file server serves."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from caloforge.data.replacing import making, making_folder, replacing
from caloforge.training.enclosed import Enclosed
from caloforge.training.sharing.layout import INDEX, most_bytes

__all__ = ["Directory"]


@dataclass(frozen=True)
class Directory:
    """A folder, see `Place`. Its content may change, and is copied whenever it is asked for."""

    path: Path
    revision: str | None = None

    @classmethod
    def of(cls, address: str) -> Directory:
        """The folder of a path or a `file://` address."""
        is_url = address.startswith("file://")
        return cls(Path(unquote(address.removeprefix("file://"))) if is_url else Path(address))

    @property
    def address(self) -> str:
        return str(self.path)

    @property
    def key(self) -> None:
        return None

    def resolve(self) -> Directory:
        index = Enclosed(self.path)
        if not index.holds(self.path / INDEX):
            raise ValueError(f"{self.path} holds no model to be shared: it has no {INDEX}")
        content = index.read(self.path / INDEX, most_bytes(INDEX) or 0)
        return Directory(self.path, hashlib.sha256(content).hexdigest())

    def fetch(self, sizes: Mapping[str, int], folder: Path) -> None:
        for name, most in sizes.items():
            with (
                making((folder / name).parent),
                replacing(folder / name) as temporary,
                Enclosed(self.path).opened(self.path / name, most) as source,
                temporary.open("wb") as target,
            ):
                shutil.copyfileobj(source, target)

    def put(self, folder: Path, names: Collection[str]) -> str:
        with making_folder(self.path) as new:
            Directory(folder).fetch({name: most_bytes(name) or 0 for name in names}, new)
        return self.address
