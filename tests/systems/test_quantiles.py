"""Numbers become standard normal by their local quantiles, and come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import genpareto, kstest, norm
from torch import Tensor

from caloforge.stages.quantiles import BODY, LocalQuantiles

N = 6000


@pytest.fixture
def at(generator: torch.Generator) -> Tensor:
    return 5 * torch.rand(N, generator=generator, dtype=torch.float64)


def fitted(at: Tensor, values: Tensor, known: Tensor | None = None) -> LocalQuantiles:
    quantiles = LocalQuantiles(600)
    every = torch.ones_like(values, dtype=torch.bool)
    quantiles.fit(at, values, every if known is None else known)
    return quantiles


def test_no_score_lies_farther_out_than_those_of_as_many_rows(
    at: Tensor, generator: torch.Generator
) -> None:
    values = torch.randn(N, 1, generator=generator, dtype=torch.float64)
    known = fitted(at, values).within(torch.tensor([[-9.0], [1.0], [9.0]], dtype=torch.float64))
    beyond = torch.special.ndtr(-known[2]) * N
    torch.testing.assert_close(beyond, torch.tensor([0.5], dtype=torch.float64), rtol=1e-4, atol=0)
    assert known[0] == -known[2]
    assert known[1] == 1


def test_one_rare_value_widens_the_tail_of_its_neighbours_little(
    at: Tensor, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.randn(N, 1, generator=generator, dtype=torch.float64)
    rare, score = values.clone(), torch.full((N, 1), 4.0, dtype=torch.float64)
    rare[at.argsort()[N // 2]] = 12.0

    def widened() -> float:
        there, usual = (fitted(at, rows).values(at, score)[0] for rows in (rare, values))
        return float((there - usual).max())

    over_many = widened()
    monkeypatch.setattr("caloforge.stages.quantiles.NODES", 1)
    assert over_many < widened() * 2 / 3


def test_values_come_back_from_their_scores(at: Tensor, generator: torch.Generator) -> None:
    z = torch.randn(N, 2, generator=generator, dtype=torch.float64)
    values = torch.stack([at + z[:, 0], (0.3 * z[:, 1]).exp()], 1)
    known = torch.rand(values.shape, generator=generator) < torch.tensor([1.0, 0.6])
    quantiles = fitted(at, values, known)
    u = torch.rand(values.shape, generator=generator)
    back, same = quantiles.values(at, quantiles.scores(at, values, known, u))
    assert same.equal(known)
    torch.testing.assert_close(back[known], values[known], rtol=1e-9, atol=1e-9)
    scores = quantiles.scores(at, values, known, u)
    assert ((scores < quantiles.border(at)) == ~known).all()


def test_others_of_the_same_distribution_become_normal(
    at: Tensor, generator: torch.Generator
) -> None:
    """Of a spread that changes with the energy, and a third of them without a value."""
    values, others = (
        (1 + at[:, None]) * torch.randn(N, 1, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    known = torch.rand(N, 1, generator=generator) < 2 / 3
    u = torch.rand(N, 1, generator=generator)
    scores = fitted(at, values, known).scores(at, others, known.flip(0), u)
    assert kstest(scores[:, 0], "norm").statistic < 2.5 / np.sqrt(N)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2])
def test_tails_go_on_as_they_are(shape: float) -> None:
    """Beyond the largest of 600 values: quantiles that one in 10,000 exceeds."""
    random, n = np.random.default_rng(2), 30_000
    at = torch.from_numpy(random.random(n))
    tail = genpareto(shape)
    share = norm.sf(BODY)
    u = random.random(n)
    above = tail.ppf(np.clip(1 - (1 - u) / share, 0, 1))
    values = torch.from_numpy(np.where(u > 1 - share, above, (u - 1 + share) / share))[:, None]
    quantiles = fitted(at, values)
    assert abs(float(quantiles.shape[0, 1]) - shape) < 0.15
    rare = torch.full((n, 1), norm.isf(1e-4))
    found, _ = quantiles.values(at, rare)
    assert found.mean() == pytest.approx(tail.isf(1e-4 / share), rel=0.25)
    assert found.mean() > tail.isf(1 / (600 * share))


def test_a_column_without_values_or_spread_is_kept(at: Tensor) -> None:
    values = torch.zeros(N, 2, dtype=torch.float64)
    values[:, 1] = 3.0
    known = torch.tensor([False, True]).expand(N, 2)
    back, same = fitted(at, values, known).values(at, torch.randn(N, 2).double())
    assert same.equal(known)
    torch.testing.assert_close(back[:, 1], torch.full((N,), 3.0).double())


def test_quantiles_that_were_not_counted_are_said_to_be_missing(at: Tensor) -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        LocalQuantiles(600).values(at, torch.zeros(N, 1))


def test_tables_that_do_not_hold_together_are_refused(at: Tensor) -> None:
    state = fitted(at, at[:, None]).state_dict()
    for name, spoiled in (
        ("knots", -state["knots"]),
        ("none", state["none"] + 2),
        ("excess", state["excess"][:-1]),
        ("place", state["place"].flip(0)),
    ):
        with pytest.raises(ValueError, match="train it again"):
            LocalQuantiles(600).load_state_dict({**state, name: spoiled})
