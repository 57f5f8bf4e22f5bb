"""The published table stands beside the candidates, and says what may be compared."""

from __future__ import annotations

import csv

import pytest

from caloforge.evaluation import Score, leaderboard
from caloforge.evaluation.leaderboard import published_table
from caloforge.geometry import geometry_preset


def score(metric, observable, candidate, value, floor=0.0, *, comparable=False):
    return Score(metric, observable, candidate, value, 0.0, floor, 0.0, 100, comparable)


@pytest.mark.parametrize(
    ("geometry", "name"),
    [
        ("calochallenge-1-photons", "ds1_photons"),
        ("calochallenge-1-pions", "ds1_pions"),
        ("calochallenge-2", "ds2"),
        ("calochallenge-3", "ds3"),
    ],
)
def test_the_table_is_the_published_one(geometry, name, shared_reference):
    path = shared_reference / "leaderboard" / f"leaderboard_{name}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = leaderboard(geometry)
    assert list(table) == [row["submission"] for row in rows]
    for row in rows:
        for column, text in row.items():
            if column != "submission":
                assert table[row["submission"]].get(column) == (float(text) if text else None)


def test_candidates_stand_on_top_in_the_units_of_the_table():
    scores = [
        score("fpd", "fpd", "mine", 0.02, 0.0108),
        score("prdc", "density", "mine", 0.9, 1.0, comparable=True),
        score("wasserstein", "occupancy", "mine", 0.1),  # not in the table
    ]
    table = published_table(geometry_preset("calochallenge-2"), scores, ["mine"])
    assert table.columns == (("Fréchet physics distance × 1000", False), ("Density", True))
    assert [(row.name, row.kind) for row in table.rows[:3]] == [
        ("mine", "candidate"),
        ("floor", "floor"),
        ("GEANT4", "published"),
    ]
    assert table.rows[0].values == pytest.approx((20, 0.9))
    assert table.rows[1].values == pytest.approx((10.8, 1.0))
    assert table.rows[2].values == pytest.approx((10.776, 1.021042))
    assert len(table.rows) == 2 + len(leaderboard("calochallenge-2"))


def test_other_geometries_have_no_table():
    assert leaderboard("ild-30") == {}
    scores = [score("fpd", "fpd", "mine", 0.02)]
    assert published_table(geometry_preset("ild-30"), scores, ["mine"]) is None
    assert published_table(geometry_preset("calochallenge-2"), [], ["mine"]) is None
