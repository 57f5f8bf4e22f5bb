"""Systems without memory for their weights: what a configuration asks for, checked in advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from caloforge.cascade.registry import build_from_config
from caloforge.cascade.system import System
from caloforge.geometry import Geometry

__all__ = ["outlined"]

MOST_NUMBERS = 1 << 31  # of one tensor
MOST_CALLS = 400_000  # of PyTorch; the largest preset takes 120,000
MOST_WEIGHTS = 1 << 36  # of a system
MOST_VOXELS = 100_000_000  # of a geometry; the ILD has 632,448
MOST_SETTING = 10_000_000  # whole number of a configuration


class _Bounded(TorchFunctionMode):
    """Refuses what no system asks for, or more weights than there are to load.

    Args:
        most: numbers of all tensors that are made to be filled, as weights are.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left, self.calls = most, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.calls += 1
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):  # such as the switch of gradients, never left half-way
            return result
        if func is torch.empty:
            self.left -= result.numel()
        if self.left < 0:
            raise ValueError(
                "the configuration asks for more weights than the folder holds: it is not trained "
                "to its end, or no model of caloforge"
            )
        if self.calls > MOST_CALLS or result.numel() > MOST_NUMBERS:
            raise ValueError("the configuration asks for networks larger than those of any system")
        return result


def outlined(
    name: str, config: Mapping[str, Any], geometry: Geometry, *, most: int = MOST_WEIGHTS
) -> System:
    """The system of a configuration, whose tensors have shapes and no numbers.

    Args:
        name: of the system.
        config: complete, as `config_to_dict` gives it.
        geometry: the voxels or layers.
        most: numbers that its weights may have.

    Raises:
        ValueError: for values that do not fit, or that ask for more than any memory holds.
    """
    _check_settings(config)
    if geometry.n_voxels > MOST_VOXELS:
        raise ValueError(
            f"the geometry has {geometry.n_voxels:,} voxels, expected no more than {MOST_VOXELS:,}"
        )
    with torch.device("meta"), _Bounded(most):
        try:
            return build_from_config(name, config, geometry)
        except RuntimeError as error:  # raised by PyTorch for sizes that do not fit or overflow
            reason = str(error).splitlines()[0][:200]
            raise ValueError(f"the configuration of {name} does not fit: {reason}") from error


def _check_settings(values: Any, name: str = "config") -> None:
    """Refuse whole numbers that are slips, or worse."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            _check_settings(value, f"{name}.{key}")
    elif isinstance(values, list | tuple):
        for value in values:
            _check_settings(value, name)
    elif isinstance(values, int | float) and abs(values) > MOST_SETTING:
        raise ValueError(f"{name} is {values:.3g}, expected no more than {MOST_SETTING:,}")
