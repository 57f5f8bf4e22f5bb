"""A damaged run folder is refused in one line, and what is written to one is whole."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from caloforge.data import NoSpaceError
from caloforge.training import StageFolder, load


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no run folder: it has no config.yaml"):
        load(tmp_path)


@pytest.mark.parametrize("stage", ["energies", "layer_03"])
def test_an_incomplete_run_names_its_missing_stages(stage: str, copy: Path) -> None:
    (copy / "stages" / stage / "summary.json").unlink()
    with pytest.raises(ValueError, match=rf"1 of 5 stages are missing \({stage}\): resume"):
        load(copy)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("file", ["weights.safetensors", "transforms.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "foreign"])
def test_a_damaged_stage_is_named(file: str, damage: str, copy: Path) -> None:
    path = copy / "stages" / "layer_02" / file
    if damage == "truncated":
        _truncate(path)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes((copy / "stages" / "energies" / file).read_bytes())
    with pytest.raises(ValueError, match="layer_02"):
        load(copy)


@pytest.mark.parametrize("text", ["[]", '{"voxels": 3}', "null", '{"voxels": {"0": {"max": 1}}}'])
def test_transforms_of_another_shape_are_refused(text: str, copy: Path) -> None:
    path = copy / "stages" / "layer_00" / "transforms.json"
    known = json.loads(path.read_text())
    values = json.loads(text)
    path.write_text(json.dumps({**known, **values} if isinstance(values, dict) else values))
    with pytest.raises(ValueError, match="layer_00 does not fit the stage"):
        load(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("system: l2lflows\n", "config.yaml lacks config, geometry"),
        ("a: [1, 2", "config.yaml is damaged"),
        ("", "config.yaml lacks config, geometry, system"),
        ("system: l3l\nconfig: {}\ngeometry: {}\n", "not a geometry"),
    ],
)
def test_a_damaged_configuration_is_refused(text: str, message: str, copy: Path) -> None:
    (copy / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(copy)


def test_writing_weights_is_all_or_nothing(
    run: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = load(run).stages["layer_00"]
    folder = StageFolder(copy / "stages" / "layer_00")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "weights" in path.name:
            whole(path, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NoSpaceError, match=f"no space left in {folder.path}: needed about"):
        folder.save_weights(stage)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
