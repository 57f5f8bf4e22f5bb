"""How objects are shown in a terminal and a notebook, and as tables of other libraries."""

from __future__ import annotations

import io
import re
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import awkward
import numpy as np
import pytest
import torch
from PIL import Image

import caloforge as cf
from caloforge import samples
from caloforge.evaluation import observable_columns, to_dataframe
from caloforge.showers import PointShowers, Showers, VoxelShowers, to_awkward
from caloforge.training import RunFolder


@pytest.fixture(params=["bundled", "bundled_points"])
def showers(request: pytest.FixtureRequest) -> Showers:
    kept: Showers = request.getfixturevalue(request.param)
    return kept[:3]


# ---------------------------------------------------------------- systems and run folders


def test_a_system_says_what_it_is() -> None:
    with torch.device("meta"):
        system = cf.build("l2lflows/small", "calochallenge-2")
    text = repr(system)
    total = sum(system.n_parameters.values())
    assert text.startswith(f"L2LFlows(l2lflows/small for calochallenge-2; {total:,} parameters: ")
    of_layers = total - system.n_parameters["energies"]
    assert f"layer_00 … layer_44 {of_layers:,}" in text
    assert text.endswith("; untrained)")


def test_a_trained_system_says_on_what(run: Path) -> None:
    system = cf.load(run)
    assert system.trained is not None
    assert f"trained on {system.trained.n_showers} showers, {system.trained}" in repr(system)
    html = system._repr_html_()
    assert html.count("<tr>") == 1 + 2 + 1  # heading, energies and layers, total
    assert f"<td style='text-align:right'>{sum(system.n_parameters.values()):,}</td>" in html
    assert repr(RunFolder(run)) == f"RunFolder({str(run)!r}: l2lflows for slab, 5 stages trained)"
    assert "no run was begun" in repr(RunFolder(run / "stages"))


def test_a_geometry_and_a_file_say_what_they_are() -> None:
    with cf.open_showers(samples.path()) as file:
        assert repr(file.geometry) == "Geometry('calochallenge-2': 6,480 voxels in 45 layers)"
        assert repr(file).endswith(".h5': 3000 of calochallenge-2)")


# ---------------------------------------------------------------- showers


def test_showers_are_pictures_in_a_notebook(showers: Showers) -> None:
    html = showers._repr_html_()
    data = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert data
    picture = np.asarray(Image.open(io.BytesIO(b64decode(data[1]))).convert("RGB"))
    assert picture.std() > 10  # something is drawn
    assert type(showers).__name__ in html


def test_a_shower_without_energy_is_drawn_too(bundled: VoxelShowers) -> None:
    empty = bundled[:2].above(1e9)
    assert "<img" in empty._repr_html_()
    assert "<img" not in bundled[:0]._repr_html_()
    with pytest.raises(ValueError, match="one shower or more to draw"):
        cf.draw_showers(bundled, n=0)


def test_without_matplotlib_showers_are_text(
    bundled: VoxelShowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("caloforge.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert bundled[:1]._repr_html_() == (
        f"<p>VoxelShowers(1 showers of calochallenge-2, {len(bundled[:1].energy)} voxels with "
        "energy)</p>"
    )


# ---------------------------------------------------------------- scores


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
def test_scores_are_a_table(bundled: VoxelShowers) -> None:
    scores = cf.evaluate(bundled[:20], {"a <b>": bundled[20:40]}, metrics=["separation"])
    assert repr(scores) == (
        f"Scores(a <b> beside Geant4 in calochallenge-2; {len(scores.values)} values of separation)"
    )
    html = scores._repr_html_()
    assert html.count("<tr>") == 1 + len(scores.rows())
    assert "<th>a &lt;b&gt;</th>" in html


# ---------------------------------------------------------------- other libraries' tables


def test_awkward_holds_the_same_hits(showers: Showers) -> None:
    array = to_awkward(showers)
    assert awkward.num(array.hits.energy).tolist() == np.diff(showers.offset).tolist()
    assert np.array_equal(awkward.flatten(array.hits.energy), showers.energy)
    assert np.array_equal(array.energy_inc, showers.energy_inc)
    layers = awkward.to_numpy(awkward.sum(array.hits.energy, axis=1))
    np.testing.assert_allclose(layers, showers.total_energy(), rtol=1e-5)


def test_observables_are_columns_of_one_number_a_shower(showers: Showers) -> None:
    columns = observable_columns(showers)
    assert all(values.shape == (len(showers),) for values in columns.values())
    name = "layer_energies" if isinstance(showers, PointShowers) else "E_layer"
    layers = [columns[f"{name}_{i}"] for i in range(showers.geometry.n_layers)]
    np.testing.assert_allclose(np.sum(layers, axis=0), showers.total_energy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("convert", "library"),
    [(to_awkward, "awkward"), (to_dataframe, "pandas")],
)
def test_a_library_that_is_missing_is_named(
    convert: Any, library: str, bundled: VoxelShowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"pip install {library}"):
        convert(bundled[:2])
