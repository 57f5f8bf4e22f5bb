"""Rescaling: groups of voxels get their energy, and what falls below the threshold is emptied."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.stages.rescaling import rescale


def test_rescaling_hits_lifts_no_voxel_above_the_threshold() -> None:
    showers = torch.tensor([[[[1.0, 3.0]], [[0.06, 2.0]], [[0.0, 0.0]]]])
    wanted = torch.tensor([[8.0, 8.0, 5.0]])
    expected = torch.tensor([[[[2.0, 6.0]], [[0.0, 8.0]], [[0.0, 0.0]]]])
    torch.testing.assert_close(rescale(showers, wanted, 0.1, "hits"), expected)


def test_rescaling_voxels_lifts_them_as_published() -> None:
    showers = torch.tensor([[[[0.06, 2.0]]]])
    scaled = rescale(showers, torch.tensor([[8.0]]), 0.1, "voxels")
    torch.testing.assert_close(scaled, showers * 8 / 2.06)


def test_rescaling_masks_what_falls_below_the_threshold_and_shares_its_energy() -> None:
    # scaled by 1 / 4.15 the smallest would fall to 0.036: the other two share the energy
    showers = torch.tensor([[[[0.15, 3.0, 1.0]]]])
    expected = torch.tensor([[[[0.0, 0.75, 0.25]]]])
    for which in ("hits", "voxels"):
        torch.testing.assert_close(rescale(showers, torch.tensor([[1.0]]), 0.1, which), expected)


@pytest.mark.parametrize("which", ["hits", "voxels"])
def test_rescaling_empties_a_layer_below_the_threshold(which: str) -> None:
    showers = torch.tensor([[[[1.0, 3.0]]]])
    assert not rescale(showers, torch.tensor([[0.05]]), 0.1, which).any()


@pytest.mark.parametrize("which", ["hits", "voxels"])
def test_rescaling_keeps_nan(which: str) -> None:
    showers = torch.tensor([[[[float("nan"), 3.0]]]])
    assert torch.isnan(rescale(showers, torch.tensor([[3.0]]), 0.1, which)).any()


@settings(max_examples=50, deadline=None)
@given(
    energies=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=12),
    wanted=st.floats(0, 1000, width=32),
    which=st.sampled_from(["hits", "voxels"]),
)
def test_rescaling_keeps_order_threshold_and_layer_energy(
    energies: list[float], wanted: float, which: str
) -> None:
    layer = torch.tensor(energies)[None, None, None, :]
    scaled = rescale(layer, torch.tensor([[wanted]]), 0.1, which)[0, 0, 0]
    assert not ((scaled > 0) & (scaled < 0.1)).any()
    hit = scaled[scaled > 0]
    if len(hit):
        assert float(hit.sum()) == pytest.approx(wanted, rel=1e-5)
        emptied = layer[0, 0, 0][scaled == 0]
        assert not len(emptied) or emptied.max() <= layer[0, 0, 0][scaled > 0].min()


@pytest.mark.parametrize("which", ["hits", "voxels"])
def test_of_equal_voxels_as_many_are_kept_as_share_the_energy(which: str) -> None:
    """Ten voxels of 1 cannot share 3.5 above a threshold of 1, three of them can."""
    rescaled = rescale(torch.ones(1, 1, 10), torch.tensor([[3.5]]), 1.0, which)
    assert rescaled.sum().item() == pytest.approx(3.5)
    assert sorted(rescaled.flatten().tolist()) == pytest.approx([0] * 7 + [3.5 / 3] * 3)
