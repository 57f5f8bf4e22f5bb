"""A table of texts in Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["html_table", "markdown_table"]


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the heading; its first column is flush left, the others right."""
    heading, *others = rows
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *others]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the heading."""
    heading, *others = rows
    return f"<table>{_row('th', heading)}{''.join(_row('td', row) for row in others)}</table>"


def _row(cell: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"
