"""Invertible, element-wise maps between physical quantities and what networks see."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Chain", "Log", "LogEnergy", "LogRange", "Logit", "ScaleByMax", "Snap", "Transform"]


class Transform(nn.Module, ABC):
    """An element-wise map z = t(x) with its inverse, fitted explicitly and once.

    What was fitted is kept in `state`, plain numbers that are saved with the weights as JSON.
    """

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit on the training split, streamed; by default there is nothing to fit.

        Args:
            batches: gives a new pass over the data at each call.
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """From the physical quantity to the network's."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """From the network's quantity to the physical one."""

    @abstractmethod
    def log_slope(self, x: Tensor) -> Tensor:
        """log |dz/dx| element by element, the shape of x."""

    def loses(self, x: Tensor) -> Tensor:
        """Which entries do not come back through `inverse`, rounding aside; the shape of x.

        So a clamp shows itself, be it in `forward` or in `inverse`.
        """
        exact = x.double()
        back = self.inverse(self.forward(exact))
        largest = exact.abs().amax() if exact.numel() else 0.0
        lost: Tensor = ~((back - exact).abs() <= 1e-6 * exact.abs() + 1e-9 * largest)
        return lost

    def state(self) -> dict[str, Any]:
        """What was fitted, in JSON's types."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""


