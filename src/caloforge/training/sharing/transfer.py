"""Publish models, and fetch them: nothing but files of the known layout, and none without its
checksum.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path

import caloforge
from caloforge.data import check_empty, making_folder, write_files
from caloforge.training.enclosed import Enclosed
from caloforge.training.plainyaml import plain_yaml
from caloforge.training.sharing.checksums import Checksums
from caloforge.training.sharing.directory import Directory
from caloforge.training.sharing.hub import Hub
from caloforge.training.sharing.layout import CARD, CONFIG, FACTS, INDEX, most_bytes
from caloforge.training.sharing.place import Place
from caloforge.training.sharing.server import Server

__all__ = ["ORIGIN", "MovingAddressWarning", "folder_of", "is_address", "pull", "push"]

ORIGIN = "origin.json"  # where a model was fetched, which no place can say itself


class MovingAddressWarning(UserWarning):
    """An address names another model as soon as one is put there."""


def is_address(text: str | Path) -> bool:
    """Whether a text is an address, such as "hf://owner/name", and no path."""
    return isinstance(text, str) and text.startswith(("hf://", "http://", "https://", "file://"))


def folder_of(model: str | Path) -> Path:
    """The folder of a model that is given by its path or by its address.

    What lies elsewhere is fetched once for each of its revisions, into
    `$XDG_CACHE_HOME/caloforge/models` or `~/.cache/caloforge/models`, and taken from there when it
    is asked for again: then without the network, where the address has a commit or a checksum.

    Args:
        model: a folder, `file://` and its path, `hf://owner/name`, `hf://owner/name@revision`, or
            the folder on a file server, `https://server/model` or
            `https://server/model#sha256=…` with the checksum of its `checksums.json`.

    Raises:
        ConnectionError: if what holds the model does not answer.
        ModuleNotFoundError: for `hf://…` without the package huggingface_hub.
        PermissionError: if it asks for a permission.
        ValueError: if there is no model, or one that is damaged or of a newer caloforge.

    Warns:
        MovingAddressWarning: for an address without a commit or a checksum, with the one that is
            there now.
    """
    if not is_address(model):
        return Path(model)
    place = _place(str(model))
    if isinstance(place, Directory):
        return place.path
    if place.key is None:
        there = place.resolve()
        warnings.warn(
            f"{place.address} may be another model tomorrow: this one is {there.address}",
            MovingAddressWarning,
            stacklevel=2,
        )
        place = there
    assert place.key is not None
    folder = _kept().joinpath(*place.key)
    if not folder.is_dir():
        with making_folder(folder) as new:
            _fetch(place, new)
    try:
        Checksums.read(folder).check(folder)
    except ValueError as error:
        raise ValueError(
            f"{folder} was changed since it was fetched: remove it ({error})"
        ) from None
    return folder


def pull(address: str, output: str | Path) -> str:
    """Fetch a model into a folder of its own, with a note of where it comes from.

    Example:
        >>> pull("file://models/quilt", "runs/quilt")  # doctest: +SKIP

    Args:
        address: as for `folder_of`.
        output: the folder, which does not exist yet or is empty.

    Returns:
        The address with the commit or the checksum of what was fetched.

    Raises:
        ConnectionError, ModuleNotFoundError, PermissionError, ValueError: as for `folder_of`.
        ValueError: if the folder is not empty.
    """
    folder = Path(output)
    check_empty(folder)
    place = _place(address).resolve()
    with making_folder(folder) as new:
        _fetch(place, new)
    return place.address


def push(run: str | Path, address: str, *, private: bool = False) -> str:
    """Hand a model on, to a repository of the Hugging Face Hub or to a new folder.

    Args:
        run: the run folder, with its card.
        address: `hf://owner/name`, which is made where it does not exist, or a folder.
        private: whether a repository that is made is for its owner alone.

    Returns:
        The address with the commit of what is there now.

    Raises:
        ConnectionError, ModuleNotFoundError, PermissionError: as for `folder_of`.
        ValueError: if the run has no card, was changed since, or the folder is not empty.
    """
    folder = Path(run)
    if missing := [n for n in (CARD, FACTS, INDEX) if not Enclosed(folder).holds(folder / n)]:
        raise ValueError(
            f"{run} has no {', '.join(missing)}: write its card first (caloforge card {run})"
        )
    checksums = Checksums.read(folder)
    try:
        checksums.check(folder)
    except ValueError as error:
        raise ValueError(
            f"{run} was changed since its card was written: write it again ({error})"
        ) from None
    return _place(address, private=private).put(folder, [*checksums.files, INDEX])


def _place(address: str, *, private: bool = False) -> Place:
    if address.startswith("hf://"):
        return Hub.of(address, private=private)
    if address.startswith(("http://", "https://")):
        return Server.of(address)
    return Directory.of(address)


def _kept() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "caloforge" / "models"


def _fetch(place: Place, folder: Path) -> None:
    """Fetch all files, the small ones that may speak against it first."""
    place.fetch({INDEX: most_bytes(INDEX) or 0}, folder)
    try:
        checksums = Checksums.read(folder)
        sizes = {name: file.size for name, file in checksums.files.items()}
        place.fetch({CONFIG: sizes.pop(CONFIG)}, folder)
        checksums.check(folder, CONFIG)
        _check_version(folder)
        place.fetch(sizes, folder)
        checksums.check(folder)
    except ValueError as error:
        if place.address in str(error):
            raise
        raise ValueError(f"{place.address}: {error}") from error
    write_files({folder / ORIGIN: json.dumps({"address": place.address}, indent=1) + "\n"})


def _check_version(folder: Path) -> None:
    """Refuse a model of a newer version; the last number does not count."""
    values = plain_yaml(Enclosed(folder).read(folder / CONFIG, most_bytes(CONFIG) or 0))
    version = str(values.get("caloforge", "")) if isinstance(values, dict) else ""
    if _numbers(version) > _numbers(caloforge.__version__):
        raise ValueError(
            f"it was trained with caloforge {version[:40]}, and this is {caloforge.__version__}: "
            "install a newer one (pip install --upgrade caloforge)"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d{1,9}", version)[:2]))
