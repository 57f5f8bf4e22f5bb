"""Names of candidates on the page and in its tables, to the letter."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

import pytest
from markdown_it import MarkdownIt
from matplotlib.cbook import is_math_text

from caloforge.report.command import command_of
from caloforge.report.display import event_display
from caloforge.report.figures import draw, encode_small
from caloforge.report.interlayer import rho_panels
from caloforge.report.page import _flat

NAMES = (
    "run_7 _x_",
    "$m$ and $",
    "a|b",
    "*bold*",
    "`code`",
    "[link](there)",
    "&amp;",
    "c:\\|",
    "=1+2",
)


def renamed(scores, names):
    """The scores of one candidate, under each of these names."""
    known = next(iter(scores.candidates))
    values = [value for value in scores.values if value.candidate == known]
    return dataclasses.replace(
        scores,
        values=tuple(dataclasses.replace(v, candidate=name) for name in names for v in values),
        candidates=dict.fromkeys(names, scores.candidates[known]),
        timing=dict.fromkeys(names, next(iter(scores.timing.values()))),
        outputs={},
        tails={},
    )


def test_legends_show_names_to_the_letter(samples):
    known, made, *_ = samples.values()
    names = ("Geant4", "_left out", "$m$", "half $", r"\$m\$")
    panel = next(iter(rho_panels(dict.fromkeys(names, made) | {"Geant4": known})))
    figure = draw(panel)
    encode_small(figure)  # a broken formula would end here
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any(map(is_math_text, shown))
    assert tuple(text.strip().replace(r"\$", "$") for text in shown) == names


def test_a_number_is_a_name_like_any_other(samples):
    """JSON keeps the order of names, a browser's objects do not: "100" would be their first."""
    known, made, *_ = samples.values()
    assert event_display({"Geant4": known, "100": made})["names"] == ["Geant4", "100"]


@pytest.mark.parametrize("table", [0, 1, -1], ids=["summary", "scores", "times"])
def test_names_do_not_break_tables_of_markdown(table, scores):
    text = MarkdownIt("gfm-like", {"linkify": False}).render(renamed(scores, NAMES).to_markdown())
    rows = re.findall(r"<tr>.*?</tr>", text.split("<table>")[1:][table], re.DOTALL)
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]
    assert len({len(row) for row in cells}) == 1
    before = {0: 1, 1: 3}  # columns before those of the candidates
    times = list(dict.fromkeys(row[0] for row in cells[1:]))
    found = cells[0][before[table] :] if table in before else times
    assert [cell.replace("&amp;", "&") for cell in found] == list(NAMES)


def test_names_are_quoted_in_csv(scores):
    text = renamed(scores, NAMES).to_csv()
    assert [*dict.fromkeys(row["candidate"] for row in csv.DictReader(io.StringIO(text)))] == [
        *NAMES
    ]
    assert ',"=1+2",' in text
    assert ",=1+2," not in text


def test_the_page_tells_names_and_commands_to_the_letter(scores):
    origin = {"file": "step=100/run_7.h5"}
    provenance = {
        **scores.provenance,
        "reference": {"file": "test.h5"},
        "candidates": {"run_7": origin, "my_run": origin},
    }
    command = command_of(dataclasses.replace(scores, provenance=provenance, timing={}))
    assert " step=100/run_7.h5 my_run=step=100/run_7.h5 --geometry" in command
    assert dict(_flat(provenance))["candidates · my_run · file"] == "step=100/run_7.h5"
