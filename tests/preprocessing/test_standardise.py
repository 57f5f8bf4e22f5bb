"""Standardisation of every feature, alone and after the rescaled logit of CaloDREAM."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from caloforge.preprocessing import Chain, Logit, Standardise
from caloforge.showers import VoxelShowers


@pytest.fixture(scope="module")
def shares(bundled: VoxelShowers) -> Tensor:
    """Real voxels in units of their layer's energy, shape (n, 45, 16, 9), empty layers too."""
    voxels = torch.from_numpy(bundled[:150].dense())
    total = voxels.sum((2, 3), keepdim=True)
    return torch.where(total > 0, voxels / total, 0.0)


def rescaled_logit() -> Chain:
    """Equation 3."""
    return Chain(Logit(1e-6), Standardise((45, 16, 9)))


def test_every_feature_gets_mean_0_and_standard_deviation_1(shares: Tensor) -> None:
    transform = rescaled_logit().double()
    transform.fit(lambda: [shares.double()])
    z = transform(shares.double())
    std, mean = torch.std_mean(z, 0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-9)
    varies = shares.std(0) > 0
    assert 0.5 < float(varies.double().mean()) < 1
    torch.testing.assert_close(std[varies], torch.ones_like(std[varies]))
    assert (z[:, ~varies].abs() < 1e-9).all()


def test_fit_is_that_of_known_numbers() -> None:
    """Features 1, 2, 3, 6 and 5, 5, 5, 5: means 3 and 5, variance 14 / 3 and none."""
    x = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [6.0, 5.0]])
    transform = Standardise((2,))
    transform.fit(lambda: x.split(3))
    assert transform.state()["mean"] == [3.0, 5.0]
    assert transform.state()["std"] == pytest.approx([math.sqrt(14 / 3), 1.0])
    expected = torch.tensor([-2 / math.sqrt(14 / 3), 0.0])
    torch.testing.assert_close(transform(x)[0], expected)


@pytest.mark.parametrize(("dtype", "eps"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_real_voxels_come_back(shares: Tensor, dtype: torch.dtype, eps: float) -> None:
    transform = rescaled_logit().to(dtype)
    transform.fit(lambda: shares.to(dtype).split(60))
    back = transform.inverse(transform(shares.to(dtype)))
    assert back.dtype == dtype
    torch.testing.assert_close(back, shares.to(dtype), rtol=0, atol=eps)


def test_logit_rescales_and_does_not_clamp() -> None:
    """Equation 3 with alpha = 0.1: 0, 0.05 and 1 stay apart and come back as they were."""
    transform = Logit(0.1)
    x = torch.tensor([0.0, 0.05, 0.5, 1.0], dtype=torch.float64)
    inner = torch.tensor([0.1, 0.14, 0.5, 0.9], dtype=torch.float64)
    z = transform(x)
    torch.testing.assert_close(z, (inner / (1 - inner)).log())
    torch.testing.assert_close(transform.inverse(z), x)
    # a sample may lie beyond the border, by alpha / (1 - 2 alpha) at most
    assert float(transform.inverse(z[3] + 1)) > 1


def test_slope_is_that_of_autograd(shares: Tensor) -> None:
    transform = rescaled_logit().double()
    transform.fit(lambda: [shares.double()])
    x = (shares[:20].double() * 0.98 + 0.01).requires_grad_()  # inside the border
    slope = torch.autograd.grad(transform(x).sum(), x)[0]
    torch.testing.assert_close(transform.log_slope(x), slope.log(), rtol=1e-9, atol=1e-9)


def test_fitting_on_batches_is_fitting_on_all(shares: Tensor) -> None:
    whole, streamed = rescaled_logit().double(), rescaled_logit().double()
    whole.fit(lambda: [shares])
    shuffled = shares[torch.randperm(len(shares), generator=torch.Generator().manual_seed(0))]
    streamed.fit(lambda: shuffled.split(37))
    torch.testing.assert_close(streamed(shares[:3].double()), whole(shares[:3].double()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_survives_json(shares: Tensor, dtype: torch.dtype) -> None:
    transform, other = rescaled_logit().to(dtype), rescaled_logit().to(dtype)
    transform.fit(lambda: [shares])
    other.load_state(json.loads(json.dumps(transform.state())))
    x = shares[:5].to(dtype)
    assert torch.equal(other(x), transform(x))
    assert other.state() == transform.state()


@pytest.mark.parametrize("use", ["forward", "inverse", "log_slope", "state"])
def test_unfitted_it_raises(use: str) -> None:
    with pytest.raises(RuntimeError, match="not fitted: call fit on the training split first"):
        getattr(Standardise((3,)), use)(*([] if use == "state" else [torch.ones(2, 3)]))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"features of shape \(3,\), got \(2,\)"):
        Standardise((3,)).fit(lambda: [torch.ones(5, 2)])
    with pytest.raises(ValueError, match="2 showers or more, got 1"):
        Standardise((3,)).fit(lambda: [torch.ones(1, 3)])
