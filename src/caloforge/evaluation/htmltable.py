"""The table of scores for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from caloforge.evaluation.meanings import METRICS
from caloforge.evaluation.score import Score

if TYPE_CHECKING:
    from caloforge.evaluation.scores import Scores

__all__ = ["html_table"]


def html_table(scores: Scores) -> str:
    """The scores and their floor, a row for each metric and observable."""
    names = list(scores.candidates)
    lines = [_row("th", ["score", "better", "floor", *names])]
    for *_, row in scores.rows():
        found = {score.candidate: score for score in row}
        values = [found[name].text() if name in found else "" for name in names]
        floor = row[0].text(of_floor=True)
        lines.append(_row("td", [_title(row[0]), row[0].quantity.better, floor, *values]))
    return f"<table>{''.join(lines)}</table>"


def _title(score: Score) -> str:
    """The title, with that of the metric where observables of several have the same."""
    known = METRICS.get(score.metric)
    return score.title if known is None else f"{score.title} ({known.title})"


def _row(cell: str, texts: list[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"
