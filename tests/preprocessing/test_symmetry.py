"""Symmetries of showers that training uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import caloforge as cf
from caloforge.preprocessing import check_centred, reflect
from caloforge.showers import VoxelShowers


def images(square: torch.Tensor) -> list[torch.Tensor]:
    turned = [square.rot90(k) for k in range(4)]
    return [*turned, *(t.T for t in turned)]


def test_reflections_of_a_square_are_its_eight_symmetries(generator: torch.Generator) -> None:
    square = torch.arange(9.0).reshape(3, 3)
    sampled = reflect(square.expand(4000, 2, 3, 3), axes=(2, 3), rng=generator)
    assert torch.equal(sampled[:, 0], sampled[:, 1])  # the layers of a shower together
    counts = [int((sampled[:, 0] == image).all((1, 2)).sum()) for image in images(square)]
    assert sum(counts) == 4000
    assert min(counts) > 400  # 500 each, +- 21


def test_reflections_of_a_rectangle_leave_the_diagonal_out(generator: torch.Generator) -> None:
    layers = torch.arange(6.0).reshape(1, 2, 3).expand(200, 2, 3)
    sampled = reflect(layers, axes=(1, 2), rng=generator)
    kinds = torch.unique(sampled, dim=0)
    assert kinds.shape == (4, 2, 3)


def test_reflection_of_the_azimuth_keeps_every_ring(
    bundled: VoxelShowers, generator: torch.Generator
) -> None:
    layers = torch.from_numpy(bundled[:50].dense())
    sampled = reflect(layers, axes=(2,), rng=generator)
    torch.testing.assert_close(sampled.sum(2), layers.sum(2))
    mirrored = (sampled == layers.flip(2)).flatten(1).all(1)
    same = (sampled == layers).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 10 < int(mirrored.sum()) < 40


def test_geant4_showers_are_centred(bundled: VoxelShowers, shared_data: Path) -> None:
    electrons = torch.from_numpy(bundled.dense())
    photons = torch.from_numpy(cf.read(shared_data / "photons-10-100GeV_ild-30_test.h5").dense())
    for layer in (0, 5, 12, 25):
        check_centred([electrons[:500, layer], electrons[500:, layer]], cyclic=True)
        check_centred([photons[:, layer]], cyclic=False)


def test_showers_that_lean_are_refused(bundled: VoxelShowers, shared_data: Path) -> None:
    electrons = torch.from_numpy(bundled.dense())[:, 12].clone()
    electrons[:, :8] *= 1.2
    with pytest.raises(ValueError, match=r"spread aside: switch off rotation and reflection"):
        check_centred([electrons], cyclic=True)
    photons = torch.from_numpy(cf.read(shared_data / "photons-10-100GeV_ild-30_test.h5").dense())
    with pytest.raises(ValueError, match="showers that enter perpendicularly"):
        check_centred([photons[:, 12].roll(1, 2)], cyclic=False)


def test_few_or_empty_showers_are_not_judged() -> None:
    check_centred([torch.zeros(5, 4, 4)], cyclic=False)
    check_centred([torch.tensor([[[1.0, 0.0]]])], cyclic=True)
    # the same bin by chance, which looks like no spread at all
    check_centred([torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]], [[0.0, 0.0]]])], cyclic=False)
