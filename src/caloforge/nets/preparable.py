"""Modules that keep a form of themselves that samples faster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

__all__ = ["Preparable"]


class Preparable(nn.Module, ABC):
    """A module that computes once what sampling needs of its weights.

    What was prepared is dropped where weights may change: by `train()`, by loading weights and by
    moving to another device or precision, of this module or one that contains it. It does not
    notice weights that are edited in place, nor what is done to its submodules alone: prepare
    again. Copies begin without it, and it is never saved.
    """

    _prepared: Any = None

    @property
    def is_prepared(self) -> bool:
        """Whether `prepare` was called since the weights may last have changed."""
        return self._prepared is not None

    @abstractmethod
    def prepare(self) -> None:
        """Compute it from the present weights."""

    def train(self, mode: bool = True) -> Preparable:
        if mode:
            self._prepared = None
        super().train(mode)
        return self

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._prepared = None
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._prepared = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None}
