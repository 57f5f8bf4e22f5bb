"""What a user may choose at generation: offered by stages, read and checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from caloforge.cascade.arguments import SamplingOptions
from caloforge.names import did_you_mean

__all__ = [
    "MEMORY_BUDGET",
    "POSTPROCESS",
    "PRECISION",
    "RESAMPLE",
    "Choice",
    "check_offered",
    "chosen",
    "named",
    "one_of",
    "switch",
    "united",
    "whole_number",
]


@dataclass(frozen=True)
class Choice:
    """Something that a stage or a system lets a user choose at generation.

    `named`, `one_of`, `switch` and `whole_number` make the usual kinds.

    Args:
        what: what it is, in one line.
        default: the value where a user says nothing.
        read: the value, in JSON's types, of what a user gives; a value is read as itself. It
            raises a ValueError that says what was expected and what came.
        offered: values as one writes them, where they can be listed; N, as in "rk4-N", is any
            whole number.
    """

    what: str
    default: Any
    read: Callable[[Any], Any]
    offered: tuple[str, ...] = ()


def switch(what: str, *, default: bool) -> Choice:
    """Yes or no."""

    def read(given: Any) -> bool:
        if not isinstance(given, bool):
            raise ValueError(f"expected true or false, got {given!r}")
        return given

    return Choice(what, default, read, ("true", "false"))


def whole_number(what: str, default: int) -> Choice:
    """A whole number, 1 or more."""

    def read(given: Any) -> int:
        if isinstance(given, bool) or not isinstance(given, Integral) or given < 1:
            raise ValueError(f"expected a whole number, 1 or more, got {given!r}")
        return int(given)

    return Choice(what, default, read, ("N",))


def one_of(what: str, *names: str) -> Choice:
    """One of a few names, by default the first."""

    def find(name: str) -> None:
        if name not in names:
            meant = did_you_mean(name, names)
            raise ValueError(f"expected {' or '.join(names)}, got {name!r}{meant}")

    return named(what, names[0], find, names)


def named(
    what: str, default: str, find: Callable[[str], object], offered: tuple[str, ...]
) -> Choice:
    """Something that has a name.

    Args:
        what: as for `Choice`.
        default: as for `Choice`.
        find: finds it by its name, and raises a ValueError for an unknown name.
        offered: as for `Choice`.
    """

    def read(given: Any) -> str:
        name = str(given)
        find(name)
        return name

    return Choice(what, default, read, offered)


# What several systems offer; resampling is described by SuperCalo (section V C).
POSTPROCESS = switch("post-processing; the read-out threshold is always applied", default=True)
RESAMPLE = whole_number("showers of each sample of the stages before; they are correlated", 1)
MEMORY_BUDGET = whole_number(
    "of the temporaries of a stage that works piece by piece [bytes]", 1 << 30
)
PRECISION = one_of("of the solver's network; steps and results stay in 32 bits", "32", "bf16")


def united(offers: Mapping[str, Mapping[str, Choice]]) -> dict[str, Choice]:
    """All choices of several stages, of which two may offer the same one.

    Args:
        offers: the choices of each stage, by its name.

    Raises:
        ValueError: if two stages offer different choices by one name.
    """
    found: dict[str, Choice] = {}
    first: dict[str, str] = {}
    for stage, choices in offers.items():
        for name, choice in choices.items():
            if found.setdefault(name, choice) != choice:
                raise ValueError(
                    f"the stages {first[name]} and {stage} offer different choices of {name}: give "
                    "one of them another name"
                )
            first.setdefault(name, stage)
    return found


def check_offered(system: str, choices: Mapping[str, Choice], options: Mapping[str, Any]) -> None:
    """Refuse what a system does not offer.

    Args:
        system: its name.
        choices: what it offers.
        options: what a user chose; None chooses nothing.

    Raises:
        ValueError: with what it does offer.
    """
    for name, given in options.items():
        if given is not None and name not in choices:
            raise ValueError(
                f"{system} offers no choice of {name}{did_you_mean(name, choices)}: what can be "
                f"chosen is {', '.join(choices) or 'nothing'}"
            )


def chosen(choices: Mapping[str, Choice], options: Mapping[str, Any]) -> SamplingOptions:
    """A value for each of the choices: what a user gave, or its default where that is None.

    Options that are none of the choices are left out.

    Raises:
        ValueError: for what a choice does not take.
    """
    values = SamplingOptions()
    for name, choice in choices.items():
        given = options.get(name)
        try:
            values[name] = choice.default if given is None else choice.read(given)
        except (ValueError, TypeError) as error:
            raise ValueError(f"cannot take {name}={given!r}: {error}") from error
    return values
