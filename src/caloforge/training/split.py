"""Which showers of a sample are learned from, and which are kept for validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.cascade.recipe import validation_size

__all__ = ["split_numbers"]


def split_numbers(
    n: int, validation: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the showers of the training and of the validation part.

    They depend on the arguments alone; those of a larger fraction for validation are learned
    from with a smaller one as well.

    Args:
        n: showers of the sample.
        validation: share that is kept for validation.
        seed: of the split.

    Raises:
        ValueError: if the sample is too small for both.
    """
    n_validation = validation_size(n, validation)
    order = np.random.default_rng(seed).permutation(n)
    return order[n_validation:], order[:n_validation]
