"""The first table: one row a candidate, and no column of which nothing is known."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from pathlib import Path

import pytest

import caloforge as cf
from caloforge.evaluation import Score, SmallSampleWarning
from caloforge.evaluation.meanings import CLASSIFIERS, METRICS, meaning
from caloforge.evaluation.quantities import quantity
from caloforge.evaluation.summary import summary, summary_csv, summary_records


@pytest.fixture(scope="module")
def electrons(shared_data):
    return cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:600]


@pytest.fixture(scope="module")
def plain(electrons):
    """Scores without a classifier, a time, or files that know their training."""
    with pytest.warns(SmallSampleWarning):
        return cf.evaluate(
            electrons[:120],
            {"a": electrons[120:180], "b": electrons[180:240]},
            metrics=["separation"],
        )


def columns(scores):
    return {column.key: column for column in summary(scores)}


def auc(metric, candidate, value, floor=0.5):
    return Score(metric, "auc", candidate, value, 0.02, floor, 0.01, 60)


def test_what_is_not_known_has_no_column(plain):
    assert columns(plain) == {}
    assert summary_records(plain) == [{"candidate": "a"}, {"candidate": "b"}]
    assert "summary" not in plain.to_markdown()


def test_each_level_has_the_auc_of_its_first_test_beside_the_floor(plain):
    values = (
        *plain.values,
        *(auc("small-shower", name, value) for name, value in (("a", 0.52), ("b", 0.9))),
        *(auc("small-voxels", name, 0.8) for name in "ab"),
        *(auc("calochallenge-low", name, 0.95) for name in "ab"),
    )
    found = columns(dataclasses.replace(plain, values=values))
    assert list(found) == ["auc_showers", "auc_voxels"]
    assert found["auc_showers"].floor == "0.500 ± 0.010"
    assert [cell.mark for cell in found["auc_showers"].cells.values()] == ["floor", "far"]
    assert found["auc_voxels"].note == CLASSIFIERS["calochallenge-low"].title
    assert found["auc_voxels"].cells["a"].text == "0.950 ± 0.020"


def test_a_candidate_with_a_floor_of_its_own_says_so(plain):
    values = (auc("small-shower", "a", 0.52), auc("small-shower", "b", 0.52, floor=0.6))
    cells = columns(dataclasses.replace(plain, values=values))["auc_showers"].cells
    assert [cell.note for cell in cells.values()] == ["", "floor 0.600 ± 0.010"]


def test_files_say_how_long_a_generator_was_trained_and_on_how_many(plain):
    known = {"n_training_showers": 12_000, "training_minutes": 43.2}
    damaged = {"n_training_showers": "many", "training_minutes": float("inf")}
    candidates = {
        name: dataclasses.replace(sample, origin={**sample.origin, **said})
        for (name, sample), said in zip(plain.candidates.items(), (known, damaged), strict=True)
    }
    found = columns(dataclasses.replace(plain, candidates=candidates))
    assert {key: list(column.cells) for key, column in found.items()} == {
        "training_minutes": ["a"],
        "n_training_showers": ["a"],
    }
    assert found["n_training_showers"].cells["a"].text == "12,000"


def test_the_shortest_time_of_a_shower_is_told_with_its_batch(plain):
    row = {"device": "cpu", "threads": 1, "ms_per_shower_std": 0.1}
    times = ((1, 8.0), (100, 0.5), (10_000, None))
    rows = [{**row, "batch_size": size, "ms_per_shower": time} for size, time in times]
    found = columns(dataclasses.replace(plain, timing={"b": {"rows": rows}}))["ms_per_shower"]
    assert list(found.cells) == ["b"]
    assert (found.cells["b"].text, found.cells["b"].note) == ("0.50 ± 0.10", "cpu, 100 at once")


def test_the_same_table_stands_in_every_form(plain, electrons):
    with pytest.warns(cf.evaluation.EvaluationWarning):
        scores = cf.evaluate(
            electrons[:120], {"a": electrons[120:240]}, training=electrons[240:], metrics=["worth"]
        )
    ((name, worth),) = scores.worths.items()
    found = columns(scores)
    assert found["worth"].cells[name].text == worth.all.text
    assert found["amplification"].cells[name].text == worth.amplification.text
    lines = [line.strip("| ").split(" | ") for line in scores.to_markdown().splitlines()]
    assert lines[0] == ["summary", name]
    assert ["worth (Geant4 showers)", worth.all.text] in lines
    (record,) = json.loads(scores.to_json())["summary"]
    value = worth.all.value
    assert record["worth"] == (value if math.isfinite(value) else None)
    assert record["worth_low"] == pytest.approx(worth.all.low)
    (line,) = csv.DictReader(io.StringIO(summary_csv(scores)))
    assert float(line["worth_low"]) == pytest.approx(worth.all.low)


def test_every_metric_says_what_it_sees_and_has_a_title_of_words():
    for name in cf.evaluation.metric_names():
        known = meaning(name)
        assert known is not None, name
        assert known.sees
        assert known.misses
        assert known.needs
        if name not in METRICS:
            assert quantity(name, "auc").title == f"AUC, {known.title}"
    titles = [known.title for known in (*METRICS.values(), *CLASSIFIERS.values())]
    assert len(set(titles)) == len(titles)
    assert not any(name in title for title in titles for name in CLASSIFIERS)


def test_the_manual_says_the_same_of_every_metric():
    """Its table has a row for each, or for several; that of the permutation tests is in parts."""
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.count(" | ") == 3]
    said = {
        name: tuple(cells) for names, *cells in rows for name in re.findall(r"`([\w-]+)`", names)
    }
    for name in cf.evaluation.metric_names():
        known = meaning(name)
        if name != "permutation":
            assert said[name] == (known.sees, known.misses, known.needs), name
