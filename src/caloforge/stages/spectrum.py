"""A correction of sampled showers that systems share: the map of the voxel energy spectrum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Branch, Noise
from caloforge.cascade.stage import Correction, Upstream
from caloforge.showers import ShowerSource
from caloforge.stages.rescaling import Rescaled
from caloforge.stages.shares import normalised

__all__ = ["SpectrumFit", "SpectrumMap"]


@dataclass(frozen=True)
class SpectrumFit:
    """How the map of the voxel energy spectrum is fitted (Convolutional L2LFlows, appendix C).

    Args:
        showers: most showers to sample, and to take of the training sample.
        bins: bins of equal width in the logarithm of the energy.
        rescale: scale the layers to their energies once more after the map, which changes their
            sums. The paper does not.
    """

    showers: int = 100_000
    bins: int = 128
    rescale: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class SpectrumMap(Correction):
    """Maps the spectrum of sampled voxels onto that of the training sample (L2LFlows, appendix C).

    f = Q^-1 o P, with P and Q the cumulative distributions of sampled and of Geant4's voxel
    energies above the threshold (C.3), in the logarithm of the energy: equally many of both are
    sorted, the pairs averaged in bins of equal width, and a cubic spline is laid through the means.
    The spline is a monotone one (Fritsch and Carlson), so that no order of energies is ever
    exchanged; after the last mean it goes on as a straight line.

    Args:
        config: showers and bins of the fit.
        threshold: read-out threshold [MeV], which is mapped onto itself; where it is 0, the map
            goes on as a straight line below the first mean as well.
        needs: all stages whose showers are mapped.
        rescale: voxels that are scaled to the energies of their layers after the map.
    """

    reads: tuple[str, ...] = ("layer_energies", "showers")
    writes = ("showers",)
    learns = ("energy_inc",)
    knots: Tensor
    coefficients: Tensor

    def __init__(
        self,
        config: SpectrumFit,
        threshold: float,
        needs: Iterable[str] = (),
        rescale: Rescaled = "none",
    ) -> None:
        super().__init__()
        self.config = config
        self.threshold = threshold
        self.needs = tuple(needs)
        self.rescale = rescale
        self.means: list[list[float]] = []
        self.register_buffer("knots", torch.zeros(0), persistent=False)
        self.register_buffer("coefficients", torch.zeros(0), persistent=False)

    def check(self, sample: ShowerSource[Any]) -> None:
        n = sum(int((b.energy >= self.threshold).sum()) for b in sample.blocks(1000))
        if n < 2:
            raise ValueError(
                f"the spectrum map needs voxels above the threshold of {self.threshold} MeV, the "
                f"training sample has {n}: give more showers, or set spectrum=null"
            )

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        assert draw is not None
        geant4 = draw.showers.take(draw.some(self.config.showers))
        sampled: list[NDArray[Any]] = []
        draw.expect(len(geant4))
        for seeds, quantities in draw.batches(geant4.particles, Branch.SPECTRUM):
            sampled.append(self.mapped_showers(quantities).flatten().cpu().numpy())
            draw.count(len(seeds))
        self.fit_energies(np.concatenate(sampled), geant4.energy, draw.rng)

    def fit_energies(
        self, sampled: NDArray[Any], geant4: NDArray[Any], rng: np.random.Generator
    ) -> None:
        """Fit to voxel energies.

        Args:
            sampled: energies of sampled voxels [MeV], any number, some of them 0.
            geant4: energies of Geant4's voxels [MeV], any number.
            rng: chooses equally many of both.

        Raises:
            ValueError: if fewer than two energies of one of them lie above the threshold.
        """
        log_sampled, log_geant4 = (
            np.log(values[(values >= self.threshold) & (values > 0)].astype(np.float64))
            for values in (sampled, geant4)
        )
        n = min(len(log_sampled), len(log_geant4))
        if n < 2:
            raise ValueError(
                f"the spectrum map needs voxels above the threshold of {self.threshold} MeV, got "
                f"{len(log_sampled)} sampled and {len(log_geant4)} of Geant4: train longer, or set "
                "spectrum=null"
            )
        x = np.sort(rng.choice(log_sampled, n, replace=False))
        y = np.sort(rng.choice(log_geant4, n, replace=False))
        lowest = np.log(self.threshold) if self.threshold else x[0]
        edges = np.linspace(lowest, x[-1], self.config.bins + 1)
        number = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, self.config.bins - 1)
        entries = np.bincount(number, minlength=self.config.bins)
        filled = entries > 0
        means = [
            np.bincount(number, values, self.config.bins)[filled] / entries[filled]
            for values in (x, y)
        ]
        self.load_state({"means": np.stack(means, 1).tolist()})

    def mapped_showers(self, given: Quantities) -> Tensor:
        """Voxel energies that are mapped [MeV], shape (n, L, a, b)."""
        return given["showers"]

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        mapped, energies = self(self.mapped_showers(given)), given["layer_energies"]
        return {"showers": normalised(mapped, energies, self.threshold, self.rescale)}

    def forward(self, energy: Tensor) -> Tensor:
        """Map voxel energies [MeV] of any shape; those below the threshold become 0."""
        mapped = torch.zeros_like(energy)
        hit = ~((energy < self.threshold) | (energy == 0))  # NaN stays NaN
        mapped[hit] = self._mapped(energy[hit].log()).exp()
        return mapped

    def _mapped(self, x: Tensor) -> Tensor:
        """The spline at logarithms of energies, shape (n,)."""
        k = torch.bucketize(x, self.knots[1:-1], right=True)
        offset = x - self.knots[k]
        inside = offset.clamp_min(0).minimum(self.knots[-1] - self.knots[k])
        cubic, square, slope, value = self.coefficients[:, k]
        y = ((cubic * inside + square) * inside + slope) * inside + value
        end_slope = (3 * cubic * inside + 2 * square) * inside + slope
        mapped: Tensor = y + end_slope * (offset - inside)
        return mapped

    def state(self) -> dict[str, Any]:
        return {"means": self.means}

    def load_state(self, states: Mapping[str, Any]) -> None:
        means = states["means"]
        if not 0 < len(means) <= self.config.bins:
            raise ValueError(f"expected means of up to {self.config.bins} bins, got {len(means)}")
        self.means = means = [[float(x), float(y)] for x, y in means]
        if self.threshold:
            border = float(np.log(self.threshold))
            means = [[border, border], *(mean for mean in means if mean[0] > border)]
        x, y = np.asarray(means).T
        # rounding aside, both rise; a flat pair would stop the interpolation
        spline = PchipInterpolator(x, np.maximum.accumulate(y))
        self.knots = torch.as_tensor(spline.x, dtype=torch.float32, device=self.knots.device)
        self.coefficients = torch.as_tensor(
            spline.c, dtype=torch.float32, device=self.coefficients.device
        )
        self.is_fitted = True
