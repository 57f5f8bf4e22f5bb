"""The tables of the page by condition: scores of one candidate in cells of energy and angle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from caloforge.evaluation.score import Mark
from caloforge.evaluation.scores import Scores
from caloforge.evaluation.worth import WORTH
from caloforge.report.tables import full_title

__all__ = ["Conditions", "conditions"]


@dataclass(frozen=True)
class Conditions:
    """Scores of one candidate, a column for each cell of condition.

    Args:
        title: what is in it.
        heading: of the columns, the first of them of the rows' titles.
        rows: title, and (text, mark) for each cell.
    """

    title: str
    heading: list[str]
    rows: list[tuple[str, list[tuple[str, Mark]]]]


def conditions(scores: Scores) -> Iterator[Conditions]:
    """The worth of each candidate cell by cell, and all scores in the cells that were asked for."""
    for name, worth in scores.worths.items():
        heading, *rows = worth.rows()
        yield Conditions(
            f"Worth of {name} by condition",
            heading,
            [(row[0], [(text, "unknown") for text in row[1:]]) for row in rows],
        )
    tables = {"all": scores.rows(), **scores.conditions()}
    for name in scores.candidates if scores.by_condition else ():
        lines: dict[str, dict[str, tuple[str, Mark]]] = {}
        for label, row in ((label, row) for label, rows in tables.items() for *_, row in rows):
            for score in row:
                if score.candidate == name and score.metric != WORTH:
                    text = f"{score.text()} ({score.text(of_floor=True)})"
                    lines.setdefault(full_title(score), {})[label] = text, score.mark
        none: tuple[str, Mark] = "", "unknown"
        yield Conditions(
            f"Scores of {name} by condition, with floors",
            ["", *tables],
            [(title, [line.get(label, none) for label in tables]) for title, line in lines.items()],
        )
