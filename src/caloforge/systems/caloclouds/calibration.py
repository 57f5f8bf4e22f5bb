"""What is fitted on clouds that the trained networks sample: how many points, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kinds import point_showers
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Branch, Noise
from caloforge.cascade.stage import Correction, Upstream
from caloforge.geometry import Geometry, geometry_preset
from caloforge.showers import PointShowers, ShowerSource
from caloforge.systems.caloclouds.config import CloudFit

__all__ = ["CloudCalibration", "Occupancy"]

Integers = NDArray[np.int64]

DEGREE = 3  # of both polynomials (section 3.3)
LARGEST = 2.0  # correction: what wants a larger one is not trained


@dataclass(frozen=True)
class Occupancy:
    """The correction of the number N of points in a cloud (CaloClouds, section 3.3).

        c_N(N) = p_gen(p_data(N)) / N

    with two cubic polynomials, the hits p_data that N points of Geant4 leave in the cells and the
    points p_gen that the network has to sample for so many hits. Outside the range of the fit c_N
    goes on as at its end, and nowhere it is more than a factor of two.

    Args:
        p_data: points of Geant4 to hits; its domain is the range of the fit.
        p_gen: hits to sampled points.
    """

    p_data: Polynomial
    p_gen: Polynomial

    @classmethod
    def fit(cls, n_data: Integers, o_data: Integers, n_gen: Integers, o_gen: Integers) -> Occupancy:
        """Fit both polynomials to points and hits of showers.

        Args:
            n_data: points of Geant4's showers, shape (n,).
            o_data: their hits.
            n_gen: points of sampled showers, shape (m,).
            o_gen: their hits.

        Raises:
            ValueError: if there are too few different showers for cubic polynomials.
        """
        for name, numbers in (("points of Geant4", n_data), ("hits of sampled showers", o_gen)):
            _check_different(name, numbers)
        return cls(Polynomial.fit(n_data, o_data, DEGREE), Polynomial.fit(o_gen, n_gen, DEGREE))

    def correction(self, n_points: Tensor) -> Tensor:
        """c_N, in double precision, shape (n,).

        Args:
            n_points: N, shape (n,).
        """
        n = n_points.double().clamp(*self.p_data.domain.tolist())
        wanted = _value(self.p_gen, _value(self.p_data, n))
        return (wanted / n).clamp(1 / LARGEST, LARGEST)

    def corrected(self, layer_counts: Tensor) -> Tensor:
        """Counts times c_N of their sum, in whole numbers, shape (n, L).

        They are rounded so that their sum is the rounded c_N N, none is 1 or more away, and empty
        layers stay empty: the counts of all layers up to one are.

        Args:
            layer_counts: whole numbers, shape (n, L).
        """
        correction = self.correction(layer_counts.sum(1))
        ends = (correction[:, None] * layer_counts.double().cumsum(1)).round()
        return ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1])).to(layer_counts)

    def state(self) -> dict[str, Any]:
        """Coefficients, on a domain that is mapped to [-1, 1], in JSON's types."""
        return {
            name: {"coefficients": p.coef.tolist(), "domain": p.domain.tolist()}
            for name, p in (("p_data", self.p_data), ("p_gen", self.p_gen))
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Occupancy:
        """Inverse of `state`.

        Raises:
            ValueError: for values that are no two cubic polynomials.
        """
        for name in ("p_data", "p_gen"):
            low, high = state[name]["domain"]
            if len(state[name]["coefficients"]) != DEGREE + 1 or not low < high:
                raise ValueError(f"{name} is no cubic polynomial on a domain: {state[name]}")
        p_data, p_gen = (
            Polynomial(state[name]["coefficients"], state[name]["domain"])
            for name in ("p_data", "p_gen")
        )
        return cls(p_data, p_gen)


def _check_different(name: str, numbers: Integers) -> None:
    """Refuse numbers that no cubic polynomial can be fitted to."""
    different = np.unique(numbers)
    if len(different) <= DEGREE:
        raise ValueError(
            f"a cubic fit needs {DEGREE + 1} different numbers of {name}, got "
            f"{different.tolist()}: train longer and with more showers, or set calibration=null"
        )


def _value(polynomial: Polynomial, x: Tensor) -> Tensor:
    shift, scale = polynomial.mapparms()
    mapped = shift + scale * x
    value = torch.zeros_like(mapped)
    for coefficient in reversed(polynomial.coef.tolist()):
        value = value * mapped + coefficient
    return value


class CloudCalibration(Correction):
    """Two corrections, fitted on sampled clouds (CaloClouds, section 3.3).

    The number of points is corrected so that as many cells are hit as by Geant4, see `Occupancy`;
    and all points are to be shifted along x and y by the average distance of the sampled centres of
    gravity from those of the training sample.

    Args:
        config: how many showers, and the cells.
        geometry: whose cells are counted, unless the configuration names another.
        needs: all other stages.

    Attributes:
        occupancy: the correction of the number of points; None until it is fitted.
        shift: of x and y [mm], shape (2,); 0 until it is fitted.
    """

    reads = ("layer_counts",)
    writes = ("layer_counts", "shift")
    learns = ("n_points",)
    shift: Tensor

    def __init__(self, config: CloudFit, geometry: Geometry, needs: Iterable[str] = ()) -> None:
        super().__init__()
        self.config, self.needs = config, tuple(needs)
        named = config.geometry
        self.geometry = geometry if named is None else geometry_preset(named)
        self.occupancy: Occupancy | None = None
        self.register_buffer("shift", torch.zeros(2), persistent=False)

    def check(self, sample: ShowerSource[Any]) -> None:
        cells = self.geometry
        if cells.n_layers != sample.geometry.n_layers:
            raise ValueError(
                f"the hits of {cells.name} cannot be counted, which has {cells.n_layers} layers"
                f" and the sample {sample.geometry.n_layers}: set calibration.geometry=null "
                "for the cells of the sample"
            )
        if self.config.showers <= DEGREE:
            raise ValueError(
                f"a cubic fit needs {DEGREE + 1} showers or more, got {self.config.showers}: set "
                f"calibration.showers={DEGREE + 1} or more"
            )
        counts = [np.diff(block.offset) for block in sample.blocks(1000)]
        _check_different("points of Geant4", np.concatenate(counts))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        assert draw is not None
        chosen = draw.some(self.config.showers)
        geant4 = draw.showers.take(chosen)
        n_data = sample.take(torch.from_numpy(chosen))["n_points"].numpy()
        draw.expect(self.config.rounds * len(geant4))
        for _ in range(self.config.rounds):
            sampled, n_gen = [], []
            for seeds, quantities in draw.batches(geant4.particles, Branch.CLOUDS):
                sampled.append(point_showers(quantities, geant4.geometry))
                n_gen.append(quantities["layer_counts"].sum(1).round().long().cpu().numpy())
                draw.count(len(seeds))
            self.fit_clouds(
                geant4, n_data, PointShowers.concatenate(sampled), np.concatenate(n_gen)
            )

    def fit_clouds(
        self,
        geant4: PointShowers,
        n_data: Integers,
        sampled: PointShowers,
        n_gen: Integers,
    ) -> None:
        """Fit to clouds of Geant4 and sampled ones.

        Args:
            geant4: any number of them, n.
            n_data: what the network would have to sample for each, points or clusters, shape (n,).
            sampled: any number of them, m, with the corrections found so far.
            n_gen: what the network sampled for each, shape (m,).

        Raises:
            ValueError: if they are too few.
        """
        o_data, o_gen = _hits(geant4, self.geometry), _hits(sampled, self.geometry)
        occupancy = Occupancy.fit(n_data, o_data, n_gen, o_gen)
        shift = self.shift.cpu() + torch.from_numpy(_mean_centre(geant4) - _mean_centre(sampled))
        self.load_state({**occupancy.state(), "shift": shift.tolist()})

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        assert self.occupancy is not None
        counts = self.occupancy.corrected(given["layer_counts"])
        return {"layer_counts": counts, "shift": self.shift.expand(len(counts), 2)}

    def state(self) -> dict[str, Any]:
        assert self.occupancy is not None
        return {**self.occupancy.state(), "shift": self.shift.tolist()}

    def load_state(self, states: Mapping[str, Any]) -> None:
        x, y = states["shift"]
        self.occupancy = Occupancy.from_state(states)
        self.shift.copy_(torch.tensor([float(x), float(y)]))
        self.is_fitted = True


def _hits(clouds: PointShowers, geometry: Geometry) -> Integers:
    """Cells above the threshold of each shower, shape (n,)."""
    cells = clouds.project(geometry)
    above = cells.energy >= np.float32(geometry.threshold)
    return np.bincount(cells.event()[above], minlength=len(cells))


def _mean_centre(clouds: PointShowers) -> NDArray[np.float64]:
    """Mean of the centres of gravity in x and y [mm] of all showers with energy, shape (2,)."""
    event, total = clouds.event(), clouds.total_energy()
    centres = [
        np.bincount(event, clouds.energy * x, len(clouds))[total > 0] / total[total > 0]
        for x in (clouds.x, clouds.y)
    ]
    return np.asarray(np.mean(centres, axis=1))
