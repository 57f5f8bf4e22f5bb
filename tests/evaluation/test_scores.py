"""Scores as numbers, JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys

import pytest

import caloforge as cf
from caloforge.evaluation import Score
from caloforge.evaluation.digits import format_value


@pytest.fixture(scope="module")
def scores(shared_data):
    showers = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")
    with pytest.warns(cf.evaluation.SmallSampleWarning):
        return cf.evaluate(
            showers[:200],
            {"one": showers[200:400], "energy": showers[400:600]},
            metrics=("separation", "wasserstein"),
            seed=3,
        )


def test_the_json_holds_every_score_and_how_it_came_about(scores, tmp_path):
    scores.save_json(tmp_path / "scores.json")
    record = json.loads((tmp_path / "scores.json").read_text())
    assert len(record["scores"]) == len(scores.values)
    for entry, value in zip(record["scores"], scores.values, strict=True):
        assert entry["value"] == value.value
        assert entry["floor"] == value.floor
    assert record["provenance"]["seed"] == 3
    assert record["provenance"]["threshold_MeV"] == scores.reference.geometry.threshold
    assert record["provenance"]["caloforge"] == cf.__version__


def test_a_score_that_could_not_be_taken_is_null_in_json(scores):
    unknown = dataclasses.replace(scores.values[0], value=float("nan"), layers=(0.5, float("nan")))
    record = json.loads(dataclasses.replace(scores, values=(unknown,)).to_json())
    assert record["scores"][0]["value"] is None
    assert record["scores"][0]["layers"] == [0.5, None]


def test_a_score_is_read_as_it_was_written(scores):
    far = dataclasses.replace(  # out of sight, as a worth may be
        scores.values[0],
        metric="worth",
        observable="all",
        value=float("inf"),
        error=float("nan"),
        floor=float("inf"),
        floor_error=0.0,
        low=91.0,
        high=float("inf"),
        layers=(0.5, float("nan")),
    )
    for score in (*scores.values, far):
        again = Score.from_dict(json.loads(json.dumps(score.to_dict())))
        assert repr(again) == repr(score)  # NaN is not equal to itself
        assert (again.text(), again.mark) == (score.text(), score.mark)


@pytest.mark.parametrize("change", [{"value": "high"}, {"layers": 3}, {"n_showers": None}])
def test_what_is_no_score_is_refused(scores, change):
    with pytest.raises(ValueError, match="expected a score, got"):
        Score.from_dict({**scores.values[0].to_dict(), **change})


def test_the_markdown_table_has_a_row_a_score_and_a_column_a_candidate(scores):
    lines = scores.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|") and "---" not in line]
    assert len(rows) == len(scores.rows()) + 2
    assert all(row.count("|") == 6 for row in rows)
    ratio = scores["wasserstein", "energy_ratio", "energy"]
    assert format_value(ratio.value, ratio.error) in scores.to_markdown()


def test_an_unknown_score_is_refused(scores):
    with pytest.raises(KeyError, match="expected \\(metric, observable, candidate\\)"):
        scores["separation", "E_tot", "nobody"]


def test_without_the_libraries_of_the_page_the_error_names_the_extra(scores, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("caloforge.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install caloforge\[report\]"):
        scores.save_page(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_the_csv_has_a_line_for_every_value_and_every_layer(scores):
    lines = list(csv.DictReader(io.StringIO(scores.to_csv())))
    assert len(lines) == len(scores.values) + sum(len(value.layers) for value in scores.values)
    for value in scores.values:
        mine = [
            line
            for line in lines
            if (line["metric"], line["observable"], line["candidate"])
            == (value.metric, value.observable, value.candidate)
        ]
        assert float(mine[0]["value"]) == value.value
        assert float(mine[0]["floor_error"]) == value.floor_error
        assert [float(line["value"]) for line in mine[1:]] == list(value.layers)
        assert [line["layer"] for line in mine] == ["", *map(str, range(len(value.layers)))]


def test_where_both_sides_of_the_floor_are_bad_the_distance_counts_on_both():
    def score(metric, observable, value):
        return Score(metric, observable, "a", value, 0.3, 1.0, 0.4, 100)

    assert score("prdc", "density", 0.5).excess == pytest.approx(1)
    assert score("prdc", "density", 1.5).excess == pytest.approx(1)
    assert score("separation", "E_tot", 0.5).excess == pytest.approx(-1)


def test_values_are_shown_in_the_units_of_the_published_tables():
    score = Score("fpd", "fpd", "a", 0.0123, 0.0004, 0.0108, 0.0008, 100)
    assert score.title == "Fréchet physics distance × 1000"
    assert score.text() == "12.30 ± 0.40"
    assert score.text(of_floor=True) == "10.80 ± 0.80"


def test_the_published_table_follows_with_brackets_around_what_cannot_be_compared(scores):
    text = scores.to_markdown(published=True)
    assert "other data" in text
    assert "| CaloDREAM |" in text
    mine = next(line for line in text.splitlines() if line.startswith("| **one** |"))
    assert mine.count("(") == len(scores.published().columns) == 10
    assert "CaloDREAM" not in scores.to_markdown()


def test_timing_stands_in_the_table(scores):
    record = {
        "hardware": {"cpu": "a CPU", "gpu": "a GPU"},
        "rows": [
            {
                "device": "cpu",
                "threads": 1,
                "batch_size": 10,
                "ms_per_shower": 12.3,
                "ms_per_shower_std": 0.4,
            },
            {
                "device": "cuda",
                "batch_size": 10_000,
                "ms_per_shower": None,
                "ms_per_shower_std": None,
            },
        ],
    }
    text = dataclasses.replace(scores, timing={"one": record}).to_markdown()
    assert "| one | cpu, 1 threads | 10 | 12.30 ± 0.40 | a CPU |" in text
    assert "| one | cuda | 10000 | not timed | a GPU |" in text


def test_everything_is_saved_into_a_folder(scores, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        cf.evaluation.Scores,
        "save_page",
        lambda self, path, *, figures: (path.touch(), drawn.extend(figures)),
    )
    scores.save(tmp_path / "new" / "eval", figures=["pdf"])
    assert drawn == ["pdf"]
    names = {path.name for path in (tmp_path / "new" / "eval").iterdir()}
    assert names == {"summary.csv", "scores.json", "scores.csv", "scores.md", "report.html"}
