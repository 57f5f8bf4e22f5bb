"""Numbers made standard normal by their quantiles among showers of nearly the same energy."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.special import ndtr, ndtri
from torch import Tensor

from caloforge.cascade.kept import KeepsRows

__all__ = ["LocalQuantiles"]

BODY = 2.0  # standard deviations to either side between which quantiles are counted
KNOTS = 33  # quantiles counted there
FEWEST = 60  # values that quantiles are counted of, from farther away where there are fewer
NODES = 17  # over which the mean excess is averaged
STRAIGHT = 1e-3  # shape of a tail below which it is an exponential
SHAPES = (-0.5, 0.3)  # of tails: beyond, their variance is not to be had from few values
LARGEST = 6.0  # standard deviations
TINY = 1e-300
Floats = NDArray[np.float64]


class LocalQuantiles(KeepsRows):
    """Columns of numbers made standard normal by what they are at one energy, and back.

    With F the distribution of a column at one energy and a share p of rows that have no value,

        z = Phi^-1(p u) for none, u uniform, and z = Phi^-1(p + (1 - p) F(y)) for a value y.

    F is that of the k rows of the nearest energies, at nodes k / 4 rows apart, between which the
    quantiles are interpolated in log E. Between -2 and 2 standard deviations they are counted.
    Beyond, F is a generalised Pareto distribution (method of moments: Hosking and Wallis,
    Technometrics 29, 1987, 339). Its mean excess, in units of the distance between the first and
    the second standard deviation, is averaged over the nodes of about four times k rows: a single
    node has so few that one rare shower would decide. Its shape, from the variance of the excesses
    in units of their mean at all nodes, is one for each tail of a column.

    Args:
        neighbours: rows k of the nearest energies.

    Attributes:
        place: mean log E at the nodes, rising, shape (nodes,).
        none: share of rows without a value, shape (nodes, columns).
        knots: quantiles, rising, shape (nodes, columns, 33).
        excess: mean excess below the first and above the last, shape (nodes, columns, 2).
        shape: of the tails, shape (columns, 2).
        most: score beyond which half a row of all is expected: farther out nothing is known, shape
            (1,).
    """

    kept = ("place", "none", "knots", "excess", "shape", "most")
    place: Tensor
    none: Tensor
    knots: Tensor
    excess: Tensor
    shape: Tensor
    most: Tensor

    def __init__(self, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0))

    def fit(self, log_energy: Tensor, values: Tensor, known: Tensor) -> None:
        """Count quantiles.

        Args:
            log_energy: log E, shape (n,).
            values: shape (n, columns).
            known: whether there is a value, shape (n, columns).
        """
        order = np.argsort(log_energy.cpu().numpy(), kind="stable")
        place = log_energy.cpu().double().numpy()[order]
        rows, has = (part.cpu().numpy()[order] for part in (values.double(), known))
        n, columns = rows.shape
        k = max(1, min(self.neighbours, n // 3))
        begins = np.unique(np.linspace(0, n - k, max(2, 4 * (n - k) // k + 1)).astype(int))
        knots = np.zeros((len(begins), columns, KNOTS))
        excess = np.zeros((len(begins), columns, 2))
        spread: list[list[Floats]] = [[] for _ in range(2 * columns)]
        found = [np.flatnonzero(has[:, column]) for column in range(columns)]
        for node, begin in enumerate(begins):
            for column in range(columns):
                near = _nearest(found[column], begin, k)
                if not len(near):
                    continue
                counted = np.sort(rows[near, column])
                knots[node, column] = np.quantile(counted, _SHARES)
                for side, beyond in enumerate(_beyond(counted, knots[node, column])):
                    excess[node, column, side] = beyond.mean() if len(beyond) else 0.0
                    if excess[node, column, side] > 0:
                        spread[2 * column + side].append(beyond / beyond.mean())
        counted_none = [1 - has[begin : begin + k].mean(0) for begin in begins]
        fitted = {
            "place": np.array([place[begin : begin + k].mean() for begin in begins]),
            "none": np.array(counted_none),
            "knots": knots,
            "excess": _smoothed(excess, knots),
            "shape": np.array([_shape(parts) for parts in spread]).reshape(columns, 2),
            "most": -ndtri([0.5 / n]),
        }
        for name, numbers in fitted.items():
            # single precision is enough to keep them in: all is computed in double precision
            setattr(self, name, torch.from_numpy(numbers).float().to(values.device))

    def check_kept(self) -> None:
        nodes, columns = self.none.shape if self.none.ndim == 2 else (0, 0)
        expected = [(nodes,), (nodes, columns), (nodes, columns, KNOTS), (nodes, columns, 2)]
        shapes = [tuple(self.get_buffer(name).shape) for name in self.kept]
        if nodes == 0 or shapes != [*expected, (columns, 2), (1,)]:
            raise ValueError(f"quantiles have tables of other shapes, {shapes}: train it again")
        falls = (self.place.diff() < 0).any() or (self.knots.diff(dim=2) < 0).any()
        outside = (self.none < 0).any() or (self.none > 1).any() or (self.excess < 0).any()
        if falls or outside or bool((self.shape.abs() > 1).any()):
            raise ValueError("quantiles that fall are none: train it again")

    def scores(self, log_energy: Tensor, values: Tensor, known: Tensor, u: Tensor) -> Tensor:
        """Standard normal numbers z of values, shape (n, columns).

        Args:
            log_energy: log E, shape (n,).
            values: shape (n, columns).
            known: whether there is a value, shape (n, columns).
            u: of those without one, from 0 to 1, shape (n, columns).
        """
        low, part = self._between(log_energy)
        none, excess = (_mixed(table, low, part) for table in (self.none, self.excess))
        knots = _mixed(self.knots, low, part)
        y = values.double()
        right = torch.searchsorted(knots, y[..., None], right=True)[..., 0].clamp(1, KNOTS - 1)
        left, end = (knots.gather(2, at[..., None])[..., 0] for at in (right - 1, right))
        inner = ((y - left) / (end - left).clamp_min(TINY)).clamp(0, 1)
        z = -BODY + _STEP * (right - 1 + inner)
        upper = self._survival(y - knots[..., -1], excess[..., 1], 1)
        lower = self._survival(knots[..., 0] - y, excess[..., 0], 0)
        z = torch.where(y > knots[..., -1], -torch.special.ndtri(upper), z)
        z = torch.where(y < knots[..., 0], torch.special.ndtri(lower), z)
        above = -torch.special.ndtri((1 - none) * torch.special.ndtr(-z))
        z = torch.where(known, above, torch.special.ndtri(none * u.double()))
        return z.clamp(-LARGEST, LARGEST).to(values.dtype)

    def values(self, log_energy: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of `scores`: values and whether there are any, shape (n, columns) each."""
        low, part = self._between(log_energy)
        none, excess = (_mixed(table, low, part) for table in (self.none, self.excess))
        above = torch.special.ndtr(-scores.double())
        known = above < 1 - none
        z = -torch.special.ndtri((above / (1 - none).clamp_min(TINY)).clamp_max(1))
        z = torch.where(known, z, 0.0).clamp(-LARGEST, LARGEST)
        at = (z + BODY) / _STEP
        left = at.floor().clamp(0, KNOTS - 2).long()
        weight = (at - left).clamp(0, 1)
        y = torch.zeros_like(z)
        for node, share in ((low, 1 - part), (low + 1, part)):
            low_end, end = (
                self.knots[node].gather(2, (left + i)[..., None])[..., 0].double() for i in (0, 1)
            )
            y += share[:, None] * torch.lerp(low_end, end, weight)
        y += torch.where(z > BODY, self._excess(-z, excess[..., 1], 1), 0.0)
        y -= torch.where(z < -BODY, self._excess(z, excess[..., 0], 0), 0.0)
        return torch.where(known, y, 0.0).to(scores.dtype), known

    def within(self, scores: Tensor) -> Tensor:
        """Scores of which those farther out than `most` are moved there, shape (n, columns)."""
        most = self.most.to(scores.dtype)
        return scores.clamp(-most, most)

    def border(self, log_energy: Tensor) -> Tensor:
        """The scores below which there is no value, shape (n, columns).

        Args:
            log_energy: log E, shape (n,).
        """
        border: Tensor = torch.special.ndtri(_mixed(self.none, *self._between(log_energy)))
        return border

    def _between(self, log_energy: Tensor) -> tuple[Tensor, Tensor]:
        """The node below each energy and the weight of the next, 0 or 1 outside of all."""
        place, at = self.place.double(), log_energy.double()
        if len(place) < 2:
            raise RuntimeError("LocalQuantiles is not fitted: call fit on the training split first")
        low = (torch.searchsorted(place, at, right=True) - 1).clamp(0, len(place) - 2)
        width = (place[low + 1] - place[low]).clamp_min(TINY)
        return low, ((at - place[low]) / width).clamp(0, 1)

    def _survival(self, beyond: Tensor, excess: Tensor, side: int) -> Tensor:
        """How likely it is to lie so far beyond the last quantile."""
        xi = self.shape[:, side].double()
        scale = (excess * (1 - xi)).clamp_min(TINY)
        share: Tensor = (1 + xi * beyond.clamp_min(0) / scale).clamp_min(TINY) ** (-1 / xi)
        return (_OUTSIDE * share).clamp(TINY, 1)

    def _excess(self, z: Tensor, excess: Tensor, side: int) -> Tensor:
        """Inverse of `_survival`, of Phi(z)."""
        xi = self.shape[:, side].double()
        share: Tensor = torch.special.ndtr(z) / _OUTSIDE
        beyond: Tensor = excess * (1 - xi) / xi * (share**-xi - 1)
        return beyond


