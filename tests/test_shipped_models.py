"""Every model that comes with caloforge generates what it should."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import caloforge as cf
from caloforge import samples
from caloforge.checking import check
from caloforge.showers import fingerprint
from caloforge.training import RunFolder, best_models, model_folders

shipped = pytest.importorskip(
    "caloforge_models", reason="needs pip install --editable packages/caloforge-models"
)
FOLDER = Path(shipped.__file__).parent
MODELS = {name: folder for name, folder in model_folders().items() if folder.parent == FOLDER}
LARGEST = 6e6  # bytes
EACH = pytest.mark.parametrize("name", MODELS)


def test_the_package_is_found_whole() -> None:
    assert MODELS
    assert MODELS.keys() == {path.parent.name for path in FOLDER.glob("*/config.yaml")}
    assert best_models()["electrons-calochallenge-2"] in MODELS


@EACH
def test_a_model_passes_its_check(name: str) -> None:
    assert check(name).failed == {}


@EACH
def test_a_model_is_called_by_what_it_is_for(name: str) -> None:
    """Particles, geometry and system, as its own configuration has them."""
    run = RunFolder(MODELS[name])
    config = run.config()
    place, system = config["geometry"]["name"], config["system"]
    assert re.fullmatch(rf"[a-z]+-{place}-{system}(-[a-z0-9]+)?", name)
    assert run.trained_range() is not None
    assert run.usual_particle().pdg != 0


@EACH
def test_a_model_is_small_and_knows_no_folder_of_its_maker(name: str) -> None:
    """Pictures of its card aside."""
    files = [path for path in MODELS[name].rglob("*") if path.is_file() and path.suffix != ".png"]
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert "/" not in RunFolder(MODELS[name]).config()["data"]["showers"]


@EACH
def test_no_model_learned_from_the_showers_to_compare_with(name: str) -> None:
    """So its page in the demo is of a reference that it has not seen."""
    learned = RunFolder(MODELS[name]).config()["data"]["fingerprint"]
    assert learned not in {fingerprint(samples.load(part)) for part in ("test", "all")}


@pytest.mark.parametrize("name", best_models())
def test_showers_take_one_line(name: str) -> None:
    showers = cf.load(name).generate([1.1e4, 5e4], seed=1)
    assert (showers.total_energy() > 0).all()
    np.testing.assert_array_equal(showers.energy_inc, [1.1e4, 5e4])
