"""What clusters are made of: members of real ones, rotated and scaled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Stage, Upstream
from caloforge.showers import ClusteredShowers
from caloforge.systems.caloclouds.frame import boxed, clouds

__all__ = ["MemberLibrary"]

RADII, DEPTHS = 16, 4  # classes of distance and depth, as many clusters in each
NEAR = 5  # clusters of less energy, and of more, that members are taken from
LOWEST, HIGHEST = -20.0, 20.0  # logarithm of an energy [MeV] that is distinguished from others


class MemberLibrary(KeepsRows, Stage):
    """Members of clusters of the training sample, for clusters that are sampled.

    A sampled cluster gets the members of a real one of nearly its energy, from its quarter of the
    depth and its sixteenth of the distances from the axis: their places relative to the centre,
    rotated with the direction from the axis, and their fractions of the energy. Centre and energy
    stay as they were sampled.

    Args:
        size: most clusters that are kept.
        half_width: of the box that no point lies outside [mm]; None for no box.

    Attributes:
        radii: borders of the classes of distance from the axis [mm], shape (15,).
        depths: those of the classes of depth [layers], shape (3,).
        key: class and logarithm of the energy [MeV], rising, shape (clusters,).
        begins: row of the first member of each cluster and, last, the number of rows.
        members: away from the axis [mm], across [mm] and fraction of the energy, shape (rows, 3).
    """

    reads = ("points", "n_points")
    writes = ("points", "n_points")
    learns = ("n_points",)
    seeded = ("points", "members")
    kept = ("radii", "depths", "key", "begins", "members")
    radii: Tensor
    depths: Tensor
    key: Tensor
    begins: Tensor
    members: Tensor

    def __init__(self, size: int, half_width: float | None = None) -> None:
        super().__init__()
        self.size, self.half_width = size, half_width
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        """Keep clusters of the training sample.

        Raises:
            TypeError: for points that are no clusters.
        """
        showers = sample.showers
        if not isinstance(showers, ClusteredShowers):
            raise TypeError(
                f"clusters are sampled: expected ClusteredShowers, got {showers!r}: fit on "
                "system.training_sample(showers)"
            )
        self.keep(showers, rng)

    def keep(self, showers: ClusteredShowers, rng: torch.Generator) -> None:
        """Keep clusters, chosen at random.

        Args:
            showers: clusters with members.
            rng: of the choice.

        Raises:
            ValueError: if no cluster has energy.
        """
        x, y, layer, energy, first, size = (
            torch.from_numpy(getattr(showers, name)) for name in showers.columns
        )
        some = torch.nonzero(energy > 0)[:, 0]
        if not len(some):
            raise ValueError("a library of clusters needs one with energy or more, got none")
        shuffled = torch.randperm(len(some), generator=rng, device=rng.device).cpu()
        some = some[shuffled[: self.size]]
        x, y, layer, energy = (v[some].double() for v in (x, y, layer, energy))
        r = torch.hypot(x, y)
        self.radii, self.depths = _borders(r, RADII), _borders(layer, DEPTHS)
        key = self._key(r, layer, energy)
        order = key.argsort()
        self.key, some = key[order], some[order]
        sizes = size[some]
        self.begins = nn.functional.pad(sizes.cumsum(0), (1, 0))
        cluster = torch.repeat_interleave(sizes)
        rows = first[some][cluster] + torch.arange(len(cluster)) - self.begins[cluster]
        members = torch.from_numpy(showers.members)[rows].double()
        centre = torch.stack([x, y], 1)[order][cluster]
        away = _rotated(members[:, :2] - centre, _outwards(centre), back=True)
        share = members[:, 2] / energy[order][cluster]
        self.members = torch.cat([away, share[:, None]], 1).float()
        self.to(rng.device)

    def _key(self, r: Tensor, layer: Tensor, energy: Tensor) -> Tensor:
        """Class and energy as one number, which rises with the energy within a class."""
        radius, depth = torch.bucketize(r, self.radii), torch.bucketize(layer, self.depths)
        log_energy = energy.log().clamp(LOWEST, HIGHEST)
        return (radius * DEPTHS + depth) * (HIGHEST - LOWEST) + log_energy - LOWEST

    def assign(self, points: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Members of sampled clusters.

        Args:
            points: x [mm], y [mm], layer and energy [MeV] of clusters, shape (n, 4).
            uniform: numbers from 0 to below 1 that choose among similar clusters, shape (n,).

        Returns:
            The same of their members, shape (m, 4), those of one cluster after those of the one
            before, and the number of them, shape (n,).
        """
        x, y, layer, energy = points.double().T.contiguous()
        key = self._key(torch.hypot(x, y), layer, energy)
        of_class = key.div(HIGHEST - LOWEST, rounding_mode="floor") * (HIGHEST - LOWEST)
        begin = torch.searchsorted(self.key, of_class)
        end = torch.searchsorted(self.key, of_class + (HIGHEST - LOWEST))
        away = (uniform * 2 * NEAR).long().clamp_max(2 * NEAR - 1) - NEAR
        # a class that has no cluster takes those of the next one
        chosen = torch.searchsorted(self.key, key) + away
        chosen = torch.minimum(torch.maximum(chosen, begin), end - 1).clamp(0, len(self.key) - 1)
        sizes = self.begins.diff()[chosen]
        cluster = torch.repeat_interleave(sizes)
        ends = sizes.cumsum(0)
        rows = torch.arange(len(cluster), device=key.device) - (ends - sizes)[cluster]
        members = self.members[self.begins[chosen][cluster] + rows]
        own = points[cluster]
        places = own[:, :2] + _rotated(members[:, :2], _outwards(own[:, :2]))
        energies = own[:, 3:] * members[:, 2:]
        return torch.cat([places, own[:, 2:3], energies], 1), sizes

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """What chooses among similar clusters, shape (clusters, 1)."""
        return {"u": seeds.uniform_rows(given["n_points"], 1)}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        n_clusters = given["n_points"]
        points, sizes = self.assign(given["points"], noise["u"][:, 0])
        cloud = clouds(n_clusters, len(sizes))
        n_points = torch.zeros_like(n_clusters).index_add_(0, cloud, sizes)
        points = points if self.half_width is None else boxed(points, self.half_width)
        return {"points": points, "n_points": n_points}

    def check_kept(self) -> None:
        """Refuse a library that `assign` could not use."""
        n, rows = len(self.key), len(self.members)
        shapes = [(RADII - 1,), (DEPTHS - 1,), (n,), (n + 1,), (rows, 3)]
        found = [tuple(buffer.shape) for buffer in self.buffers()]
        whole = not self.begins.dtype.is_floating_point
        if found != shapes or not 0 < n <= self.size or not whole:
            raise ValueError(
                f"a library of up to {self.size} clusters has tensors of the shapes {shapes}, got "
                f"{found}"
            )
        ends = (int(self.begins[0]), int(self.begins[-1]))
        rises = bool((self.begins.diff() > 0).all() and (self.key.diff() >= 0).all())
        if ends != (0, rows) or not rises:
            raise ValueError(f"the {n} clusters of a library do not share its {rows} members")


def _borders(values: Tensor, classes: int) -> Tensor:
    """Between classes of as many values each, shape (classes - 1,)."""
    return values.quantile(torch.arange(1, classes, dtype=values.dtype) / classes)


def _outwards(place: Tensor) -> Tensor:
    """Unit vectors from the axis to places, shape (n, 2); along x on the axis."""
    x, y = place.unbind(1)
    angle = torch.atan2(y, x)
    return torch.stack([angle.cos(), angle.sin()], 1)


def _rotated(place: Tensor, onto: Tensor, *, back: bool = False) -> Tensor:
    """Places rotated by the angle between x and a unit vector, or back by it, shape (n, 2)."""
    (x, y), (cos, sin) = place.unbind(1), onto.unbind(1)
    sin = -sin if back else sin
    return torch.stack([x * cos - y * sin, x * sin + y * cos], 1)
