"""A system of points trains, samples and streams to disk as one of voxels does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import caloforge as cf
from caloforge.cascade import (
    PointSystem,
    Recipe,
    SamplingOptions,
    registry,
)
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.cli import main
from caloforge.generation import GenerationProgress
from caloforge.showers import PointShowers, VoxelShowers

# particles of any energy are asked for
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")


class CloudStage(Learned):
    """As many points per energy as it learnt, in a beam along the direction of the particle."""

    reads = ("energy_inc", "direction")
    writes = ("n_points", "points")
    learns = ("energy_inc", "n_points", "points")

    def __init__(self, recipe: Recipe, n_layers: int) -> None:
        super().__init__()
        self.recipe, self.n_layers = recipe, n_layers
        self.points_per_gev = nn.Parameter(torch.tensor(10.0))

    @property
    def sequential_passes(self) -> int:
        return 1

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        return quantities["energy_inc"] / 1e3

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        assert len(quantities["points"]) == quantities["n_points"].sum()
        return {"context": self.context(quantities, {}), "n_points": quantities["n_points"]}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        return (batch["n_points"] / batch["context"] - self.points_per_gev).square().mean()

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        mean = self.points_per_gev * self.context(given, {})
        n_points = (mean + mean.sqrt() * seeds.branch("n").normal()).round().clamp_min(0).long()
        return {
            "n_points": n_points,
            "normal": seeds.normal_rows(n_points, 2),
            "uniform": seeds.branch("u").uniform_rows(n_points, 2),
        }

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        n_points, uniform = noise["n_points"], noise["uniform"]
        layer = (self.n_layers * uniform[:, :1]).floor()
        along = given["direction"].repeat_interleave(n_points, 0)
        position = noise["normal"] + layer * along[:, :2] / along[:, 2:]
        points = torch.cat([position, layer, uniform[:, 1:]], 1)
        return {"n_points": n_points, "points": points}


class UndirectedStage(CloudStage):
    """The same along the depth."""

    reads = ("energy_inc",)

    def decode(self, noise: Noise, given: Quantities, *rest: Any) -> Quantities:
        along = torch.tensor([0.0, 0.0, 1.0]).expand(len(given["energy_inc"]), 3)
        return super().decode(noise, {**given, "direction": along}, *rest)


@dataclass(frozen=True)
class CloudConfig:
    directed: bool = True
    recipe: Recipe = field(
        default_factory=lambda: Recipe(epochs=8, batch_size=8, learning_rate=10.0)
    )


class Cloud(PointSystem):
    """A system of points that trains in no time."""

    name: ClassVar[str] = "cloud"
    Config: ClassVar[type[Any]] = CloudConfig
    sizes: ClassVar[tuple[str, ...]] = ("tiny",)

    def __init__(self, config: CloudConfig, geometry: cf.Geometry) -> None:
        super().__init__(config, geometry)
        stage = CloudStage if config.directed else UndirectedStage
        self.stages["points"] = stage(config.recipe, geometry.n_layers)

    @classmethod
    def preset(cls, size: str, geometry: cf.Geometry) -> CloudConfig:
        return CloudConfig()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a system of another package."""
    entry = EntryPoint("cloud", f"{__name__}:Cloud", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    registry._modules.cache_clear()
    yield
    registry._modules.cache_clear()


@pytest.fixture
def run(bundled_points: PointShowers, tmp_path: Path) -> Path:
    system = cf.build("cloud/tiny", bundled_points.geometry)
    cf.train(system, bundled_points, run=tmp_path / "run")
    return tmp_path / "run"


ENERGIES = np.linspace(1e4, 1e5, 23, dtype=np.float32)


def same(a: PointShowers, b: PointShowers) -> bool:
    names = (*PointShowers.of_showers, "offset", *PointShowers.columns)
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_system_of_points_learns_and_draws_points(
    run: Path, bundled_points: PointShowers
) -> None:
    system = cf.load(run)
    sampled = system.generate(ENERGIES, seed=1, batch_size=10)
    assert isinstance(sampled, PointShowers)
    assert sampled.geometry == bundled_points.geometry
    assert np.array_equal(sampled.energy_inc, ENERGIES)
    wanted = (np.diff(bundled_points.offset) / bundled_points.energy_inc).mean()  # what it learns
    assert len(sampled.energy) / ENERGIES.sum() == pytest.approx(wanted, rel=0.1)
    assert same(sampled, cf.load(run).generate(ENERGIES, seed=1, batch_size=10))
    # a batch is independent of the others
    middle = system.stream(ENERGIES[10:20], seed=1, batch_size=10, first=10)
    assert same(next(middle), sampled[10:20])


def test_a_system_of_points_is_trained_from_a_file(
    run: Path, bundled_points: PointShowers, tmp_path: Path
) -> None:
    cf.write(tmp_path / "points.h5", bundled_points)
    system = cf.build("cloud/tiny", "ild-ecal")
    cf.train(system, tmp_path / "points.h5", run=tmp_path / "again")
    assert same(system.generate(ENERGIES[:3], seed=1), cf.load(run).generate(ENERGIES[:3], seed=1))


def test_showers_of_another_kind_are_refused(
    bundled: VoxelShowers, bundled_points: PointShowers, tmp_path: Path
) -> None:
    cloud, voxels = cf.build("cloud/tiny", "ild-ecal"), cf.build("l2lflows/tiny", "ild-30")
    with pytest.raises(ValueError, match="cloud learns from point clouds, got showers in voxels"):
        cf.train(cloud, bundled, run=tmp_path / "run")
    with pytest.raises(ValueError, match="l2lflows learns from showers in voxels, got point"):
        cf.train(voxels, bundled_points, run=tmp_path / "run")
    elsewhere = dataclasses.replace(bundled_points, geometry=cf.geometry_preset("ild-30"))
    with pytest.raises(ValueError, match="showers are of ild-30, the system is built for ild-ecal"):
        cf.train(cloud, elsewhere, run=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_points_have_no_density_and_nothing_is_resampled(bundled_points: PointShowers) -> None:
    system = cf.build("cloud/tiny", bundled_points.geometry)
    with pytest.raises(ValueError, match="cloud has no density: points give none"):
        system.log_prob(bundled_points)
    with pytest.raises(
        ValueError, match="cloud offers no choice of resample: what can be chosen is nothing"
    ):
        system.generate([1e4], seed=1, options=SamplingOptions(resample=2))


def test_a_stage_that_draws_no_numbers_is_named(bundled_points: PointShowers) -> None:
    system = cf.build("cloud/tiny", bundled_points.geometry)
    sample = system.stages["points"].sample

    def broken(*arguments: Any) -> Quantities:
        sampled = sample(*arguments)
        sampled["points"][7, 3] = torch.nan
        return sampled

    system.stages["points"].sample = broken
    with pytest.raises(FloatingPointError, match="stage points sampled values that are not finite"):
        system.generate([1e4], seed=1)


def test_points_streamed_to_disk_and_resumed_are_as_in_memory(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop(progress: GenerationProgress) -> None:
        if progress.done > 15:
            raise StopError

    monkeypatch.setattr("caloforge.generation.production.PART_SIZE", 10)
    system = cf.load(run)
    direction = np.tile(np.float32([0.6, 0.0, 0.8]), (len(ENERGIES), 1))
    direction[:11] = [0, 0, 1]  # a whole part and a shower of the next
    particles, job = cf.Particles(ENERGIES, direction), {"seed": 3, "batch_size": 5}
    path = tmp_path / "fake.h5"
    with pytest.raises(StopError):
        cf.generate(system, particles, output=path, progress=stop, **job)
    assert len(list((tmp_path / "fake.h5.parts").glob("*.h5"))) == 1
    with pytest.raises(ValueError, match=r"answers another request .*direction: "):
        cf.generate(system, ENERGIES, output=path, resume=True, seed=3, batch_size=5)
    cf.generate(system, particles, output=path, resume=True, **job)
    kept = cf.generate(system, particles, **job)
    assert same(cf.read(path), kept)
    assert cf.read(path).geometry == system.geometry
    assert np.array_equal(kept.direction, direction)


def test_showers_follow_the_direction_of_the_particle(run: Path) -> None:
    system = cf.load(run)
    inclined = system.generate(cf.Particles(ENERGIES, [0.6, 0.0, 0.8]), seed=1)
    straight = system.generate(ENERGIES, seed=1)
    assert inclined.x - straight.x == pytest.approx(0.75 * straight.layer, abs=1e-4)
    assert straight.direction.tolist() == [[0, 0, 1]] * len(ENERGIES)


def test_directions_that_a_system_does_not_know_are_refused() -> None:
    undirected = cf.build("cloud/tiny", "ild-ecal", overrides={"directed": False})
    assert len(undirected.generate(ENERGIES[:2], seed=1).direction) == 2
    with pytest.raises(ValueError, match=r"cloud samples showers of the direction .* reads none"):
        undirected.generate(cf.Particles(ENERGIES, [0.6, 0.0, 0.8]), seed=1)


def test_the_command_line_knows_points(
    bundled_points: PointShowers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caloforge(*arguments: object) -> None:
        monkeypatch.setattr("sys.argv", ["caloforge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0

    data, run, fake = (tmp_path / name for name in ("data.h5", "run", "fake.h5"))
    inclined = dataclasses.replace(bundled_points, direction=np.float32([0.6, 0.0, 0.8]))
    cf.write(data, inclined)
    caloforge("train", "cloud/tiny", "--data", data, "-o", run, "recipe.epochs=2")
    caloforge("generate", run, "-n", 7, "--direction", "3,0,4", "-o", fake)
    sampled = cf.read(fake)
    assert len(sampled) == 7
    low, high = bundled_points.energy_inc.min(), bundled_points.energy_inc.max()
    assert ((sampled.energy_inc >= 0.999 * low) & (sampled.energy_inc <= 1.001 * high)).all()
    assert sampled.direction == pytest.approx(np.tile([0.6, 0.0, 0.8], (7, 1)))
    caloforge("generate", run, "--like", data, "-o", fake)
    assert np.array_equal(cf.read(fake).energy_inc, bundled_points.energy_inc)
    assert np.array_equal(cf.read(fake).direction, inclined.direction)
    caloforge("info", run)
