"""Models: trained systems that packages contain, found by name."""

from __future__ import annotations

import importlib.resources
import json
import os
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from caloforge.names import did_you_mean
from caloforge.training.sharing import folder_of, is_address

__all__ = ["best_models", "find_run", "model_folders"]

GROUP = "caloforge.models"  # entry points of packages that hold models, a module by any name
INDEX = "index.json"  # next to the folders of the models


@cache
def _shipped() -> tuple[dict[str, Path], dict[str, str]]:
    """The folder of every model by name, and the name of the best one by what they are for."""
    folders, best = dict[str, Path](), dict[str, str]()
    for entry in entry_points(group=GROUP):
        folder = Path(str(importlib.resources.files(entry.value)))
        own = {path.parent.name: path.parent for path in sorted(folder.glob("*/config.yaml"))}
        chosen = _chosen(folder / INDEX, own)
        taken = sorted((own.keys() | chosen.keys()) & (folders.keys() | best.keys()))
        if taken:
            raise ValueError(
                f"two packages hold models called {', '.join(taken)}: uninstall one of them, "
                f"such as {entry.value}"
            )
        folders |= own
        best |= chosen
    return folders, best


def _chosen(index: Path, own: dict[str, Path]) -> dict[str, str]:
    """Which model of a package is the best for what."""
    try:
        values = json.loads(index.read_text(encoding="utf-8"))
        chosen = {str(name): str(model) for name, model in values.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"expected names of models by what they are for in {index}: {error}"
        ) from error
    if lost := sorted(set(chosen.values()) - own.keys()):
        raise ValueError(f"{index} names {', '.join(lost)}, of which there is no folder beside it")
    return chosen


def model_folders() -> dict[str, Path]:
    """The folder of every model that is installed, by its name."""
    return dict(_shipped()[0])


def best_models() -> dict[str, str]:
    """What the packages call their best models, such as "electrons-calochallenge-2": full names."""
    return dict(_shipped()[1])


def find_run(run: str | Path) -> Path:
    """The folder of a trained system, given by its path, or by the name or the address of a model.

    A run folder goes before a model of the same name.

    Args:
        run: a folder that holds `config.yaml`, the name of a model, what a package calls its best
            one, or an address such as "hf://owner/name", see `folder_of`.

    Raises:
        ValueError: if there is none.
    """
    if is_address(run):
        return folder_of(run)
    path, name = Path(run), str(run)
    if os.path.lexists(path / "config.yaml"):  # what it is, is checked where it is opened
        return path
    folders, best = _shipped()
    if (model := best.get(name, name)) in folders:
        return folders[model]
    if path.is_dir():
        raise ValueError(f"{path} is no run folder: it has no config.yaml")
    known = [*best, *folders]
    remedy = "`caloforge models` lists them" if known else "pip install 'caloforge[models]'"
    raise ValueError(f"no run folder or model {name!r}{did_you_mean(name, known)}: {remedy}")
