"""Results kept on disk, each under a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from caloforge.data.replacing import write_files
from caloforge.evaluation.observables import ShowerSource
from caloforge.evaluation.projection import PointSource, Projected
from caloforge.showers import fingerprint

__all__ = ["Cache", "content_hash"]

Result = TypeVar("Result")
Arrays = dict[str, NDArray[Any]]

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")
PACKAGES = ("evaluation", "geometry", "showers")  # whose code decides what a result is
MODULES = ("preprocessing/ratios.py", "preprocessing/transforms.py")


class Cache:
    """A folder of results.

    Args:
        folder: where they are kept; made when the first one is. None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def fetch(
        self,
        key: Mapping[str, Any],
        compute: Callable[[], Result],
        pack: Callable[[Result], Arrays],
        unpack: Callable[[Arrays], Result],
    ) -> Result:
        """The result that is kept under the key, or that of `compute`, which is then kept.

        Args:
            key: what the result depends on besides the code and the libraries, as plain values.
            compute: finds the result.
            pack: turns it into arrays by name.
            unpack: turns them back.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{_hash_of({**key, 'code': _code_hash()})}.safetensors"
        if path.is_file():
            try:
                return unpack(_load(path))
            except (SafetensorError, KeyError, OSError):
                pass  # damaged: computed again and replaced
        result = compute()
        write_files({path: _packed(pack(result))}, parents=True)
        return result


def _packed(arrays: Arrays) -> bytes:
    order = {"names": json.dumps(list(arrays))}  # safetensors sorts them
    packed = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    content: bytes = to_bytes(packed, metadata=order)
    return content


def _load(path: Path) -> Arrays:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in json.loads(file.metadata()["names"])}


def content_hash(showers: ShowerSource | PointSource) -> str:
    """Hash of showers, see `fingerprint`, and of their geometry, wherever they are kept.

    The same showers have the same hash in memory, in a file of either layout, under any name.
    Projected points have that of the points and of the geometry that they are projected into.
    """
    kept: Any = showers.points if isinstance(showers, Projected) else showers
    return _hash_of({"geometry": showers.geometry.to_dict(), "showers": fingerprint(kept)})


def _hash_of(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@cache
def _code_hash() -> str:
    """Hash of the code that finds results and of the versions of the libraries that it calls."""
    package = files("caloforge")
    digest = hashlib.blake2b(digest_size=16)
    for name in LIBRARIES:
        digest.update(f"{name} {version(name)}\n".encode())
    with_code = [package / name for name in MODULES]
    for name in PACKAGES:
        with_code += _modules(package / name)
    for module in with_code:
        digest.update(module.read_bytes())
    return digest.hexdigest()


def _modules(folder: Any) -> list[Any]:
    """The modules of a package and of those in it, in a fixed order."""
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _modules(entry)
        elif entry.name.endswith(".py"):
            found.append(entry)
    return found
