"""A model is found by its name wherever a run folder is taken, and is one."""

from __future__ import annotations

import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import caloforge as cf
from caloforge.training import best_models, find_run, model_folders, models


def test_a_model_is_loaded_by_its_full_name_and_as_the_best_one(
    installed: Path, quilt_run: Path
) -> None:
    assert model_folders() == {"electrons-mine-quilt": installed / "electrons-mine-quilt"}
    assert best_models() == {"electrons-mine": "electrons-mine-quilt"}
    expected = cf.load(quilt_run).generate([5e3, 5e4], seed=1).dense()
    for name in ("electrons-mine", "electrons-mine-quilt"):
        np.testing.assert_array_equal(cf.load(name).generate([5e3, 5e4], seed=1).dense(), expected)


def test_a_run_folder_goes_before_a_model_of_its_name_and_another_folder_does_not(
    installed: Path, quilt_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("electrons-mine").mkdir()
    assert find_run("electrons-mine") == installed / "electrons-mine-quilt"
    shutil.copytree(quilt_run, "electrons-mine", dirs_exist_ok=True)
    assert find_run("electrons-mine") == Path("electrons-mine")


def test_an_unknown_name_is_told_what_is_near(installed: Path) -> None:
    with pytest.raises(ValueError, match="'electrons-mine-quilt'") as caught:
        cf.load("electrons-mine-qilt")
    assert "`caloforge models`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_models_it_is_said_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_shipped", lambda: ({}, {}))
    with pytest.raises(ValueError, match=r"pip install 'caloforge\[models\]'"):
        find_run("electrons-calochallenge-2")


def test_two_packages_may_not_have_one_name(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("mine", "mine", models.GROUP)
    monkeypatch.setattr(models, "entry_points", lambda group: [entry, entry])
    models._shipped.cache_clear()
    with pytest.raises(ValueError, match="two packages hold models called electrons-mine, "):
        model_folders()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"electrons-mine": "electrons-mine-flow"}', "names electrons-mine-flow, of which"),
        ('["electrons-mine-quilt"]', "expected names of models"),
        ("{", "expected names of models"),
        (None, "expected names of models"),
    ],
)
def test_an_index_that_does_not_fit_its_package_is_named(
    installed: Path, index: str | None, message: str
) -> None:
    place = installed / "index.json"
    if index is None:
        place.unlink()
    else:
        place.write_text(index)
    with pytest.raises(ValueError, match=message) as caught:
        model_folders()
    assert str(place) in str(caught.value)
