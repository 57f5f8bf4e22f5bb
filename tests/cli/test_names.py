"""What a person calls a file is printed to the letter, whatever its letters mean elsewhere."""

from __future__ import annotations

import io
import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import caloforge as cf
from caloforge.cli import progress as displays
from caloforge.cli import terminal
from caloforge.cli.tables import Tables
from caloforge.cli.terminal import console, named_paths
from caloforge.evaluation import EvaluationProgress, Scores
from caloforge.showers import VoxelShowers

Command = Callable[..., Any]  # arguments to exit code and what was printed

# Markup of rich, an emoji, an address of a link, and a path that would be broken in a line.
NAMES = ("run[red]7", "a[link=b]c", ":smile:", "x" * 150 + " y", "$x$ *y* `z` _w_")


# ---------------------------------------------------------------- name=path


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("fake.h5", "step=100/fake.h5", "a=b.h5", "b.h5", "=c.h5"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("fake.h5", "fake", "fake.h5"),
        ("mine=fake.h5", "mine", "fake.h5"),
        ("step=100/fake.h5", "fake", "step=100/fake.h5"),
        ("mine=step=100/fake.h5", "mine", "step=100/fake.h5"),
        ("a=b.h5", "a=b", "a=b.h5"),  # a path, though there is b.h5 as well
        ("c=b.h5", "c", "b.h5"),
        ("=c.h5", "=c", "=c.h5"),
        ("./step=200/fake.h5", "fake", "step=200/fake.h5"),  # no path yet, no name either
        ("mine=", "mine=", "mine="),
    ],
)
def test_a_path_may_hold_an_equals_sign(text: str, name: str, path: str, files: Path) -> None:
    assert named_paths([text]) == {name: Path(path)}


def test_absolute_paths_may_hold_one_too(files: Path) -> None:
    path = files / "step=100" / "fake.h5"
    assert named_paths([f"{path}", f"mine={path}"]) == {"fake": path, "mine": path}


def test_what_is_neither_a_path_nor_a_named_one_is_refused(files: Path) -> None:
    expected = "there is no 300/fake.h5 to be called step, and no step=300/fake.h5"
    with pytest.raises(FileNotFoundError, match=expected):
        named_paths(["step=300/fake.h5"])


def test_two_of_one_name_are_refused(files: Path) -> None:
    with pytest.raises(ValueError, match=r"^fake.h5 and step=100/fake.h5 are both called fake: "):
        named_paths(["fake.h5", "step=100/fake.h5"])


# ---------------------------------------------------------------- to the letter


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_keeps_its_name(
    name: str, data: Path, tmp_path: Path, caloforge: Command
) -> None:
    output = tmp_path / f"{name}.h5"
    result = caloforge("coarsen", data, "--factors", "2,2,1", "-o", output)
    assert result.code == 0, result.err
    assert f"{output}: " in result.err


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_keeps_its_name(name: str, tmp_path: Path, caloforge: Command) -> None:
    result = caloforge("coarsen", tmp_path / f"{name}[/b].h5", "-o", tmp_path / "c.h5")
    assert result.code == 2
    assert str(tmp_path / f"{name}[/b].h5") in result.err
    assert len(result.err.splitlines()) == 1


def test_a_run_keeps_its_name(run: Path, tmp_path: Path, caloforge: Command) -> None:
    folder = tmp_path / NAMES[0]
    shutil.copytree(run, folder)
    assert f"{folder} for slab" in caloforge("info", folder).out
    shutil.copytree(run, not_text := tmp_path / "caf\udce9")
    assert r"caf\udce9 for slab" in caloforge("info", not_text).out
    result = caloforge("generate", folder, "-n", "3", "-o", folder / "[b]a.h5")
    assert f"{folder}/[b]a.h5: 3 showers" in result.err


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
def test_candidates_keep_their_names(
    slab: VoxelShowers,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_page(scores: Scores, path: Path, *, figures: object) -> None:
        path.touch()

    monkeypatch.setattr("caloforge.report.save_page", no_page)  # drawing takes long
    monkeypatch.setattr(terminal.out, "_width", 200)  # room for all names in one line
    cf.write(tmp_path / "test.h5", slab[:100])
    chosen = ("run[red]7", ":smile:", "$x$ *y* `z` _w_", "step=100", "a|b", "caf\udce9")
    for number, name in enumerate(chosen):
        cf.write(tmp_path / f"{name}.h5", slab[100 + 50 * number : 150 + 50 * number])
    timing = {"rows": [], "hardware": {}}
    (tmp_path / "a|b.json").write_text(json.dumps(timing))
    result = caloforge(
        *("evaluate", "--reference", tmp_path / "test.h5", "--metric", "pearson"),
        *(tmp_path / f"{name}.h5" for name in chosen),
        *("--timing", tmp_path / "a|b.json", "-o", tmp_path / "e[/b]"),
    )
    assert result.code == 0, result.err
    assert all(name in result.out for name in (*chosen[:-1], "caf\ufffd"))  # no text, no letter
    assert f"page: {tmp_path}/e[/b]/report.html" in result.err


def test_progress_keeps_names() -> None:
    log = Console(file=io.StringIO(), width=200)
    displays.EvaluationDisplay(log)(
        EvaluationProgress(1, 1, "classifier of run[red]7 [/b] :smile:")
    )
    assert "run[red]7 [/b] :smile:" in log.file.getvalue()  # type: ignore[attr-defined]
    terminal = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    display = displays.EvaluationDisplay(terminal)
    with display.live():
        display(EvaluationProgress(1, 2, "run[red]7 [/b]"))
    assert "run[red]7 [/b]" in terminal.file.getvalue()  # type: ignore[attr-defined]


def test_a_path_is_not_coloured_in_parts() -> None:
    assert not console.render_str("/data/run_7/e-100GeV.h5: 3 showers").spans


@pytest.mark.parametrize("command", ["simulate", "evaluate", "project", "generate"])
def test_help_keeps_its_units(command: str, caloforge: Command) -> None:
    text = " ".join(caloforge(command, "--help").out.split())
    units = {"simulate": "[mm]", "evaluate": "[MeV]", "project": "[radian]", "generate": "[MB]"}
    assert units[command] in text


def test_a_usage_error_keeps_what_was_typed(caloforge: Command) -> None:
    result = caloforge("generate", "run", "--[red]")
    assert result.code == 2
    assert "No such option: --[red]" in result.err


def test_names_are_broken_and_never_cut_in_a_narrow_terminal() -> None:
    name = string.ascii_uppercase + string.digits
    narrow = Console(width=30, file=io.StringIO())
    narrow.print(Tables(f"| m | floor | {name} |\n| --- | ---: | ---: |\n| a | b | c |"))
    printed = narrow.file.getvalue()
    assert "…" not in printed
    assert set(name) <= set(printed)
