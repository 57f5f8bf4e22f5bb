"""A run folder stripped to what generation needs: a model to share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caloforge.data import making_folder
from caloforge.training.models import find_run
from caloforge.training.runfolder import RunFolder, load

__all__ = ["pack"]


def pack(run: str | Path, output: str | Path, *, half: bool = False) -> Path:
    """Write a model: the settings, weights and transforms of a trained run, and no more.

    Logs and states of the training are left out, and so are the folders that its files lay in. The
    folder of an earlier version becomes one of this version.

    Example:
        >>> pack("runs/l2l", "models/electrons-mine-l2lflows", half=True)
        PosixPath('models/electrons-mine-l2lflows')

    Args:
        run: the run folder, or the name of a model.
        output: the folder to write.
        half: keep the weights of networks in half precision, a relative 5e-4, in half the space.
            What was fitted or is kept of training showers stays as it is.

    Returns:
        The folder that was written.

    Raises:
        ValueError: if the run is not trained to its end, or the output exists.
        NoSpaceError: if the disk is full.
    """
    system = load(run)
    source = RunFolder(find_run(run))
    with making_folder(output) as temporary:
        folder = RunFolder(temporary)
        folder.create(system, **_facts(source.config()))
        for name, stage in system.stages.items():
            folder.stage(name).save_weights(stage, half=half)
            folder.stage(name).finish(source.stage(name).summary())
        load(temporary)
    return Path(output)


def _facts(config: dict[str, Any]) -> dict[str, Any]:
    """What a run records about its training, without the folders on the machine where it was."""
    written = ("system", "initial_seed", "config", "geometry")  # by `create` itself
    facts = {name: value for name, value in config.items() if name not in written}
    if isinstance(showers := config.get("data", {}).get("showers"), str):
        files = [Path(path).name for path in showers.split(", ")]
        facts["data"] = {**facts["data"], "showers": ", ".join(files)}
    return facts
