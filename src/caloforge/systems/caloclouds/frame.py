"""The frame of points: from millimetres, layers and MeV to numbers of order 1, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from caloforge.preprocessing import Transform

__all__ = ["PointFrame", "smeared"]

LARGEST = 2.0  # what is sampled, in units of the highest energy of the training split or of the box
STATE = ("shift", "scale", "lowest", "highest")
TINY = 1e-3  # radius, in units of the core, at which arsinh(r) / r is 1


def smeared(points: Tensor, rng: torch.Generator) -> Tensor:
    """Points at random depths of their layers: layer + u, u uniform in [0, 1) (section 2).

    Data keep of a point's depth no more than its layer.

    Args:
        points: x [mm], y [mm], layer and energy [MeV], shape (..., 4).
        rng: source of u.
    """
    x, y, layer, energy = points.unbind(-1)
    u = torch.rand(layer.shape, generator=rng, device=layer.device, dtype=layer.dtype)
    return torch.stack([x, y, layer + u, energy], -1)


class PointFrame(Transform):
    """The box of the showers without absorbers, layer after layer, as [-1, 1]^3 (section 2).

        (x, y, depth, energy) -> (p(x, y), 2 depth / L - 1, s(energy))

    with the number L of layers and the depth in layers, see `smeared`. Places are (x, y) / w with
    the half width w, as published. With a core, which many points share while some are far outside,

        p(x, y) = (x, y) / r arsinh(r / a) / arsinh(sqrt(2) w / a)

    with the distance r from the axis and the core's radius a. On the "linear" scale s is
    energy / <energy^2>^(1/2), on the "log" scale (log energy - mean) / std with mean and standard
    deviation of the logarithm. Both are those of the training split, as is the lowest energy above
    0, which on the "log" scale stands for all below it. The inverse gives no energy of more than
    twice the highest and, with a core, no place more than twice as far out as the box.

    Args:
        n_layers: L.
        half_width: w [mm].
        energy: scale of energies.
        core: a [mm], None for none.
    """

    def __init__(
        self,
        n_layers: int,
        half_width: float,
        energy: Literal["linear", "log"] = "linear",
        core: float | None = None,
    ) -> None:
        super().__init__()
        self.n_layers, self.half_width = n_layers, half_width
        self.energy, self.core = energy, core
        self.shift, self.scale = 0.0, math.nan
        self.lowest, self.highest = math.nan, math.nan

    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Fit the scale of energies.

        Args:
            batches: gives a new pass over points, shape (m, 4), at each call.

        Raises:
            ValueError: if fewer than two points have energy.
        """
        n, total, squares, lowest, highest = 0, 0.0, 0.0, math.inf, 0.0
        for points in batches():
            energy = points[:, 3]
            energy = energy[energy > 0].double()
            if not len(energy):
                continue
            scaled = energy.log() if self.energy == "log" else energy
            n, highest = n + len(energy), max(highest, float(energy.max()))
            lowest = min(lowest, float(energy.min()))
            total, squares = total + float(scaled.sum()), squares + float(scaled.square().sum())
        if n < 2:
            raise ValueError(f"a scale of energies needs 2 points with energy or more, got {n}")
        shift = total / n if self.energy == "log" else 0.0
        variance = squares / n - shift**2
        scale = math.sqrt(variance) if variance > 0 else 1.0
        self.load_state({"shift": shift, "scale": scale, "lowest": lowest, "highest": highest})

    def forward(self, x: Tensor) -> Tensor:
        """Scaled points, the shape of x.

        Args:
            x: x [mm], y [mm], depth and energy [MeV], shape (..., 4).
        """
        self._check_fitted()
        place, depth, energy = x.split([2, 1, 1], -1)
        if self.energy == "log":
            energy = energy.clamp_min(self.lowest).log()
        energy = (energy - self.shift) / self.scale
        return torch.cat([self._places(place), 2 * depth / self.n_layers - 1, energy], -1)

    def inverse(self, z: Tensor) -> Tensor:
        """Points in mm, layers and MeV, the shape of z."""
        self._check_fitted()
        place, depth, energy = z.split([2, 1, 1], -1)
        energy = energy * self.scale + self.shift
        if self.energy == "log":
            energy = energy.exp()
        energy = energy.clamp_max(LARGEST * self.highest)
        depth = (depth + 1) / 2 * self.n_layers
        return torch.cat([self._inverse_places(place), depth, energy], -1)

    def log_slope(self, x: Tensor) -> Tensor:
        """log |dz/dx|, the shape of x; of x and y each half the log of their determinant."""
        self._check_fitted()
        place, depth, energy = x.split([2, 1, 1], -1)
        of_energy = torch.full_like(energy, -math.log(self.scale))
        if self.energy == "log":
            of_energy = torch.where(energy < self.lowest, -math.inf, of_energy - energy.log())
        of_depth = torch.full_like(depth, math.log(2 / self.n_layers))
        return torch.cat([self._slope_of_places(place), of_depth, of_energy], -1)

    # ------------------------------------------------------------ places

    def _places(self, place: Tensor) -> Tensor:
        if self.core is None:
            return place / self.half_width
        r = place.norm(dim=-1, keepdim=True) / self.core
        stretch = torch.where(r > TINY, r.asinh() / r, 1.0)
        scaled: Tensor = place * stretch / (self.core * self._corner)
        return scaled

    def _inverse_places(self, place: Tensor) -> Tensor:
        if self.core is None:
            return place * self.half_width
        u = place.norm(dim=-1, keepdim=True) * self._corner
        farthest = math.asinh(LARGEST * math.sqrt(2) * self.half_width / self.core)
        stretch = torch.where(u > TINY, u.clamp_max(farthest).sinh() / u, 1.0)
        unscaled: Tensor = place * stretch * (self.core * self._corner)
        return unscaled

    def _slope_of_places(self, place: Tensor) -> Tensor:
        if self.core is None:
            return torch.full_like(place, -math.log(self.half_width))
        r = place.norm(dim=-1, keepdim=True) / self.core
        across = torch.where(r > TINY, r.asinh() / r, 1.0)
        along = (1 + r.square()).rsqrt()
        log_slope: Tensor = (across * along).log() / 2 - math.log(self.core * self._corner)
        return log_slope.expand_as(place)

    @property
    def _corner(self) -> float:
        """arsinh(sqrt(2) w / a)."""
        assert self.core is not None
        return math.asinh(math.sqrt(2) * self.half_width / self.core)

    # ------------------------------------------------------------ keeping

    def _check_fitted(self) -> None:
        if math.isnan(self.scale):
            raise RuntimeError("PointFrame is not fitted: call fit on the training split first")

    def state(self) -> dict[str, Any]:
        self._check_fitted()
        return {name: getattr(self, name) for name in STATE}

    def load_state(self, state: dict[str, Any]) -> None:
        self.shift, self.scale, self.lowest, self.highest = (float(state[n]) for n in STATE)


def clouds(n_points: Tensor, total: int | None = None) -> Tensor:
    """Which cloud each point belongs to, shape (sum of n_points,).

    Args:
        n_points: points of each cloud, integers, shape (n,).
        total: their sum, where it is known: else an accelerator is asked for it and waited for.
    """
    return torch.repeat_interleave(n_points, output_size=total)


def boxed(points: Tensor, half_width: float) -> Tensor:
    """Points of which none lies outside the box, shape (n, 4).

    Few are sampled outside, some of them beyond the known cells.

    Args:
        points: x [mm], y [mm], layer and energy [MeV], shape (n, 4).
        half_width: of the box along x and y [mm].
    """
    place, others = points.split([2, 2], 1)
    return torch.cat([place.clamp(-half_width, half_width), others], 1)
