"""The contract of stages that draw by solving a differential equation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.stage import Learned, Stage
from caloforge.matching import Solver, make_solver

__all__ = ["CHOICES", "Choice", "SolvedStage", "check_solvers"]

Choice = Literal["solver", "energy_solver"]
"""The fields of `SamplingOptions` that name a solver."""

CHOICES: Mapping[Choice, str] = {"solver": "voxels", "energy_solver": "layer energies"}
"""What is drawn by the solver of each field."""


class SolvedStage(Learned, ABC):
    """A stage that draws by solving dx/dt = v(x, t, context), with a solver that a user may choose.

    Attributes:
        choice: the field of `SamplingOptions` that names its solver.
        default_solver: the name where the user gives none.
        trained_solvers: those that were trained for its velocity, by name; its system knows them.
    """

    choice: ClassVar[Choice]
    default_solver: str
    trained_solvers: Mapping[str, Solver] = {}

    def solver(self, options: SamplingOptions) -> Solver:
        """The solver to draw with.

        Raises:
            ValueError: for a name that there is not.
        """
        name = getattr(options, self.choice) or self.default_solver
        return make_solver(name, self.trained_solvers)

    @property
    def sequential_passes(self) -> int:
        return self.passes(SamplingOptions())

    @abstractmethod
    def passes(self, options: SamplingOptions) -> int:
        """`sequential_passes` with the solver of the options."""


def check_solvers(system: str, stages: Iterable[Stage], options: SamplingOptions) -> None:
    """Refuse solvers and a precision that the stages of a system do not offer.

    Raises:
        ValueError: naming the choice and the system.
    """
    solved = {stage.choice: stage for stage in stages if isinstance(stage, SolvedStage)}
    for choice in CHOICES:
        name = getattr(options, choice)
        if name is not None and choice not in solved:
            raise ValueError(
                f"{system} solves no differential equation for its {CHOICES[choice]}, it takes no "
                f"{choice} {name!r}: only flow matching does, such as calodream"
            )
        if name is not None:
            solved[choice].solver(options)
    if options.precision != "32" and "solver" not in solved:
        raise ValueError(
            f"{system} computes in 32 bits alone, got precision {options.precision!r}: only flow "
            "matching takes less, such as calodream"
        )
