"""Scores as tables in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caloforge.evaluation.digits import MISSING, format_number, format_value
from caloforge.evaluation.leaderboard import PublishedTable
from caloforge.evaluation.meanings import kind_of, kind_title
from caloforge.evaluation.score import Score
from caloforge.evaluation.summary import SummaryCell, SummaryColumn, summary

if TYPE_CHECKING:
    from caloforge.evaluation.scores import Scores

__all__ = ["markdown"]

# What Markdown would take for more than letters: code, emphasis (an underscore inside a word is
# none), links, cells of a table, tags, entities, and what is escaped already.
_MARKUP = re.compile(
    r"""[`*|] | (?<![^\W_])_ | _(?![^\W_]) | \](?=[(\[:]) | ~(?=~)
    | <(?=[A-Za-z/!?]) | &(?=\#?\w+;) | \\(?=[!-/:-@\[-`{-~]|$)""",
    re.VERBOSE,
)


def markdown(scores: Scores, *, published: bool) -> str:
    """The table of scores and their floor, see `Scores.to_markdown`."""
    rows = scores.rows()
    blocks = (
        ["\n".join(f"- {_literal(found.text)}." for found in scores.shared)]
        if scores.shared
        else []
    )
    if columns := summary(scores):
        blocks.append(_summary(columns, list(scores.candidates)))
    blocks += [
        block
        for kind in dict.fromkeys(kind_of(metric) for metric, _, _ in rows)
        for block in _of_kind(kind, [row for name, _, row in rows if kind_of(name) == kind], scores)
    ]
    for name in scores.candidates if scores.by_condition else ():
        blocks += [f"{_literal(name)} by condition, each with its own floor:"]
        blocks += [_by_condition(name, scores)]
    for name, worth in scores.worths.items():
        blocks.append(f"Worth of {_literal(name)} in Geant4 showers, by condition:")
        blocks.append(worth.to_markdown().rstrip())
    if scores.timing:
        blocks.append(_timing(scores.timing))
    if published and (table := scores.published()):
        blocks.append(_published(table))
    return "\n\n".join(blocks) + "\n"


def _summary(columns: Sequence[SummaryColumn], names: Sequence[str]) -> str:
    """A column for each candidate, as there are more quantities than candidates."""
    floors = ["floor"] if any(column.floor for column in columns) else []
    lines = [["summary", *floors, *map(_literal, names)]]
    lines.append(["---", *["---:"] * (len(floors) + len(names))])
    for column in columns:
        cells = (column.cells.get(name) for name in names)
        title = f"{column.title} ({column.note})" if column.note else column.title
        texts = ("" if cell is None else _noted(cell) for cell in cells)
        lines.append([title, *(column.floor for _ in floors), *texts])
    return _table(lines)


def _noted(cell: SummaryCell) -> str:
    return f"{cell.text} ({_literal(cell.note)})" if cell.note else cell.text


def _of_kind(kind: str, rows: Sequence[Sequence[Score]], scores: Scores) -> Iterator[str]:
    """The table of a kind of metrics, and what is to be said of values and of missing ones."""
    names = list(scores.candidates)
    lines = [
        [kind_title(kind), "better", "floor", *map(_literal, names)],
        ["---", "---", *["---:"] * (len(names) + 1)],
    ]
    for row in rows:
        found = {score.candidate: score for score in row}
        floor = row[0].text(of_floor=True)
        cells = [_cell(found[name], floor) if name in found else MISSING for name in names]
        lines.append([row[0].title, row[0].quantity.better, floor, *cells])
    yield _table(lines)
    if said := [
        f"- {_literal(f'{score.candidate}, {score.title}: {text}')}"
        for row in rows
        for score in row
        for text in filter(None, (score.reason, score.remark))
    ]:
        yield "\n".join(said)


def _by_condition(candidate: str, scores: Scores) -> str:
    """All scores of one candidate, a column for each cell of condition."""
    tables = {"all": scores.rows(), **scores.conditions()}
    found = {
        (label, metric, observable): _in_condition(score)
        for label, rows in tables.items()
        for metric, observable, row in rows
        for score in row
        if score.candidate == candidate
    }
    lines = [["metric", "score", *tables], ["---", "---", *["---:"] * len(tables)]]
    for metric, observable, row in next(iter(scores.conditions().values())):
        cells = [found.get((label, metric, observable), MISSING) for label in tables]
        lines.append([kind_title(kind_of(metric)), row[0].title, *cells])
    return _table(lines)


def _in_condition(score: Score) -> str:
    """Value and floor, in bold where it is off its floor."""
    text = f"{score.text()} ({score.text(of_floor=True)})"
    return f"**{text}**" if score.mark in ("seen", "far") else text


def _cell(score: Score, floor: str) -> str:
    """Value and verdict, and the floor where it is another one than that of the first candidate."""
    text = score.text()
    if math.isinf(score.floor):  # no floor to be read against
        return text
    if score.mark != "floor" or score.verdict != "at the floor":
        text = score.verdict if text == MISSING else f"{text}, {score.verdict}"
    own = score.text(of_floor=True)
    return text if own == floor else f"{text} (floor {own})"


def _timing(timing: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [["ms per shower", "device", "batch size", "time", "hardware"], ["---"] * 5]
    for name, record in timing.items():
        for row in record["rows"]:
            device = row["device"] + (f", {row['threads']} threads" if row.get("threads") else "")
            found = row["ms_per_shower"]
            time = (
                row.get("reason") or "not timed"
                if found is None
                else format_value(found, row["ms_per_shower_std"])
            )
            hardware = record["hardware"]["gpu" if row["device"] != "cpu" else "cpu"]
            cells = (name, device, str(row["batch_size"]), time, str(hardware))
            lines.append([*map(_literal, cells)])
    return _table(lines)


def _published(table: PublishedTable) -> str:
    """The published table; values that may not be compared with it are in brackets."""
    lines = [["", *(title for title, _ in table.columns)]]
    lines.append(["---", *["---:"] * len(table.columns)])
    for row in table.rows:
        own = row.kind != "published"
        cells = [
            _published_cell(value, in_brackets=own and not comparable)
            for value, (_, comparable) in zip(row.values, table.columns, strict=True)
        ]
        name = _literal(row.name)
        lines.append([f"**{name}**" if own else name, *cells])
    note = (
        "CaloChallenge, published: other data, 100,000 showers and more. Values in brackets were "
        "taken with another number of showers and may not be compared."
    )
    return note + "\n\n" + _table(lines)


def _published_cell(value: float | None, *, in_brackets: bool) -> str:
    if value is None:
        return ""
    if math.isnan(value):
        return "no value"
    return f"({format_number(value)})" if in_brackets else format_number(value)


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _literal(text: str) -> str:
    """A name, on one line, that Markdown shows literally."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
