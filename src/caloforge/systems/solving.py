"""The contract of stages that draw by solving a differential equation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from caloforge.matching import Solver, make_solver
from caloforge.systems.arguments import SamplingOptions
from caloforge.systems.stage import Stage

__all__ = ["CHOICES", "Choice", "SolvedStage"]

Choice = Literal["solver", "energy_solver"]
"""The fields of `SamplingOptions` that name a solver."""

CHOICES: Mapping[Choice, str] = {"solver": "voxels", "energy_solver": "layer energies"}
"""What is drawn by the solver of each field."""


class SolvedStage(Stage, ABC):
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
