"""One row for each candidate: the main results."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caloforge.evaluation.digits import MISSING, format_number, format_value
from caloforge.evaluation.meanings import CLASSIFIERS, Level
from caloforge.evaluation.quantities import quantity
from caloforge.evaluation.score import Mark, Score

if TYPE_CHECKING:
    from caloforge.evaluation.conditions import Cell
    from caloforge.evaluation.scores import Scores
    from caloforge.evaluation.worth import Estimate

__all__ = ["SummaryCell", "SummaryColumn", "summary", "summary_csv", "summary_records"]

LEVELS: dict[Level, str] = {
    "showers": "showers",
    "layers": "layers",
    "voxels": "voxels",
}


@dataclass(frozen=True)
class SummaryCell:
    """What is known about a candidate in one column.

    Args:
        text: as it is shown.
        values: by name, for machines.
        note: a few words in small print.
        mark: how far off its floor it is, "unknown" where there is none.
    """

    text: str
    values: Mapping[str, Any]
    note: str = ""
    mark: Mark = "unknown"


@dataclass(frozen=True)
class SummaryColumn:
    """One column: its heading, the floor, and a cell for each candidate of which it is known.

    Args:
        key: its name for machines.
        title: its heading.
        note: second line of the heading.
        floor: of the first candidate, empty where there is none.
        cells: by candidate.
    """

    key: str
    title: str
    note: str
    floor: str
    cells: Mapping[str, SummaryCell]


def summary(scores: Scores) -> list[SummaryColumn]:
    """The columns that have a value for at least one candidate, in order."""
    made = (
        *_worths(scores),
        _copies(scores),
        *_classifiers(scores),
        _time(scores),
        *_training(scores),
    )
    return [column for column in made if column.cells]


def _worths(scores: Scores) -> Iterator[SummaryColumn]:
    """How many Geant4 showers a candidate replaces, over its training showers, and at the worst."""
    marks = {
        (score.observable, score.candidate): score.mark
        for score in scores.values
        if score.metric == "worth"
    }
    for key, title, observable in (
        ("worth", "worth", "all"),
        ("amplification", "amplification", "amplification"),
    ):
        known = {
            name: worth.all if observable == "all" else worth.amplification
            for name, worth in scores.worths.items()
        }
        cells = {
            name: _estimated(estimate, marks.get((observable, name), "unknown"))
            for name, estimate in known.items()
            if estimate is not None
        }
        note = "Geant4 showers" if observable == "all" else "worth / training showers"
        yield SummaryColumn(key, title, note, "", cells)
    worst = {name: found for name, worth in scores.worths.items() if (found := worth.worst)}
    yield SummaryColumn(
        "worst",
        "worst observable",
        "its worth",
        "",
        {name: _worst(*found) for name, found in worst.items()},
    )


def _estimated(estimate: Estimate, mark: Mark) -> SummaryCell:
    values = {"": estimate.value, "low": estimate.low, "high": estimate.high}
    return SummaryCell(estimate.text, values, mark=mark)


def _worst(observable: str, cell: Cell, estimate: Estimate) -> SummaryCell:
    title = quantity("worth", observable).title.removeprefix("Worth, ")
    where = f"{title}, {cell.label}" if cell.label else title
    values = {"": estimate.value, "observable": observable, "condition": cell.label}
    return SummaryCell(estimate.text, values, where)


def _copies(scores: Scores) -> SummaryColumn:
    """Fraction of the generated showers that are training showers."""
    found = {
        score.candidate: score
        for score in scores.values
        if (score.metric, score.observable) == ("copies", "exact")
    }
    return _of_scores("copies", "copies", "share, of training showers", found)


def _classifiers(scores: Scores) -> Iterator[SummaryColumn]:
    """AUC of the first classifier test that was taken of showers, of layers and of voxels."""
    found = {
        (score.metric, score.candidate): score
        for score in scores.values
        if score.observable == "auc"
    }
    for level, title in LEVELS.items():
        taken = [
            name
            for name, known in CLASSIFIERS.items()
            if known.level == level and any(metric == name for metric, _ in found)
        ]
        if taken:
            mine = {name: score for (metric, name), score in found.items() if metric == taken[0]}
            yield _of_scores(f"auc_{level}", f"AUC, {title}", CLASSIFIERS[taken[0]].title, mine)


def _of_scores(key: str, title: str, note: str, found: Mapping[str, Score]) -> SummaryColumn:
    """A column of scores; a candidate with a floor of its own has it in small print."""
    floors = [score.text(of_floor=True) for score in found.values()]
    cells = dict[str, SummaryCell]()
    for name, score in found.items():
        own = score.text(of_floor=True)
        cells[name] = SummaryCell(
            "no value" if math.isnan(score.value) else score.text(),
            {
                "": score.value,
                "error": score.error,
                "floor": score.floor,
                "floor_error": score.floor_error,
            },
            "" if own == floors[0] else f"floor {own}",
            score.mark,
        )
    floor = floors[0] if floors and floors[0] != MISSING else ""
    return SummaryColumn(key, title, note, floor, cells)


def _time(scores: Scores) -> SummaryColumn:
    """The shortest time of a shower that was measured."""
    cells = {}
    for name, record in scores.timing.items():
        rows = [row for row in record["rows"] if row["ms_per_shower"] is not None]
        if rows:
            best = min(rows, key=lambda row: float(row["ms_per_shower"]))
            time, spread = best["ms_per_shower"], best["ms_per_shower_std"]
            cells[name] = SummaryCell(
                format_value(time, spread),
                {"": time, "error": spread},
                f"{best['device']}, {best['batch_size']:,} at once",
            )
    return SummaryColumn("ms_per_shower", "ms per shower", "shortest", "", cells)


def _training(scores: Scores) -> Iterator[SummaryColumn]:
    """The training, by the files of the candidates."""
    columns: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("training_minutes", "training [min]", _minutes),
        ("n_training_showers", "training showers", "{:,.0f}".format),
    )
    for key, title, text in columns:
        cells = {
            name: SummaryCell(text(known), {"": known})
            for name, sample in scores.candidates.items()
            if (known := _number(sample.origin.get(key))) is not None
        }
        yield SummaryColumn(key, title, "", "", cells)


def _minutes(minutes: float) -> str:
    return "< 0.1" if minutes < 0.1 else format_number(minutes)


def _number(value: Any) -> float | None:
    """A number that is at least 0, None for anything else that a file may hold."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def summary_records(scores: Scores) -> list[dict[str, Any]]:
    """A record for each candidate: its name and the numbers of all columns, None where unknown."""
    columns = summary(scores)
    return [
        {"candidate": name, **{k: v for column in columns for k, v in _flat(column, name)}}
        for name in scores.candidates
    ]


def _flat(column: SummaryColumn, name: str) -> Iterator[tuple[str, Any]]:
    """Names and values of a column; of a candidate that lacks them None."""
    keys = dict.fromkeys(key for cell in column.cells.values() for key in cell.values)
    cell = column.cells.get(name)
    for key in keys:
        value = None if cell is None else cell.values.get(key)
        unknown = isinstance(value, float) and not math.isfinite(value)
        yield "_".join(filter(None, (column.key, key))), None if unknown else value


def summary_csv(scores: Scores) -> str:
    """The records as CSV, empty where a value is not known."""
    records, text = summary_records(scores), io.StringIO()
    fields: Iterable[str] = records[0] if records else ["candidate"]
    table = csv.DictWriter(text, list(fields), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    table.writeheader()
    table.writerows(records)
    return text.getvalue()
