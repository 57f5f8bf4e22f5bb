"""The tables say what the scores say: which is best, how far from the floor, what was not taken."""

from __future__ import annotations

import dataclasses
import math

import pytest

from caloforge.evaluation.scores import Score, Scores
from caloforge.report.conditions import conditions
from caloforge.report.tables import groups, overview, timing_table


def make(scores, **rows):
    """Scores of (value, error) by "metric__observable" for candidates a, b, c; the floor is 1."""
    values = [
        Score(*row.split("__"), name, *pair, 1.0, 0.1, 500)
        for row, pairs in rows.items()
        for name, pair in zip("abc", pairs, strict=True)
    ]
    sample = scores.reference
    return Scores(tuple(values), sample, dict.fromkeys("abc", sample), scores.provenance)


def cells(scores):
    return {title: row for group in groups(scores) for title, *_, row in group.rows}


def test_of_distances_the_lowest_is_best(scores):
    row = cells(make(scores, wasserstein__occupancy=[(2, 0.1), (1.2, 0.1), (9, 0.1)]))["Occupancy"]
    assert [cell.best for cell in row] == [False, True, False]
    assert [cell.mark for cell in row] == ["far", "floor", "far"]
    assert [cell.note for cell in row] == ["far above, × 2", "× 1.2", "far above, × 9"]


def test_of_what_has_no_direction_the_nearest_to_the_floor_is_best(scores):
    row = cells(make(scores, prdc__density=[(0.5, 0.1), (1.1, 0.1), (1.4, 0.1)]))["Density"]
    assert [cell.best for cell in row] == [False, True, False]
    assert [cell.mark for cell in row] == ["seen", "floor", "seen"]
    assert [cell.note for cell in row] == ["below", "", "above"]
    assert [cell.key for cell in row] == pytest.approx([0.5, 0.1, 0.4])


def test_a_candidate_with_a_floor_of_its_own_has_it_beside_its_value(scores):
    table = make(scores, prdc__density=[(1, 0.1)] * 3)
    shorter = dataclasses.replace(table.values[2], floor=1.2, n_showers=200)
    table = dataclasses.replace(table, values=(*table.values[:2], shorter))
    assert [cell.note for cell in cells(table)["Density"]] == ["", "", "floor 1.20 ± 0.10"]
    assert "1.00 ± 0.10 (floor 1.20 ± 0.10)" in table.to_markdown()


def test_none_is_best_where_all_are_at_the_floor(scores):
    row = cells(make(scores, wasserstein__occupancy=[(1.1, 0.1)] * 3))["Occupancy"]
    assert not any(cell.best for cell in row)


def test_a_candidate_without_a_value_is_never_best_and_the_page_says_why(scores):
    pairs = [(math.nan, math.nan), (2, 0.1), (3, 0.1)]
    table = make(scores, wasserstein__occupancy=pairs)
    first = dataclasses.replace(table.values[0], reason="no voxel has energy")
    table = dataclasses.replace(table, values=(first, *table.values[1:]))
    row = cells(table)["Occupancy"]
    assert [cell.mark for cell in row] == ["unknown", "far", "far"]
    assert [cell.best for cell in row] == [False, True, False]
    assert row[0].text == "no value"
    assert "no voxel has energy" in row[0].hint
    assert [group.reasons for group in groups(table)] == [["a, Occupancy: no voxel has energy"]]
    assert overview(table).rows[0][1:3] == ("0 of 1", "1 without a value")


@pytest.mark.parametrize(
    ("key", "value", "mark", "verdict"),
    [
        ("prdc__precision", 0.5, "far", "far below"),
        ("prdc__precision", 1.5, "far", "far above"),
        ("wasserstein__occupancy", 0.5, "floor", "below"),
        ("wasserstein__occupancy", 1.3, "seen", "above"),
        ("small-shower__jsd", 0.5, "floor", "below"),
        ("wasserstein__occupancy", 1.1, "floor", "at the floor"),
    ],
)
def test_a_verdict_names_the_side_of_the_floor_and_counts_the_bad_one(
    scores, key, value, mark, verdict
):
    """The floor is 1.00 ± 0.05: two spreads are 0.14."""
    found = make(scores, **{key: [(value, 0.05)] * 3})
    score = dataclasses.replace(found.values[0], floor_error=0.05)
    assert (score.mark, score.verdict) == (mark, verdict)


def test_an_auc_below_one_half_is_as_bad_as_one_above():
    for value in (0.35, 0.65):
        score = Score("small-shower", "auc", "a", value, 0.01, 0.5, 0.01, 500)
        assert score.mark == "far"
        assert score.excess == pytest.approx(0.15 / math.hypot(0.01, 0.01))
    assert score.quantity.better == "near 0.5"


def test_draws_that_all_agree_make_any_difference_a_gross_one():
    same = Score("prdc", "precision", "a", 1.0, 0.0, 1.0, 0.0, 500)
    assert (same.mark, same.verdict) == ("floor", "at the floor")
    lower = dataclasses.replace(same, value=0.9)
    assert (lower.mark, lower.verdict) == ("far", "far below")


def test_scores_without_an_error_are_not_judged(scores):
    score = Score("pearson", "mean", "a", 1.0, math.nan, 1.0, math.nan, 500)
    assert (score.mark, score.verdict) == ("unknown", "not known")


