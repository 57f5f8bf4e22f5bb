"""What is fitted on a trained system, and then belongs to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from caloforge.showers import ShowerSource

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["Calibration", "Counted"]

Counted = Callable[[int, int], None]
"""Called with the showers that are done and those that are wanted."""


class Calibration(nn.Module, ABC):
    """A correction of drawn showers that is fitted on showers drawn without it.

    Attributes:
        is_fitted: whether `fit` was called or a run folder loaded; only then it is applied.
    """

    is_fitted: bool = False

    def check(self, showers: ShowerSource[Any]) -> None:
        """Refuse a training sample that it cannot be fitted to, before anything is trained.

        Raises:
            ValueError: saying what is wrong, and which setting of the system allows it.
        """

    @abstractmethod
    def fit(
        self,
        system: System,
        showers: ShowerSource[Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: Counted | None = None,
    ) -> None:
        """Draw showers from a trained system and fit to them; they are discarded then.

        Args:
            system: the system, trained.
            showers: its training sample.
            seed: of what is drawn.
            device: where to compute.
            progress: told now and then how far it is.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What was fitted, in JSON's types."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`; the calibration counts as fitted then.

        Raises:
            ValueError: for values that no fit of the configuration gives.
        """
