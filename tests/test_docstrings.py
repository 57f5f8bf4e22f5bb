"""Every example of a docstring runs, in an empty folder with small files and runs in it."""

from __future__ import annotations

import doctest
import importlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caloforge as cf
from caloforge import samples
from caloforge.geometry import Coarsening
from caloforge.showers import PointShowers, VoxelShowers

SOURCE = Path(cf.__file__).parent
# What needs more than the package.
NEEDS = {"caloforge.simulation.production.simulate": "geant4_data"}
RUNS = {
    "runs/supercalo": "fine_run",
    "runs/coarse": "coarse_run",
    "runs/directed": "directed_run",
    "runs/quilt": "quilt_run",
}


def examples() -> Iterator[doctest.DocTest]:
    """The examples of each docstring of the package."""
    finder = doctest.DocTestFinder()
    for path in sorted(SOURCE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(SOURCE.parent).with_suffix("").parts
            module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
            yield from (found for found in finder.find(module) if found.examples)


EXAMPLES = {found.name: found for found in examples()}


@pytest.fixture(scope="module")
def coarse_run(bundled: VoxelShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a library of coarse showers."""
    folder = tmp_path_factory.mktemp("runs") / "coarse"
    showers = bundled[:200].coarsen(Coarsening(bundled.geometry, (5, 2, 1)))
    cf.train(cf.build("library", showers.geometry, seed=4), showers, run=folder, seed=4)
    return folder


@pytest.fixture(scope="module")
def fine_run(
    bundled: VoxelShowers,
    small_supercalo: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The run folder of a SuperCalo that needs nothing but coarse showers."""
    folder = tmp_path_factory.mktemp("runs") / "supercalo"
    settings = {**small_supercalo, "upsample.layer_energies": "coarse"}
    system = cf.build("supercalo/tiny", bundled.geometry, seed=4, overrides=settings)
    cf.train(system, bundled[:200], run=folder, seed=4)
    return folder


@pytest.fixture(scope="module")
def directed_run(bundled_points: PointShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a library of clouds, which reads directions."""
    folder = tmp_path_factory.mktemp("runs") / "directed"
    system = cf.build("library/points", bundled_points.geometry, seed=4)
    cf.train(system, bundled_points, run=folder, seed=4)
    return folder


@pytest.fixture
def here(
    bundled: VoxelShowers, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A folder with files and a run, which the examples begin in, and what they call by name."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/l2l").symlink_to(run)
    Path("showers.h5").symlink_to(samples.path())
    Path("points.h5").symlink_to(samples.points_path())
    return {"cf": cf, "np": np, "showers": bundled[:50], "energies": np.array([1e4, 5e4])}


@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(
    name: str, here: dict[str, Any], bundled_points: PointShowers, request: pytest.FixtureRequest
) -> None:
    found = EXAMPLES[name]
    text = found.docstring or ""
    if name in NEEDS:
        request.getfixturevalue(NEEDS[name])
    if "points" in text:
        here["points"] = bundled_points[:5]
    for run, fixture in RUNS.items():
        if run in text:
            Path(run).symlink_to(request.getfixturevalue(fixture))
    found = doctest.DocTest(
        found.examples, {**found.globs, **here}, name, found.filename, found.lineno, text
    )
    report = io.StringIO()
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=report.write)
    assert not failed, report.getvalue()


def test_the_verbs_have_examples() -> None:
    verbs = ("read", "simulate", "train", "generate", "upsample", "evaluate", "write")
    for verb in verbs:
        public = getattr(cf, verb)
        assert f"{public.__module__}.{public.__qualname__}" in EXAMPLES, verb
