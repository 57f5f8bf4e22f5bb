"""Every notebook of the examples runs from top to bottom in an empty folder."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
NEEDS = {"your_own_detector": "geant4_data"}  # more than the package


def cells(path: Path) -> Iterator[str]:
    """The source of each cell of code."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # what a run prints is not kept
            yield "".join(cell["source"])


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; what a notebook would show below it: the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if path.stem in NEEDS:
        request.getfixturevalue(NEEDS[path.stem])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    pictures = 0
    for source in cells(path):
        value = shown(source, names)
        if hasattr(value, "_repr_html_"):
            pictures += "<img" in value._repr_html_()
    assert pictures  # showers are looked at


def test_the_three_notebooks_of_the_first_hour_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "ready_model",
        "your_own_detector",
        "your_own_file",
    ]
