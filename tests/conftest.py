"""What every test may ask for: real showers, Geant4 with its data, a browser, seeded generators."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read when torch is first imported: one thread each, here and in every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch

    from caloforge.showers import PointShowers, VoxelShowers

SHARED = Path(__file__).parents[2] / "shared"
MARKER_OF_FIXTURE = {"geant4_data": "geant4", "chromium": "browser", "accelerator": "gpu"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the tests of an accelerator compute: try them without one by `--device cpu`."""
    parser.addoption("--device", default="cuda", help="of the tests marked gpu (default: cuda)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by what it asks for, so that `-m "not geant4"` finds them all."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKER_OF_FIXTURE:
                item.add_marker(MARKER_OF_FIXTURE[fixture])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In continuous integration, where Geant4's data are at hand, its tests may not be skipped."""
    report = yield
    may_not_skip = item.get_closest_marker("geant4") and _everything_is_at_hand()
    if report.skipped and not hasattr(report, "wasxfail") and may_not_skip:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped here: {report.longreprtext}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Nor may a whole file that lacks a module."""
    report = yield
    if report.skipped and _everything_is_at_hand():
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} may not be skipped here: {report.longreprtext}"
    return report


def _everything_is_at_hand() -> bool:
    return bool(os.environ.get("CI")) and SHARED.is_dir()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the Geant4 showers that lie beside the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the Geant4 showers of {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder of published detector tables that lie beside the repository."""
    folder = SHARED / "reference"
    if not folder.is_dir():
        pytest.skip(f"needs the detector tables of {folder}")
    return folder


@pytest.fixture(scope="session")
def geant4_data() -> Iterator[Path]:
    """The folder of Geant4's data, which GEANT4_DATA_DIR names from here on."""
    if importlib.util.find_spec("calzone") is None:
        pytest.skip("needs Geant4: pip install 'caloforge[geant4]'")
    from caloforge.simulation import geant4

    with pytest.MonkeyPatch.context() as patch:
        if "GEANT4_DATA_DIR" not in os.environ and (SHARED / "geant4-data").is_dir():
            patch.setenv("GEANT4_DATA_DIR", str(SHARED / "geant4-data"))
        try:
            folder = geant4.geant4_data()
        except FileNotFoundError as error:
            pytest.skip(str(error))
        patch.setenv("GEANT4_DATA_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def bundled() -> VoxelShowers:
    """The Geant4 showers that the package brings along."""
    from caloforge import samples

    return samples.load()


@pytest.fixture(scope="session")
def bundled_points() -> PointShowers:
    """The Geant4 point clouds that the package brings along."""
    from caloforge import samples

    return samples.load_points()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium that renders pages without a screen."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("needs the browser Chromium (Debian, Ubuntu: apt-get install chromium)")


@pytest.fixture(scope="session")
def accelerator(request: pytest.FixtureRequest) -> str:
    """The device of `--device`, if it is there."""
    import torch

    device: str = request.config.getoption("--device")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs an accelerator, or --device cpu to try its tests without one")
    return device


@pytest.fixture
def rng() -> np.random.Generator:
    """numpy's random numbers, the same in every run."""
    return np.random.default_rng(1)


@pytest.fixture
def generator() -> torch.Generator:
    """torch's random numbers, the same in every run."""
    import torch

    return torch.Generator().manual_seed(1)


@pytest.fixture(scope="session")
def slab(bundled: VoxelShowers) -> VoxelShowers:
    """400 bundled showers in four layers around their maximum, so that a system has few stages."""
    import dataclasses

    from caloforge.showers import VoxelShowers

    whole, layers = bundled.geometry, slice(9, 13)
    geometry = dataclasses.replace(
        whole,
        name="slab",
        layers=whole.layers[layers],
        z=whole.z[layers],
        layer_ids=whole.layer_ids[layers],
    )
    showers = bundled[:400]
    return VoxelShowers.from_dense(
        dense=showers.dense()[:, layers], geometry=geometry, **showers.of_particles()
    )


@pytest.fixture(scope="session")
def small() -> dict[str, object]:
    """Settings that make l2lflows/tiny train in a second a stage."""
    return {
        "energies.blocks": 2,
        "energies.hidden": 12,
        "energies.recipe.epochs": 2,
        "energies.recipe.batch_size": 64,
        "layers.channels": (4, 6),
        "layers.blocks": 2,
        "layers.bins": 4,
        "layers.embedding_channels": 2,
        "layers.warm_start": False,
        "layers.recipe.epochs": 2,
        "layers.recipe.batch_size": 64,
    }


@pytest.fixture(scope="session")
def run(
    slab: VoxelShowers, small: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of a system trained on `slab` with seed 4; copy it to change it."""
    import caloforge as cf

    folder = tmp_path_factory.mktemp("runs") / "slab"
    system = cf.build("l2lflows/tiny", slab.geometry, seed=4, overrides=small)
    cf.train(system, slab, run=folder, seed=4)
    return folder


@pytest.fixture(scope="session")
def small_supercalo() -> dict[str, object]:
    """Settings that make supercalo/tiny train in a second a stage."""
    return {
        "energies.blocks": 2,
        "energies.hidden": 12,
        "energies.recipe.epochs": 2,
        "energies.recipe.batch_size": 64,
        "coarse.blocks": 2,
        "coarse.hidden": 8,
        "coarse.recipe.epochs": 2,
        "upsample.blocks": 2,
        "upsample.hidden": 12,
        "upsample.recipe.epochs": 1,
    }


@pytest.fixture(scope="session")
def supercalo_run(
    bundled: VoxelShowers,
    small_supercalo: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of a SuperCalo trained on 200 bundled showers with seed 4; copy it to change
    it."""
    import caloforge as cf

    folder = tmp_path_factory.mktemp("runs") / "supercalo"
    system = cf.build("supercalo/tiny", bundled.geometry, seed=4, overrides=small_supercalo)
    cf.train(system, bundled[:200], run=folder, seed=4)
    return folder


@pytest.fixture(scope="session")
def small_calodream() -> dict[str, object]:
    """Settings that make calodream/tiny train in a second a stage, with all that it may have."""
    recipe = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}
    training = {"iterations": 20, "patience": 20}
    return {
        "energies.recipe.epochs": 2,
        "energies.feed_forward": 16,
        "energies.hidden": 16,
        "energies.solver": "midpoint-2",
        "shape.recipe.epochs": 2,
        "shape.dim": 12,
        "shape.hidden": 16,
        "shape.blocks": 1,
        "shape.solver": "midpoint-2",
        "solvers": [
            {"steps": 2, "showers": 8, "batch_size": 4, "reference_steps": 4, "training": training}
        ],
        "distillation": {
            "recipe": recipe,
            "steps": 2,
            "solver": "euler-2",
            "ending": "drawn",
        },
        "spectrum": {"showers": 8, "bins": 4, "rescale": True},
    }


@pytest.fixture(scope="session")
def calodream_run(
    bundled: VoxelShowers,
    small_calodream: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of a CaloDREAM trained on 200 bundled showers with seed 4; copy it to change
    it."""
    import caloforge as cf

    folder = tmp_path_factory.mktemp("runs") / "calodream"
    system = cf.build("calodream/tiny", bundled.geometry, seed=4, overrides=small_calodream)
    cf.train(system, bundled[:200], run=folder, seed=4)
    return folder


@pytest.fixture(scope="session")
def small_caloclouds() -> dict[str, object]:
    """Settings that make caloclouds/tiny train in a second a stage."""
    return {
        "shower.recipe.epochs": 2,
        "shower.recipe.batch_size": 18,
        "latent.recipe.epochs": 2,
        "latent.recipe.batch_size": 18,
        "points.recipe.epochs": 2,
        "points.recipe.batch_size": 18,
        "points.max_points": 32,
        "points.solver": "heun-3",
        "calibration": {"showers": 20},
    }


@pytest.fixture(scope="session")
def caloclouds_run(
    bundled_points: PointShowers,
    small_caloclouds: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of a CaloClouds trained on the bundled clouds with seed 4; copy it to change
    it."""
    import caloforge as cf

    folder = tmp_path_factory.mktemp("runs") / "caloclouds"
    geometry = bundled_points.geometry
    system = cf.build("caloclouds/tiny", geometry, seed=4, overrides=small_caloclouds)
    cf.train(system, bundled_points, run=folder, seed=4)
    return folder


@pytest.fixture(scope="session")
def small_quilt() -> dict[str, object]:
    """Settings that make quilt/small train in seconds."""
    return {
        "scores.recipe.epochs": 2,
        "scores.recipe.batch_size": 64,
        "scores.blocks": 2,
        "scores.hidden": 12,
        "scores.copula.sweeps": 2,
    }


@pytest.fixture(scope="session")
def quilt_run(
    bundled: VoxelShowers,
    small_quilt: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of a Quilt of 200 bundled showers with seed 4; copy it to change it."""
    import caloforge as cf

    folder = tmp_path_factory.mktemp("runs") / "quilt"
    system = cf.build("quilt/small", bundled.geometry, seed=4, overrides=small_quilt)
    cf.train(system, bundled[:200], run=folder, seed=4)
    return folder


@pytest.fixture
def installed(quilt_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As if a package with one model, `electrons-mine-quilt`, had been installed: its folder."""
    from importlib.metadata import EntryPoint

    from caloforge.training import models

    home = tmp_path / "mine"
    shutil.copytree(quilt_run, home / "electrons-mine-quilt")
    (home / "__init__.py").touch()
    (home / "index.json").write_text('{"electrons-mine": "electrons-mine-quilt"}')
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("mine", "mine", models.GROUP)
    monkeypatch.setattr(models, "entry_points", lambda group: [entry])
    models._shipped.cache_clear()
    yield home
    models._shipped.cache_clear()
    sys.modules.pop("mine", None)


@pytest.fixture(scope="session")
def none() -> dict[str, object]:
    """The settings of a system that needs none to be quick."""
    return {}


def _with_scores(small: str) -> Any:
    """The settings of a small system with the energy stages of Quilt in place of its own."""

    @pytest.fixture(scope="session")
    def settings(
        request: pytest.FixtureRequest, small_quilt: dict[str, object]
    ) -> dict[str, object]:
        settings = request.getfixturevalue(small)
        others = {name: s for name, s in settings.items() if not name.startswith("energies.")}
        scores = {name.replace("scores.", "energies."): s for name, s in small_quilt.items()}
        return {**others, **scores, "energies": "quantile-flow"}

    return settings


small_scores = _with_scores("small")
small_calodream_scores = _with_scores("small_calodream")
small_supercalo_scores = _with_scores("small_supercalo")


def _run_of(preset: str, sample: str, small: str = "none") -> Any:
    """The run folder of a preset that is trained in seconds; copy it to change it."""

    @pytest.fixture(scope="session")
    def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
        import caloforge as cf

        showers = request.getfixturevalue(sample)[:200]
        folder = tmp_path_factory.mktemp("runs") / preset.replace("/", "-")
        settings = request.getfixturevalue(small)
        system = cf.build(preset, showers.geometry, seed=4, overrides=settings)
        cf.train(system, showers, run=folder, seed=4)
        return folder

    return run


l2lflows_scores_run = _run_of("l2lflows/tiny", "slab", "small_scores")
calodream_scores_run = _run_of("calodream/tiny", "bundled", "small_calodream_scores")
supercalo_scores_run = _run_of("supercalo/tiny", "bundled", "small_supercalo_scores")
library_run = _run_of("library", "bundled")
layers_run = _run_of("library/layers", "bundled")
layers_points_run = _run_of("library/layers-points", "bundled_points")
parametric_run = _run_of("parametric", "bundled")
parametric_points_run = _run_of("parametric/points", "bundled_points")
binned_run = _run_of("parametric/binned", "bundled")
binned_points_run = _run_of("parametric/binned-points", "bundled_points")
quilt_directed_run = _run_of("quilt/directed", "bundled")
quilt_points_run = _run_of("quilt/copula-points", "bundled_points")
