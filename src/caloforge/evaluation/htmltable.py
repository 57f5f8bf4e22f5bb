"""The table of scores for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caloforge.evaluation.scores import Scores

__all__ = ["html_table"]


def html_table(scores: Scores) -> str:
    """The scores beside the floor, a row for each metric and observable."""
    names = list(scores.candidates)
    lines = [_row("th", ["metric", "score", "better", "floor", *names])]
    for metric, _, row in scores.rows():
        found = {score.candidate: score for score in row}
        values = [found[name].text() if name in found else "" for name in names]
        floor = row[0].text(of_floor=True)
        lines.append(_row("td", [metric, row[0].title, row[0].quantity.better, floor, *values]))
    return f"<table>{''.join(lines)}</table>"


def _row(cell: str, texts: list[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"
