"""Messages of the library with the options of the command line in place of Python's arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

__all__ = ["Commands", "in_options"]

# Arguments that an option has another name for, and calls that a command makes.
_CALLED = {
    "devices": "device",
    "energy_inc": "energy",
    "factors": "factors",
    "memory_budget": "memory",
    "metrics": "metric",
    "stages": "stage",
}
_COMMANDS = {
    "use open_points or read": "make voxels of them with `caloforge project`",
    "use open_showers or read": "give a file of points",
    "make coarse ones with showers.coarsen(system.coarsening)": "make coarse ones with "
    "`caloforge coarsen`",
}
# Quoted, a flag or a number: a file may be called step=200/fake.h5, and is named literally.
_VALUE = r"""(?: '[^']*' | "[^"]*" | (?:True|\d+(?:\.\d+)?)(?![\w/]|\.\w) )"""
_spoken: dict[str, str] = {}  # the options of the running command, by Python's name


class Commands(TyperGroup):
    """The commands; remembers the options of the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        _spoken.clear()
        if command is not None:
            _spoken.update(_options(command.params))
        return name, command, rest


def _options(parameters: Any) -> dict[str, str]:
    """The longest name of each option, by the names that the library has for it."""
    found = {
        parameter.name: max(parameter.opts, key=len)
        for parameter in parameters
        if parameter.param_type_name == "option"
    }
    return found | {python: found[name] for python, name in _CALLED.items() if name in found}


def in_options(text: str, options: Mapping[str, str] | None = None) -> str:
    """A message in which the arguments of Python are the options of the running command.

    `geometry='ild-30'` becomes `--geometry ild-30`, `resume=True` becomes `--resume`, and
    `batch_size must be 1` becomes `--batch-size must be 1`. Words that are not the command's
    options stay as they are, and so do settings such as `layers.recipe.epochs=3`.

    Args:
        text: the message.
        options: the options by Python's name; by default those of the running command.
    """
    for call, command in _COMMANDS.items():
        text = text.replace(call, command)
    for name, option in (_spoken if options is None else options).items():
        outside = rf"(?<![\w.'\"/-]){re.escape(name)}"
        given = re.compile(rf"{outside}=(?P<value>{_VALUE})", re.VERBOSE)
        text = given.sub(lambda found, option=option: _written(option, found["value"]), text)  # type: ignore[misc]
        if "_" in name:
            text = re.sub(rf"{outside}(?![\w.='\"/-])", option, text)
        else:
            text = re.sub(rf"^{re.escape(name)}(?= must\b)", option, text)
    return text


def _written(option: str, value: str) -> str:
    bare = value.strip("'\"")
    return option if bare == "True" else f"{option} {bare}"
