"""Standardisation feature by feature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from caloforge.preprocessing.transforms import Transform
from caloforge.rounding import is_rounding

__all__ = ["Standardise"]


class Standardise(Transform):
    """z = (x - mean) / std, each of every feature in the training split (CaloDREAM, section 2).

    After a `Logit` it is the preprocessing of equation 3 there. A feature that is the same in all
    showers of the split is only shifted.

    Args:
        shape: shape of the features: x is (n, *shape).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer("mean", torch.full(self.shape, math.nan), persistent=False)
        self.register_buffer("std", torch.full(self.shape, math.nan), persistent=False)
        self._is_fitted = False  # known without asking the device

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit on the training split, streamed twice.

        Raises:
            ValueError: for features of another shape, or fewer than two showers.
        """
        n, total = 0, torch.zeros(self.shape, dtype=torch.float64)
        for x in batches():
            if tuple(x.shape[1:]) != self.shape:
                raise ValueError(
                    f"expected features of shape {self.shape}, got {tuple(x.shape[1:])}"
                )
            n += len(x)
            total += x.double().sum(0).cpu()
        if n < 2:
            raise ValueError(f"a standard deviation needs 2 showers or more, got {n}")
        mean = total / n
        squares = torch.zeros_like(mean)
        for x in batches():
            squares += (x.double() - mean.to(x.device)).square().sum(0).cpu()
        std = (squares / (n - 1)).sqrt()
        self._load(mean, std.masked_fill(is_rounding(std, mean.abs()), 1.0))

    def _load(self, mean: Tensor, std: Tensor) -> None:
        self.mean.copy_(mean)
        self.std.copy_(std)
        self._is_fitted = True

    def _fitted(self) -> tuple[Tensor, Tensor]:
        if not self._is_fitted:
            raise RuntimeError("Standardise is not fitted: call fit on the training split first")
        return self.mean, self.std

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self._fitted()
        return (x - mean) / std

    def inverse(self, z: Tensor) -> Tensor:
        mean, std = self._fitted()
        return z * std + mean

    def log_slope(self, x: Tensor) -> Tensor:
        _, std = self._fitted()
        return -std.log().expand_as(x)

    def state(self) -> dict[str, Any]:
        mean, std = self._fitted()
        return {"mean": mean.tolist(), "std": std.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`.

        Raises:
            ValueError: for another shape, or deviations that are not above 0.
        """
        mean, std = (torch.tensor(state[key], dtype=torch.float64) for key in ("mean", "std"))
        if not mean.shape == std.shape == self.shape or not bool((std > 0).all()):
            raise ValueError(
                f"expected means and deviations above 0 of shape {self.shape}, got "
                f"{tuple(mean.shape)} and {tuple(std.shape)}"
            )
        self._load(mean, std)
