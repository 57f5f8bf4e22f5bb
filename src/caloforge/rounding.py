"""The one rule of when a spread of numbers is only rounding, so that they count as constant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["is_rounding"]

ROUNDING = 2.0**-40  # what some thousand operations in double precision may leave


@overload
def is_rounding(spread: float, magnitude: float) -> bool: ...
@overload
def is_rounding(spread: Tensor, magnitude: Tensor) -> Tensor: ...
@overload
def is_rounding(spread: NDArray[Any], magnitude: NDArray[Any] | float) -> NDArray[np.bool_]: ...
def is_rounding(spread: Any, magnitude: Any) -> Any:
    r"""Whether numbers differ by no more than rounding, so that nothing can be measured in units of
    their spread.

    .. math:: \mathrm{spread} \le 2^{-40}\,\mathrm{magnitude}

    Equal numbers that were summed in another order, or whose mean was subtracted, have a spread of
    that kind. NaN is none.

    Args:
        spread: a standard deviation, a range, or a variance.
        magnitude: of the numbers, not negative; of their squares for a variance.
    """
    return spread <= ROUNDING * magnitude