class Chain(Transform):
    """Transforms one after the other."""

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        def seen_by(i: int) -> Iterator[Tensor]:
            return map(Chain(*self._links()[:i]), batches())

        for i, transform in enumerate(self._links()):
            transform.fit(partial(seen_by, i))

    def _links(self) -> list[Transform]:
        return list(self.transforms)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        for transform in self._links():
            x = transform(x)
        return x

    def inverse(self, z: Tensor) -> Tensor:
        for transform in reversed(self._links()):
            z = transform.inverse(z)
        return z

    def log_slope(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for transform in self._links():
            total = total + transform.log_slope(x)
            x = transform(x)
        return total

    def state(self) -> dict[str, Any]:
        return {str(i): transform.state() for i, transform in enumerate(self._links())}

    def load_state(self, state: dict[str, Any]) -> None:
        for i, transform in enumerate(self._links()):
            transform.load_state(state[str(i)])


class ScaleByMax(Transform):
    """Divide by the largest value of the training split (Convolutional L2LFlows, B.2 and B.4)."""

    maximum: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("maximum", torch.tensor(math.nan), persistent=False)
        self._is_fitted = False  # known without asking the device

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        largest = max(float(batch.max()) for batch in batches())
        # a layer that no training shower reaches has nothing to scale by
        self.maximum.fill_(largest if largest > 0 else 1.0)
        self._is_fitted = True

    def _scale(self) -> Tensor:
        if not self._is_fitted:
            raise RuntimeError("ScaleByMax is not fitted: call fit on the training split first")
        return self.maximum

    def forward(self, x: Tensor) -> Tensor:
        return x / self._scale()

    def inverse(self, z: Tensor) -> Tensor:
        return z * self._scale()

    def log_slope(self, x: Tensor) -> Tensor:
        return -self._scale().log().expand_as(x)

    def state(self) -> dict[str, Any]:
        return {"maximum": float(self._scale())}

    def load_state(self, state: dict[str, Any]) -> None:
        self.maximum.fill_(state["maximum"])
        self._is_fitted = True


class Log(Transform):
    """z = 1 + log(floor + x) / log(1 / floor), which maps [0, 1] to about [0, 1] (L2LFlows, B.5).

    The inverse gives no negative values: z below 0 comes back as 0, which loses information.

    Args:
        floor: what is added before the logarithm.
    """

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.span = -math.log(floor)

    def forward(self, x: Tensor) -> Tensor:
        return 1 + (self.floor + x).log() / self.span

    def inverse(self, z: Tensor) -> Tensor:
        return (((z - 1) * self.span).exp() - self.floor).clamp_min(0)

    def log_slope(self, x: Tensor) -> Tensor:
        return -(self.floor + x).log() - math.log(self.span)


class Logit(Transform):
    """z = log(u / (1 - u)) with u = x (1 - 2 alpha) + alpha (Convolutional L2LFlows, B.1).

    x outside [0, 1] is moved to the border before, which loses information: it happens only to
    values larger than any of the training split.

    Args:
        alpha: how far inside (0, 1) the borders are moved.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def _inner(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1) * (1 - 2 * self.alpha) + self.alpha

    def forward(self, x: Tensor) -> Tensor:
        return torch.logit(self._inner(x))

    def inverse(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)

    def log_slope(self, x: Tensor) -> Tensor:
        """log |dz/dx|, minus infinity where no z comes back as x.

        What `forward` moves to the border has the slope of the border, as far as `inverse` reaches
        beyond it: alpha / (1 - 2 alpha).
        """
        u = self._inner(x)
        slope = math.log(1 - 2 * self.alpha) - u.log() - (-u).log1p()
        beyond = self.alpha / (1 - 2 * self.alpha)
        return slope.masked_fill((x <= -beyond) | (x >= 1 + beyond), -math.inf)


class LogEnergy(Transform):
    """z = scale log10(floor + E / unit) + shift (L2LFlows, B.6 and B.7 up to an affine map).

    Args:
        unit: energy [MeV] that counts as one.
        scale: factor of the logarithm.
        shift: added at the end.
        floor: what is added before the logarithm, in units.
    """

    def __init__(
        self, unit: float, *, scale: float = 1.0, shift: float = 0.0, floor: float = 1e-6
    ) -> None:
        super().__init__()
        self.unit, self.scale, self.shift, self.floor = unit, scale, shift, floor

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (self.floor + x / self.unit).log10() + self.shift

    def inverse(self, z: Tensor) -> Tensor:
        power: Tensor = 10 ** ((z - self.shift) / self.scale)
        return self.unit * (power - self.floor)

    def log_slope(self, x: Tensor) -> Tensor:
        constant = math.log(abs(self.scale) / math.log(10) / self.unit)
        return constant - (self.floor + x / self.unit).log()


class LogRange(Transform):
    """z = log(x / low) / log(high / low), with the range of the training split (CaloDREAM, 2).

    So that the split lies between 0 and 1. Where all its values are one, z is log(x / low).
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(math.nan), persistent=False)
        self.register_buffer("high", torch.tensor(math.nan), persistent=False)
        self._is_fitted = False  # known without asking the device

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit on the training split.

        Raises:
            ValueError: for values that are not positive.
        """
        ends = [(float(batch.min()), float(batch.max())) for batch in batches()]
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        if not low > 0:
            raise ValueError(f"a logarithm needs positive values, got {low}")
        self.load_state({"low": low, "high": high})

    def _fitted(self) -> tuple[Tensor, Tensor]:
        """Lowest value, and the logarithm of the range."""
        if not self._is_fitted:
            raise RuntimeError("LogRange is not fitted: call fit on the training split first")
        span = (self.high / self.low).log()
        return self.low, torch.where(span > 0, span, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        low, span = self._fitted()
        return (x / low).log() / span

    def inverse(self, z: Tensor) -> Tensor:
        low, span = self._fitted()
        return low * (z * span).exp()

    def log_slope(self, x: Tensor) -> Tensor:
        _, span = self._fitted()
        return -x.log() - span.log()

    def state(self) -> dict[str, Any]:
        self._fitted()
        return {"low": float(self.low), "high": float(self.high)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.low.fill_(state["low"])
        self.high.fill_(state["high"])
        self._is_fitted = True


class Snap(Transform):
    """x itself; the inverse moves values so near 0 or 1 that the training split has none.

    Networks give a peak of no width some width. The borders

        low = sqrt(alpha x_min),   high = 1 - sqrt(alpha (1 - x_max))

    lie half-way, in logarithms, between the smallest value x_min above 0 and `alpha`, and between
    the largest one x_max below 1 and 1 - `alpha`. The inverse moves what is outside to 0 and 1.

    Args:
        alpha: how far from 0 and 1 a peak is seen, such as that of a `Logit`.
    """

    low: Tensor
    high: Tensor

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("low", torch.tensor(0.0), persistent=False)
        self.register_buffer("high", torch.tensor(1.0), persistent=False)

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        smallest, farthest = 1.0, 1.0
        for batch in batches():
            inside = batch[(batch > 0) & (batch < 1)]
            if len(inside):
                smallest = min(smallest, float(inside.min()))
                farthest = min(farthest, 1 - float(inside.max()))
        self.load_state(
            {
                "low": math.sqrt(self.alpha * smallest),
                "high": 1 - math.sqrt(self.alpha * farthest),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        return x

    def inverse(self, z: Tensor) -> Tensor:
        return torch.where(z < self.low, 0.0, torch.where(z > self.high, 1.0, z))

    def log_slope(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def state(self) -> dict[str, Any]:
        return {"low": float(self.low), "high": float(self.high)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.low.fill_(state["low"])
        self.high.fill_(state["high"])
