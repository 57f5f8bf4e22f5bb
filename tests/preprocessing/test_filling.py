"""The density of filled voxels is that of the noise which fills them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from caloforge.preprocessing import FillNoise, add_uniform, fill_zeros
from caloforge.units import keV

PUBLISHED = FillNoise(median=1 * keV, decades=0.2, width=1 * keV)
WIDE = FillNoise(median=1 * keV, decades=0.2, width=0.1)
NARROW = FillNoise(median=5 * keV, decades=0.05, width=0.01 * keV)
EACH = pytest.mark.parametrize("noise", [PUBLISHED, WIDE, NARROW], ids=["paper", "wide", "narrow"])


def sampled(noise: FillNoise, rng: torch.Generator, n: int = 20_000) -> torch.Tensor:
    empty = torch.zeros(n, dtype=torch.float64)
    filled = fill_zeros(empty, median=noise.median, decades=noise.decades, rng=rng)
    return add_uniform(filled, width=noise.width, rng=rng)


@EACH
def test_the_noise_follows_its_density(noise: FillNoise, generator: torch.Generator) -> None:
    """Kolmogorov-Smirnov against the integral of the density, which ends at one."""
    highest = noise.median * 10 ** (8 * noise.decades) + noise.width
    grid = np.geomspace(1e-3 * noise.median, highest, 200_000)
    density = noise.log_prob(torch.from_numpy(grid)).exp().numpy()
    cumulative = scipy.integrate.cumulative_trapezoid(density, grid, initial=0)
    assert cumulative[-1] == pytest.approx(1, abs=1e-6)
    test = scipy.stats.kstest(sampled(noise, generator), lambda e: np.interp(e, grid, cumulative))
    assert test.pvalue > 1e-3


@EACH
def test_the_entropy_is_the_mean_of_minus_the_log_density(
    noise: FillNoise, generator: torch.Generator
) -> None:
    log_density = noise.log_prob(sampled(noise, generator))
    error = float(log_density.std()) / len(log_density) ** 0.5
    assert abs(noise.entropy() + float(log_density.mean())) < 4 * error


def test_limits_with_a_closed_form() -> None:
    """Nearly uniform noise has the density 1 / width; nearly no uniform noise leaves a log-normal
    one, whose entropy is log(median) + log(2 pi e sigma^2) / 2 with sigma = decades log(10)."""
    inside = torch.tensor([0.02, 0.09], dtype=torch.float64)
    torch.testing.assert_close(WIDE.log_prob(inside), torch.full_like(inside, math.log(10)))
    energies = torch.tensor([4e-3, 5e-3, 7e-3], dtype=torch.float64)
    sigma = NARROW.decades * math.log(10)
    log_normal = scipy.stats.lognorm(s=sigma, scale=NARROW.median)
    middle = energies - NARROW.width / 2
    assert NARROW.log_prob(energies).numpy() == pytest.approx(log_normal.logpdf(middle), abs=1e-4)
    assert NARROW.entropy() == pytest.approx(log_normal.entropy(), abs=1e-3)


def test_the_tails_keep_their_digits() -> None:
    """Far above its median q falls as the log-normal's tail, where Phi itself is one to rounding;
    nothing lies at or below zero."""
    far = torch.tensor([0.05, 0.06, 0.07], dtype=torch.float64)
    log_density = PUBLISHED.log_prob(far)
    assert torch.isfinite(log_density).all()
    log_normal = scipy.stats.lognorm(s=0.2 * math.log(10), scale=1 * keV)
    middle = (far - PUBLISHED.width / 2).numpy()
    assert log_density.numpy() == pytest.approx(log_normal.logpdf(middle), abs=0.01)
    nothing = PUBLISHED.log_prob(torch.tensor([0.0, -1.0], dtype=torch.float64))
    assert torch.equal(nothing, torch.full_like(nothing, -math.inf))


@pytest.mark.parametrize("missing", ["median", "decades", "width"])
def test_without_noise_there_is_no_density(missing: str) -> None:
    settings = {"median": 1 * keV, "decades": 0.2, "width": 1 * keV, missing: 0.0}
    with pytest.raises(ValueError, match="empty voxels have a density only if"):
        FillNoise(**settings)
