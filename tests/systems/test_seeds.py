"""Random numbers follow from the seed and the number of a shower alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from caloforge.cascade.seeds import Seeds


def test_a_shower_has_its_numbers_in_any_batch() -> None:
    whole = Seeds.of(3, range(50))
    alone = Seeds.of(3, [41, 7])
    assert alone.normal(2, 5).equal(whole.normal(2, 5)[[41, 7]])
    assert whole[[41, 7]].branch("a").normal(9).equal(alone.branch("a").normal(9))
    counts = torch.arange(50) % 4
    rows = whole.normal_rows(counts, 3).split(counts.tolist())
    assert torch.cat([rows[41], rows[7]]).equal(alone.normal_rows(counts[[41, 7]], 3))
    again = Seeds.of_keys(whole.as_tensor())
    assert again.repeat(2).normal(3).equal(whole.repeat(2).normal(3))


def test_seeds_numbers_branches_and_copies_are_independent() -> None:
    one = Seeds.of(3, range(200))
    others = [
        one,
        Seeds.of(4, range(200)),
        Seeds.of(3, range(1, 201)),
        one.branch("a"),
        one.branch("b"),
        one.branch("a").branch("b"),
        one.branch(1),
        one.repeat(2)[::2],
        one.repeat(2)[1::2],
    ]
    sampled = torch.stack([seeds.normal(100).flatten() for seeds in others])
    correlation = torch.corrcoef(sampled) - torch.eye(len(others))
    assert float(correlation.abs().max()) < 5 / math.sqrt(sampled.shape[1])
    keys = np.concatenate([seeds.keys for seeds in others])
    assert len(np.unique(keys)) == len(keys) - 199  # the third begins one later


@pytest.mark.parametrize("begin", [0, 10**12])
def test_the_numbers_are_normal_and_uniform_across_showers(begin: int) -> None:
    """The first number of each shower: what a poor generator of keys would spoil."""
    seeds = Seeds.of(0, np.arange(begin, begin + 20_000))
    ones = torch.ones(len(seeds), dtype=torch.int64)
    assert kstest(seeds.normal(1)[:, 0].numpy(), "norm").pvalue > 1e-3
    assert kstest(seeds.uniform_rows(ones, 1)[:, 0].numpy(), "uniform").pvalue > 1e-3


def test_nothing_is_asked_for() -> None:
    seeds = Seeds.of(1, [])
    assert seeds.normal(3).shape == (0, 3)
    assert Seeds.of(1, [5]).normal(0).shape == (1, 0)
    assert Seeds.of(1, [5, 6]).normal_rows(torch.zeros(2, dtype=torch.int64), 4).shape == (0, 4)
