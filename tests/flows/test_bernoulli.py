"""Bits sampled one after the other: probabilities that sum to one, and samples that follow them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from caloforge.flows import BernoulliMADE

D = 4


def made() -> BernoulliMADE:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        bits = BernoulliMADE(D, 2, 16, 1)
        for weights in bits.parameters():
            nn.init.normal_(weights, std=0.8)
    return bits.eval()


def every_pattern() -> torch.Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=D)))


def test_probabilities_of_all_patterns_sum_to_one() -> None:
    patterns, bits = every_pattern(), made()
    for context in torch.randn(3, 2, generator=torch.Generator().manual_seed(0)):
        log_prob = bits.log_prob(patterns, context.expand(len(patterns), -1))
        assert float(log_prob.detach().exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("prepared", [False, True])
def test_draws_follow_the_probabilities(prepared: bool) -> None:
    bits, n = made(), 40_000
    if prepared:
        bits.prepare()
    context = torch.tensor([[0.3, -1.0]])
    uniform = torch.rand(n, D, generator=torch.Generator().manual_seed(2))
    sampled = bits.decode(uniform, context.expand(n, -1))
    patterns = every_pattern()
    number = (sampled * 2.0 ** torch.arange(D - 1, -1, -1)).sum(1).long()
    found = torch.bincount(number, minlength=len(patterns)) / n
    expected = bits.log_prob(patterns, context.expand(len(patterns), -1)).exp().detach()
    error = (expected * (1 - expected) / n).sqrt()
    assert bool(((found - expected).abs() < 5 * error + 1e-6).all())


def test_prepared_bits_are_those_of_the_weights() -> None:
    bits = made()
    uniform = torch.rand(500, D, generator=torch.Generator().manual_seed(3))
    context = torch.randn(500, 2, generator=torch.Generator().manual_seed(4))
    expected = bits.decode(uniform, context)
    bits.prepare()
    assert bits.is_prepared
    assert torch.equal(bits.decode(uniform, context), expected)
    bits.train()
    assert not bits.is_prepared


def test_one_pass_a_bit() -> None:
    assert made().sequential_passes == D


@pytest.mark.parametrize("prepared", [False, True])
def test_nan_is_no_silent_zero(prepared: bool) -> None:
    bits, uniform = made(), torch.rand(3, D, generator=torch.Generator().manual_seed(3))
    if prepared:
        bits.prepare()
    context = torch.randn(3, 2, generator=torch.Generator().manual_seed(4))
    clean = bits.decode(uniform, context)
    context[1] = torch.nan
    found = bits.decode(uniform, context)
    assert torch.isnan(found).all(1).tolist() == [False, True, False]
    assert torch.equal(found[[0, 2]], clean[[0, 2]])
