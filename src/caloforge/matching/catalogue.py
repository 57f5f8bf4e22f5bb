"""Solvers by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from caloforge.matching.adaptive import Adaptive
from caloforge.matching.rungekutta import EULER, MIDPOINT, RK4, RungeKutta
from caloforge.matching.solver import Solver
from caloforge.names import did_you_mean

__all__ = ["make_solver", "solver_names"]

TABLEAUS = {"euler": EULER, "midpoint": MIDPOINT, "rk4": RK4}


def solver_names(trained: Mapping[str, Solver]) -> tuple[str, ...]:
    """Names of all solvers, those that were trained last; N is any number of steps."""
    return (*(f"{method}-N" for method in TABLEAUS), "adaptive", *trained)


def make_solver(name: str, trained: Mapping[str, Solver] | None = None) -> Solver:
    """The solver of a name.

    Args:
        name: "euler-20", "midpoint-10" or "rk4-5" with any number of steps, of 1, 2 or 4
            evaluations each; "adaptive"; or one that was trained, such as "bns-8".
        trained: solvers that were trained for the velocity, by name.

    Raises:
        ValueError: for an unknown name.
    """
    trained = trained or {}
    if name in trained:
        return trained[name]
    if name == "adaptive":
        return Adaptive()
    with_steps = re.fullmatch(rf"({'|'.join(TABLEAUS)})-([1-9]\d*)", name)
    if with_steps:
        return RungeKutta(TABLEAUS[with_steps[1]], int(with_steps[2]))
    meant = did_you_mean(name, ("adaptive", *trained, *(f"{method}-10" for method in TABLEAUS)))
    methods = ", ".join(f"{method}-N" for method in TABLEAUS)
    raise ValueError(
        f"there is no solver {name!r}{meant}: name {methods} with N steps, adaptive, or a solver "
        "trained for this network "
        f"({', '.join(trained) or 'there is none'})"
    )