_STEP = 2 * BODY / (KNOTS - 1)
_SIGMA = round(1 / _STEP)  # quantiles a standard deviation
_OUTSIDE = float(ndtr(-BODY))
_SHARES = ndtr(np.linspace(-BODY, BODY, KNOTS))


def _mixed(table: Tensor, low: Tensor, part: Tensor) -> Tensor:
    """A table between its nodes."""
    weight = part.reshape(-1, *[1] * (table.ndim - 1))
    return torch.lerp(table[low].double(), table[low + 1].double(), weight)


def _nearest(found: NDArray[np.int64], begin: int, k: int) -> NDArray[np.int64]:
    """The rows with a value among the k from `begin`, or the few nearest of all."""
    first, last = (int(np.searchsorted(found, at)) for at in (begin, begin + k))
    if last - first < FEWEST:
        middle = int(np.searchsorted(found, begin + k // 2))
        first = max(0, min(middle - FEWEST // 2, len(found) - FEWEST))
        last = first + FEWEST
    return found[first:last]


def _beyond(rising: Floats, knots: Floats) -> tuple[Floats, Floats]:
    """By how much values lie below the first quantile and above the last."""
    below, above = knots[0] - rising, rising - knots[-1]
    return below[below > 0], above[above > 0]


def _smoothed(excess: Floats, knots: Floats) -> Floats:
    """Mean excesses averaged over neighbouring nodes, shape (nodes, columns, 2)."""
    scale = np.stack([knots[..., _SIGMA] - knots[..., 0], knots[..., -1] - knots[..., -_SIGMA - 1]])
    scale = np.moveaxis(scale, 0, 2)
    ratio = np.divide(excess, scale, out=np.zeros_like(excess), where=scale > 0)
    return np.asarray(scale * uniform_filter1d(ratio, NODES, axis=0, mode="nearest"))


def _shape(parts: list[Floats]) -> float:
    """Shape of a tail of the excesses in units of their mean at each node."""
    excesses = np.concatenate(parts) if parts else np.ones(1)
    # of m values with the variance c in units of the squared mean, (m - 1) c / (m + c) is seen
    m, seen = len(excesses) / max(1, len(parts)), excesses.var()
    variance = max(m * seen / max(m - 1 - seen, 1.0), 1e-3)
    xi = min(max(0.5 * (1 - 1 / variance), SHAPES[0]), SHAPES[1])
    return math.copysign(max(abs(xi), STRAIGHT), xi)
