"""Resampled rows keep what they have of dependence, and no row comes back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import caloforge as cf
from caloforge.cascade.seeds import Seeds
from caloforge.showers import VoxelShowers
from caloforge.stages.resampled import Resampled, SmoothedBootstrap

N, COLUMNS = 20_000, 3


@pytest.fixture
def rows(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Skewed columns of variance 1, and the energies they belong to."""
    x = -torch.rand(N, COLUMNS, generator=generator).log() - 1
    return torch.rand(N, generator=generator), x


def resampled(
    rows: tuple[Tensor, Tensor], smoothing: float, generator: torch.Generator
) -> tuple[Tensor, SmoothedBootstrap]:
    bootstrap = SmoothedBootstrap(COLUMNS, 600, smoothing)
    bootstrap.fit(*rows)
    u = torch.rand(N, generator=generator)
    z = torch.randn(N, COLUMNS, generator=generator)
    return bootstrap(rows[0], u, z), bootstrap


def test_the_variance_is_kept_and_the_skewness_as_far_as_the_bandwidth_lets_it(
    rows: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    made, _ = resampled(rows, 0.3, generator)
    # of N exponential numbers, their variance is known to sqrt(8 / N), their skewness to 0.11
    torch.testing.assert_close(made.var(0), torch.ones(COLUMNS), rtol=0, atol=0.1)
    h = torch.tensor([0.3, 0.65, 1.0])
    skewness = rows[1].pow(3).mean(0) * (1 - h.square()) ** 1.5
    torch.testing.assert_close(made.pow(3).mean(0), skewness, rtol=0, atol=0.5)


def test_rows_are_of_near_energies(rows: tuple[Tensor, Tensor], generator: torch.Generator) -> None:
    at, _ = rows
    made, _ = resampled((at, at[:, None].expand(-1, COLUMNS).contiguous()), 1e-3, generator)
    assert float((made[:, 0] - at).abs().max()) < 1.2 * 600 / N


def test_rows_that_do_not_belong_together_are_refused(
    rows: tuple[Tensor, Tensor], generator: torch.Generator
) -> None:
    _, bootstrap = resampled(rows, 0.3, generator)
    state = bootstrap.state_dict()
    for name, spoiled in (
        ("place", state["place"].flip(0)),
        ("place", state["place"][1:]),
        ("rows", state["rows"][:, 1:]),
    ):
        with pytest.raises(ValueError, match="train it again"):
            SmoothedBootstrap(COLUMNS, 600, 0.3).load_state_dict({**state, name: spoiled})
    with pytest.raises(RuntimeError, match="not fitted"):
        SmoothedBootstrap(COLUMNS, 600, 0.3)(*[torch.zeros(1)] * 3)


def test_a_shower_has_the_same_energies_alone_and_in_a_batch_of_a_loaded_run(
    bundled: VoxelShowers, tmp_path: Path
) -> None:
    settings = {"scores.copula.sweeps": 2}
    system = cf.build("quilt/best", bundled.geometry, overrides=settings)
    cf.train(system, bundled[:200], run=tmp_path / "run", seed=4)
    loaded = cf.load(tmp_path / "run")
    energies, seeds = np.geomspace(1e3, 1e5, 8).astype(np.float32), Seeds.of(1, range(8), "cpu")
    with torch.inference_mode():
        whole = loaded.quantities(energies, seeds=seeds)["layer_energies"]
        alone = [
            system.quantities(energies[i : i + 1], seeds=seeds[i : i + 1])["layer_energies"]
            for i in range(8)
        ]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"smoothing": 0.0}, {"smoothing": 1.1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="resampled scores need"):
        Resampled(**wrong)  # type: ignore[arg-type]
