"""A Gaussian copula finds the dependence of known Gaussians, censored ones included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caloforge.stages.copula import GaussianCopula

N, COLUMNS = 20_000, 4


def correlations(at: Tensor) -> Tensor:
    """Of neighbours, stronger at high energy: rho^|i - j|, shape (n, 4, 4)."""
    apart = (torch.arange(COLUMNS)[:, None] - torch.arange(COLUMNS)).abs()
    return (0.2 + 0.6 * at)[:, None, None] ** apart


@pytest.fixture
def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    at = torch.rand(N, generator=generator, dtype=torch.float64)
    x = torch.randn(N, COLUMNS, 1, generator=generator, dtype=torch.float64)
    return at, (torch.linalg.cholesky(correlations(at)) @ x)[..., 0]


def found(copula: GaussianCopula) -> tuple[Tensor, Tensor]:
    at = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    return copula.correlations(at), correlations(at)


def test_correlations_follow_the_energy(
    sample: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    at, scores = sample
    copula = GaussianCopula(COLUMNS, 8, 1.0, 0)
    copula.fit(at, scores, torch.full_like(scores, -torch.inf), generator)
    # some 3,000 rows around a node: an error of 0.02 at most, four times that for all nine pairs
    torch.testing.assert_close(*found(copula), rtol=0, atol=0.08)
    torch.testing.assert_close(copula(at, copula.whitened(at, scores)), scores, rtol=0, atol=2e-6)
    assert copula.correlations(at).diagonal(dim1=1, dim2=2).allclose(torch.ones(1).double())


def test_censored_scores_weaken_nothing(
    sample: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    """Two of four columns known only where they are above -0.5 and 0.5."""
    at, scores = sample
    border = torch.tensor([-torch.inf, -0.5, 0.5, -torch.inf]).double().expand_as(scores)
    cdf = torch.special.ndtr(border)
    u = torch.rand(scores.shape, generator=generator, dtype=torch.float64)
    shuffled = torch.where(scores < border, torch.special.ndtri(u * cdf), scores)
    errors = []
    for sweeps in (0, 20):
        copula = GaussianCopula(COLUMNS, 8, 1.0, sweeps)
        copula.fit(at, shuffled, border, generator)
        is_like, should = found(copula)
        errors.append(float((is_like - should).abs().max()))
    assert errors[0] > 0.2
    assert errors[1] < 0.1


def test_a_copula_that_does_not_hold_together_is_refused(
    sample: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    at, scores = sample
    copula = GaussianCopula(COLUMNS, 8, 1.0, 0)
    copula.fit(at, scores, torch.full_like(scores, -torch.inf), generator)
    state = copula.state_dict()
    for name, spoiled in (("factors", -state["factors"]), ("place", state["place"][:-1])):
        with pytest.raises(ValueError, match="train it again"):
            GaussianCopula(COLUMNS, 8, 1.0, 0).load_state_dict({**state, name: spoiled})


def test_spreads_that_change_are_followed_to_the_ends_of_the_range(
    generator: torch.Generator,
) -> None:
    """Layers that share one number, and noise that falls to a fifth: as of sampled energy."""
    at = torch.rand(N, generator=generator, dtype=torch.float64)
    noise = (-1.6 * at).exp()[:, None]
    shared, own = torch.randn(2, N, COLUMNS, generator=generator, dtype=torch.float64)
    scores = (shared[:, :1] + noise * own) / (1 + noise.square()).sqrt()
    copula = GaussianCopula(COLUMNS, 8, 3.0, 0)
    copula.fit(at, scores, torch.full_like(scores, -torch.inf), generator)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    uncorrelated = 1 - copula.correlations(ends)[:, 0, 1:].mean(1)
    # a mean over a ninth of the rows at one side of 1 would make it 0.054 in place of 0.039
    expected = 1 - 1 / (1 + (-3.2 * ends).exp())
    torch.testing.assert_close(uncorrelated, expected, rtol=0.1, atol=0)
