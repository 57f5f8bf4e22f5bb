"""The contract of stages that sample by solving a differential equation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import Choice, named
from caloforge.cascade.stage import Learned
from caloforge.matching import Solver, make_solver, solver_names

__all__ = ["SolvedStage"]


class SolvedStage(Learned, ABC):
    """A stage that samples by solving dx/dt = v(x, t, context), with a solver of the user's choice.

    Attributes:
        choice: the name of that choice.
        solved_for: what is sampled with it.
        default_solver: the name where the user gives none.
        trained_solvers: those that were trained for its velocity, by name; its system adds them.
        later_solvers: names of those that will be trained for it after all stages.
    """

    choice: ClassVar[str]
    solved_for: ClassVar[str]
    default_solver: str
    trained_solvers: Mapping[str, Solver] = {}
    later_solvers: tuple[str, ...] = ()

    @property
    def choices(self) -> Mapping[str, Choice]:
        offered = dict.fromkeys((*solver_names(self.trained_solvers), *self.later_solvers))
        what = f"how {self.solved_for} are sampled"
        return {self.choice: named(what, self.default_solver, self._solver, tuple(offered))}

    def solver(self, options: SamplingOptions) -> Solver:
        """The solver to sample with.

        Raises:
            ValueError: for an unknown name.
        """
        return self._solver(options[self.choice])

    def _solver(self, name: str) -> Solver:
        return make_solver(name, self.trained_solvers)

    @property
    def sequential_passes(self) -> int:
        return self.passes(self.chosen({}))

    @abstractmethod
    def passes(self, options: SamplingOptions) -> int:
        """`sequential_passes` with the solver of the options."""
