"""A flow-matching generator of another package, wired from shared stages: twenty lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import Tensor

import caloforge as cf
from caloforge.cascade import (
    Choice,
    Quantities,
    Recipe,
    SamplingOptions,
    VoxelSystem,
    registry,
)
from caloforge.cli import main
from caloforge.geometry import Geometry
from caloforge.showers import VoxelShowers
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import EnergyNetwork, ShapeNetwork
from caloforge.stages.ratios import EnergyRatioStage
from caloforge.stages.shape import VoxelShapeStage

RECIPE = Recipe(epochs=1, batch_size=32, learning_rate=1e-3)


@dataclass(frozen=True)
class MatchedConfig:
    energies: EnergyNetwork
    shape: ShapeNetwork


class Matched(VoxelSystem):
    name = "matched"
    Config: ClassVar[type[Any]] = MatchedConfig
    sizes = ("tiny",)

    def __init__(self, config: MatchedConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        conditions = RatioConditions(geometry.n_layers, 4.0, config.energies.alpha, snap=False)
        self.stages["conditions"] = conditions
        self.stages["energies"] = EnergyRatioStage(config.energies, geometry)
        self.stages["shape"] = VoxelShapeStage(config.shape, geometry, conditions)

    @classmethod
    def preset(cls, size: str, geometry: Geometry) -> MatchedConfig:
        energies = EnergyNetwork(RECIPE, feed_forward=16, hidden=16, solver="midpoint-2")
        shape = ShapeNetwork(RECIPE, (3, 16, 9), dim=12, heads=2, hidden=16, solver="euler-2")
        return MatchedConfig(energies, shape)

    @property
    def choices(self) -> Mapping[str, Choice]:
        return {**super().choices, "scale": Choice("factor of all energies", 1.0, float)}

    def assemble(self, quantities: Quantities, options: SamplingOptions) -> Tensor:
        return options.scale * quantities["showers"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the package that holds it had been installed."""
    entry = EntryPoint("matched", f"{__name__}:Matched", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    registry._modules.cache_clear()
    yield
    registry._modules.cache_clear()


def test_it_is_found_trained_and_kept_by_its_name(
    installed: None,
    bundled: VoxelShowers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "matched/tiny" in registry.presets()
    system = cf.build("matched", bundled.geometry)
    cf.train(system, bundled[:100], run=tmp_path / "run")
    energies = np.geomspace(2e3, 5e4, 3).astype(np.float32)
    sampled = system.generate(energies, seed=1)
    again = cf.load(tmp_path / "run").generate(energies, seed=1)
    np.testing.assert_array_equal(sampled.dense(), again.dense())
    assert (sampled.layer_energies().sum(1) > 0).all()

    def caloforge(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["caloforge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        return capsys.readouterr().out

    # a choice of its own, on the command line as well
    run, fake = tmp_path / "run", tmp_path / "fake.h5"
    assert "factor of all energies" in caloforge("info", run)
    cf.write(tmp_path / "like.h5", sampled)
    like = ("--like", tmp_path / "like.h5", "--seed", 1)
    caloforge("generate", run, *like, "-o", fake, "--choose", "scale=2", "--solver", "euler-2")
    np.testing.assert_allclose(cf.read(fake).dense(), 2 * sampled.dense(), rtol=1e-6)
    with cf.open_showers(fake) as file:
        assert file.attributes["scale"] == 2.0
        assert "solver" not in file.attributes  # it is the usual one
