"""Sticks: how parts share a whole, and back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.preprocessing import break_sticks, is_free, join_sticks
from caloforge.showers import VoxelShowers

PARTS = st.lists(
    st.one_of(st.just(0.0), st.floats(2**-10, 1e5, width=32)), min_size=2, max_size=12
).filter(any)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_each_part_is_compared_with_what_it_leaves() -> None:
    z = break_sticks(torch.tensor([[2.0, 1.0, 3.0]]), rng=rng())
    torch.testing.assert_close(z, torch.tensor([[math.log(2 / 4), math.log(1 / 3)]]))


def test_empty_parts_and_the_last_hit_are_not_free() -> None:
    hit = torch.tensor([[True, False, True, True, False], [False, False, False, False, True]])
    expected = torch.tensor([[True, False, True, False], [False, False, False, False]])
    assert torch.equal(is_free(hit), expected)


def test_what_is_not_free_is_standard_normal() -> None:
    parts = torch.zeros(20_000, 3)
    parts[:, 1] = 5.0  # the only part that is hit, so the last one too
    z = break_sticks(parts, rng=rng())
    assert abs(float(z.mean())) < 0.02
    assert float(z.std()) == pytest.approx(1, abs=0.02)
    assert torch.equal(join_sticks(z, parts > 0), parts / 5)


@settings(max_examples=100, deadline=None)
@given(parts=PARTS)
def test_the_shares_come_back(parts: list[float]) -> None:
    x = torch.tensor([parts])
    shares = join_sticks(break_sticks(x, rng=rng()), x > 0)
    torch.testing.assert_close(shares, x / x.sum(), rtol=2e-5, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    z=st.lists(st.floats(-40, 40), min_size=1, max_size=9),
    hits=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_shares_of_any_numbers_sum_to_one_and_leave_the_empty_parts_empty(
    z: list[float], hits: list[bool]
) -> None:
    hit = torch.tensor([[True, *hits[: len(z)]]])
    shares = join_sticks(torch.tensor([z], dtype=torch.float64), hit)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-12)
    assert not shares[~hit].any()
    assert (shares >= 0).all()


def test_shares_of_real_showers_keep_their_small_voxels(bundled: VoxelShowers) -> None:
    layers = torch.from_numpy(bundled[:50].dense()).float().flatten(2)
    layers = layers[layers.sum(2) > 0]
    shares = join_sticks(break_sticks(layers, rng=rng()), layers > 0)
    torch.testing.assert_close(shares * layers.sum(1, keepdim=True), layers, rtol=1e-4, atol=0)
