"""The card of a trained generator, push and pull on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import caloforge as cf

Command = Callable[..., Any]


@pytest.fixture
def mine(binned_run: Path, tmp_path: Path) -> Path:
    """A run folder to write a card into."""
    shutil.copytree(binned_run, tmp_path / "mine")
    return tmp_path / "mine"


def test_a_generator_gets_its_card_and_is_shared(
    mine: Path, tmp_path: Path, caloforge: Command
) -> None:
    result = caloforge("card", mine, "--licence", "CC-BY-4.0", "--address", "hf://a/showers")
    assert result.code == 0, result.err
    assert "missing: times: no timing was given (caloforge bench)" in result.err
    card = json.loads((mine / "card.json").read_text("utf-8"))
    assert (card["licence"], card["model"]["name"]) == ("CC-BY-4.0", "showers")
    assert "license: cc-by-4.0" in (mine / "README.md").read_text("utf-8")

    there = tmp_path / "there"
    assert caloforge("push", mine, there).out.strip() == str(there)
    result = caloforge("pull", there, "-o", tmp_path / "theirs")
    assert (result.code, result.out.strip()) == (0, str(there))
    assert list(cf.load(tmp_path / "theirs").stages) == list(cf.load(mine).stages)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["push", "{mine}", "{tmp}/there"], "has no README.md, card.json, checksums.json: write"),
        (["pull", "{tmp}/no", "-o", "{tmp}/there"], "holds no model to be shared: it has no"),
        (["pull", "hf://nobody", "-o", "{tmp}/there"], "expected an address such as hf://owner/na"),
        (["card", "{tmp}/no"], "no run folder"),
        (["card", "{mine}", "--bench", "{mine}/config.yaml"], "is damaged: expected JSON"),
        (["card", "{mine}", "--evaluation", "{tmp}"], "scores.json"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], words: str, mine: Path, tmp_path: Path, caloforge: Command
) -> None:
    result = caloforge(*(text.format(mine=mine, tmp=tmp_path) for text in arguments))
    assert result.code == 2
    assert result.err.startswith("error ")
    assert words in result.err
    assert not (tmp_path / "there").exists()
    assert not (mine / "README.md").exists()


def test_an_address_stands_wherever_a_run_folder_does(
    mine: Path, tmp_path: Path, caloforge: Command
) -> None:
    assert caloforge("card", mine).code == 0
    assert caloforge("push", mine, tmp_path / "there").code == 0
    address = f"file://{tmp_path / 'there'}"
    result = caloforge("generate", address, "-n", 3, "-o", tmp_path / "fake.h5")
    assert result.code == 0, result.err
    assert len(cf.read(tmp_path / "fake.h5")) == 3
    facts = json.loads(caloforge("info", address, "--json").out)
    assert facts["system"] == "parametric"
