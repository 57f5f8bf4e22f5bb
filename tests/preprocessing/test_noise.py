"""Noise has the published distributions and leaves what is real alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from caloforge.preprocessing import add_gaussian, add_uniform, fill_zeros, rotate
from caloforge.showers import VoxelShowers
from caloforge.units import keV


@pytest.fixture(scope="module")
def layers(bundled: VoxelShowers) -> Tensor:
    """Voxels of six layers in the shower's core [MeV], shape (n, 6, alpha, r)."""
    return torch.from_numpy(bundled[:150].dense()[:, 5:11])


def test_empty_voxels_are_filled_log_normally(layers: Tensor, generator: torch.Generator) -> None:
    """Median 1 keV, 0.2 decades (table 8): tested against the distribution itself."""
    filled = fill_zeros(layers, median=1 * keV, decades=0.2, rng=generator)
    empty = layers == 0
    assert 0.1 < float(empty.float().mean()) < 0.99
    assert torch.equal(filled[~empty], layers[~empty])
    exponent = filled[empty].double().log10().numpy()
    test = scipy.stats.kstest(exponent, "norm", args=(math.log10(1 * keV), 0.2))
    assert test.pvalue > 1e-3
    assert np.median(filled[empty]) == pytest.approx(1 * keV, rel=0.01)


def test_uniform_noise_has_its_range(layers: Tensor, generator: torch.Generator) -> None:
    noise = add_uniform(torch.zeros_like(layers), width=1 * keV, rng=generator)
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 1 * keV * 1.0001
    assert scipy.stats.kstest(noise.flatten()[::7] / keV, "uniform").pvalue > 1e-3
    again = add_uniform(layers, width=1 * keV, rng=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again, layers + noise)


def test_gaussian_noise_has_its_moments(generator: torch.Generator) -> None:
    """Mean 1 keV, standard deviation 0.2 keV (table 4)."""
    energies = torch.full((20_000, 5), 3.0, dtype=torch.float64)
    noise = add_gaussian(energies, mean=1 * keV, std=0.2 * keV, rng=generator) - 3
    assert scipy.stats.kstest(noise.flatten() / keV, "norm", args=(1, 0.2)).pvalue > 1e-3
    none = add_gaussian(torch.zeros(10_000), mean=0.0, std=1.0, rng=generator)
    assert float(none.min()) == 0


def test_noise_follows_its_generator_alone(layers: Tensor) -> None:
    def noised(seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        turned = rotate(layers, axis=2, rng=rng)
        filled = fill_zeros(turned, median=1 * keV, decades=0.2, rng=rng)
        return add_gaussian(add_uniform(filled, width=1.0, rng=rng), mean=0, std=1, rng=rng)

    state = torch.get_rng_state()
    assert torch.equal(noised(1), noised(1))
    assert not torch.equal(noised(1), noised(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_rotation_turns_all_layers_of_a_shower_together(
    layers: Tensor, generator: torch.Generator
) -> None:
    turned = rotate(layers, axis=2, rng=generator)
    assert torch.equal(turned.sum((2, 3)).sort().values, turned.sum((2, 3)).sort().values)
    torch.testing.assert_close(turned.sum((2, 3)), layers.sum((2, 3)))  # layer energies
    torch.testing.assert_close(turned.sum(2), layers.sum(2))  # and radial profiles stay
    bins = layers.shape[2]
    angles = set()
    for before, after in zip(layers, turned, strict=True):
        fitting = [a for a in range(bins) if torch.equal(before.roll(a, 1), after)]
        assert len(fitting) == 1
        angles.add(fitting[0])
    assert len(angles) == bins  # 150 showers and 16 angles


def test_rotations_are_uniform(generator: torch.Generator) -> None:
    marked = torch.zeros(16_000, 2, 16, 1)
    marked[:, :, 0] = 1
    turned = rotate(marked, axis=2, rng=generator)
    counts = turned[:, 0, :, 0].sum(0).numpy()
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
