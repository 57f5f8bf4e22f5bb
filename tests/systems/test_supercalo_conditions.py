"""The conditions of SuperCalo's superresolution, value by value (SuperCalo, section III A)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caloforge.cascade import ShowerQuantities, build
from caloforge.geometry import Geometry, geometry_preset
from caloforge.showers import VoxelShowers
from caloforge.systems.supercalo.upsample import UpsampleStage
from caloforge.units import GeV, MeV, keV

A, B = (5, 2, 1), (1, 4, 3)
COARSE_LAYERS = {"layer_energies": "coarse"}
DATASET_2 = geometry_preset("calochallenge-2")


def logit(energy: float, largest: float) -> float:
    """B6, B7."""
    share = 1e-6 + (1 - 2e-6) * energy / largest
    return math.log(share / (1 - share))


def one_hot(number: int, size: int) -> list[float]:
    return [float(i == number) for i in range(size)]


def upsampling(geometry: Geometry, **settings: object) -> UpsampleStage:
    """The superresolution flow alone, with few weights."""
    few = {"energies": None, "coarse": None, "upsample.blocks": 2, "upsample.hidden": 8}
    settings = {f"upsample.{name}": value for name, value in settings.items()}
    stage = build("supercalo/tiny", geometry, overrides={**few, **settings}).stages["upsample"]
    assert isinstance(stage, UpsampleStage)
    return stage


def conditions(voxels: np.ndarray, voxel: int, noise: float, **settings: object) -> list[float]:
    """Of a coarse voxel where the largest coarse voxel has 1 GeV and the largest layer 2 GeV."""
    stage = upsampling(DATASET_2, **settings)
    stage.coarse.load_state({"0": {"maximum": 1 * GeV}, "1": {}})
    stage.layer_energies.load_state({"0": {"maximum": 2 * GeV}, "1": {}})
    shower = VoxelShowers.from_dense([1e5 * MeV], voxels[None], DATASET_2)
    known = ShowerQuantities(shower, stage.reads).all()
    hits = known[stage.own].nonzero()[:, 1].tolist()
    noised = known[stage.own] + noise
    return stage.context({**known, "noised": noised}, {})[hits.index(voxel)].tolist()


@pytest.fixture
def voxels() -> np.ndarray:
    """The fine voxels (layer, alpha, r) of a shower around the first bins of alpha and r."""
    voxels = np.zeros(DATASET_2.shape, dtype=np.float32)
    voxels[20, 0, 0], voxels[22, 1, 0] = 1, 2  # coarse voxel (4, 0, 0) of choice A
    voxels[21, 15, 0] = 4  # after the first bin of alpha
    voxels[20, 2, 0] = 8
    voxels[24, 0, 1] = 16
    voxels[19, 1, 0], voxels[25, 0, 0] = 32, 64
    voxels[23, 9, 8] = 0.01  # a layer below the threshold
    return voxels


def test_the_31_conditions_of_choice_a(voxels: np.ndarray) -> None:
    expected = [
        0.5,  # B1
        logit(3.0005, 1e3),  # the coarse voxel, with its noise
        *(logit(energy, 2e3) for energy in (9, 4, 2, 0, 16)),  # the layers that it spans
        *(logit(energy, 1e3) for energy in (4, 8)),  # before and after in alpha
        *(logit(energy, 1e3) for energy in (0, 16)),  # in radius: nothing further in
        *(logit(energy, 1e3) for energy in (32, 64)),  # in depth
        *one_hot(4, 9),
        *one_hot(0, 9),
    ]
    found = conditions(voxels, (4 * 8 + 0) * 9 + 0, 0.5 * keV, factors=A)
    assert len(found) == 31
    assert found == pytest.approx(expected, abs=2e-5)


def test_the_27_conditions_of_choice_a_where_only_coarse_layers_are_known(
    voxels: np.ndarray,
) -> None:
    place = (4 * 8 + 0) * 9 + 0
    fine = conditions(voxels, place, 0.0, factors=A)
    coarse = conditions(voxels, place, 0.0, factors=A, **COARSE_LAYERS)
    assert len(coarse) == 27
    assert coarse[:2] + coarse[3:] == fine[:2] + fine[7:]
    assert coarse[2] == pytest.approx(logit(9 + 4 + 2 + 16 + 0.01, 2e3), abs=2e-5)


def test_the_57_conditions_of_choice_b(voxels: np.ndarray) -> None:
    """Of the coarse voxel (44, 3, 2) in the last layer: nothing after it nor further out."""
    voxels[44, 12, 6], voxels[44, 15, 8] = 1, 2
    voxels[44, 8, 8], voxels[44, 3, 7], voxels[44, 12, 5], voxels[43, 14, 6] = 4, 8, 16, 32
    expected = [
        0.5,
        logit(3, 1e3),
        logit(1 + 2 + 4 + 8 + 16, 2e3),
        *(logit(energy, 1e3) for energy in (4, 8, 16, 0, 32, 0)),
        *one_hot(44, 45),
        *one_hot(2, 3),
    ]
    found = conditions(voxels, (44 * 4 + 3) * 3 + 2, 0.0, factors=B)
    assert len(found) == 57
    assert found == pytest.approx(expected, abs=2e-5)


def test_cells_know_both_of_their_bins() -> None:
    """A cartesian layer has no cyclic axis: x and y are both one-hot."""
    geometry = geometry_preset("ild-30")
    stage = upsampling(geometry, factors=(5, 3, 2))
    assert stage.place.shape == (6 * 10 * 15, 6 + 10 + 15)
    assert stage.place[(2 * 10 + 3) * 15 + 4].nonzero()[:, 0].tolist() == [2, 6 + 3, 16 + 4]


@pytest.mark.parametrize(
    "settings", [{"factors": A}, {"factors": A, **COARSE_LAYERS}, {"factors": B}]
)
def test_conditions_are_built_of_what_is_read_alone(
    settings: dict[str, object], bundled: VoxelShowers
) -> None:
    stage = upsampling(DATASET_2, **settings)
    sample = ShowerQuantities(bundled[:20], stage.reads)
    stage.fit(sample, {}, torch.Generator())
    read = sample.all()
    context = stage.context({**read, "noised": read[stage.own]}, {})
    assert len(context) == int((read[stage.own] > 0).sum())
    for name in stage.reads:
        changed = {**read, name: 0.9 * read[name], "noised": read[stage.own]}
        assert not torch.equal(stage.context(changed, {}), context)