def test_the_jsd_is_not_said_to_be_an_auc(scores):
    found = make(scores, **{"small-shower__jsd": [(-0.02, 0.01)] * 3})
    (group,) = groups(found)
    assert "another measure" in group.text
    assert group.rows[0][1] == "lower"


def test_scores_are_shown_with_their_scale(scores):
    table = make(scores, fpd__fpd=[(0.002, 0.001), (0.02, 0.001), (0.2, 0.001)])
    row = cells(table)["Fréchet physics distance × 1000"]
    assert [cell.text for cell in row] == ["2.0 ± 1.0", "20.0 ± 1.0", "200.0 ± 1.0"]


def test_a_protocol_that_the_page_does_not_know_has_its_rows(scores):
    auc = [(0.5, 0.1), (0.8, 0.1), (0.99, 0.1)]
    table = make(scores, somebodys__auc=auc, somebodys__jsd=auc)
    assert set(cells(table)) == {"AUC, somebodys", "JSD, somebodys"}
    assert [column[:2] for column in overview(table).columns] == [("AUC", "somebodys")]


def test_the_overview_shows_the_mean_and_the_worst_mark_of_a_metric(scores):
    table = make(
        scores,
        separation__E_tot=[(1, 0.1), (1, 0.1), (5, 0.1)],
        separation__voxel=[(1, 0.3), (9, 0.3), (1, 0.3)],
    )
    found = overview(table)
    assert found.columns == [("Separation", "mean of 2", "1.00 ± 0.10")]
    (first,), (second,), (third,) = (row[3] for row in found.rows)
    assert [first.text, second.text, third.text] == ["1.00 ± 0.20", "5.00 ± 0.20", "3.00 ± 0.20"]
    assert [cell.mark for cell in (first, second, third)] == ["floor", "far", "far"]
    assert [cell.note for cell in (first, second, third)] == ["2/2", "1/2", "1/2"]
    assert first.best
    assert [row[1] for row in found.rows] == ["2 of 2", "1 of 2", "1 of 2"]
    assert found.rows[1][2] == "Voxel energy spectrum (Separation), far above"


def test_every_candidate_has_a_row_and_every_cell_its_column(twenty):
    found = overview(twenty)
    assert [row[0] for row in found.rows] == list(twenty.candidates)
    assert {len(row[3]) for row in found.rows} == {len(found.columns)}


def test_a_candidate_that_a_metric_was_not_taken_of_has_an_empty_cell(scores):
    whole = make(scores, fpd__fpd=[(1, 0.1)] * 3)
    part = dataclasses.replace(whole, values=whole.values[:2])
    assert [row[3][0].text != "not taken" for row in overview(part).rows] == [True, True, False]


def test_times_stand_by_device_and_batch_size_and_say_why_one_is_missing(timing):
    table = timing_table({"mine": timing})
    assert table.batch_sizes == [1, 10000]
    cpu, gpu = table.rows
    assert cpu[:4] == ("mine", "cpu, threads: 1", "1,234,567", "812 MB")
    assert cpu[4] == [
        ("812.4 ± 3.1", "10 runs of 1,000 showers"),
        ("not timed", "would take an hour"),
    ]
    assert gpu[4][1] == ("not timed", "not timed")
    assert table.notes.pop(0) == "mine, cpu, 10,000 at once: would take an hour."
    assert table.notes == ["Some CPU, 8 cores, 32 GB; Some GPU.", "Mean and spread of ten runs."]


def test_scores_by_condition_stand_beside_those_of_all(scores):
    table = make(scores, wasserstein__occupancy=[(2, 0.1), (1.2, 0.1), (9, 0.1)])
    low, high = (
        [dataclasses.replace(value, value=number, condition=label) for value in table.values]
        for label, number in (("1 to 2 GeV", 1.0), ("2 to 9 GeV", 4.0))
    )
    first, *_ = conditions(dataclasses.replace(table, by_condition=(*low, *high)))
    assert first.heading == ["", "all", "1 to 2 GeV", "2 to 9 GeV"]
    ((title, cells),) = first.rows
    assert "Occupancy" in title
    assert [mark for _, mark in cells] == ["far", "floor", "far"]
    assert cells[2][0] == "4.00 ± 0.10 (1.00 ± 0.10)"


def test_the_worth_has_no_floor_and_its_smallest_is_not_best(scores):
    worths = {"a": (50.0, 40.0, 60.0), "b": (math.inf, 900.0, math.inf), "c": (5.0, 4.9, 5.1)}
    table = make(scores, wasserstein__occupancy=[(1, 0.1)] * 3)
    values = [
        Score("worth", "all", name, value, math.nan, math.inf, 0.0, 500, low=low, high=high)
        for name, (value, low, high) in worths.items()
    ]
    row = cells(dataclasses.replace(table, values=tuple(values)))["Worth in Geant4 showers"]
    assert [cell.text for cell in row] == ["50 +10 −10", "> 900", "5.00 +0.10 −0.10"]
    assert [cell.best for cell in row] == [False, True, False]
    assert [cell.mark for cell in row] == ["far", "floor", "far"]
    assert [cell.note for cell in row] == ["", "", ""]
