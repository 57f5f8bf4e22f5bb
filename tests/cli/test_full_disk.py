"""A full disk is one line and exit code 2, old files are whole, and what can be resumed goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caloforge as cf
from caloforge.showers import PointShowers

IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]  # its mounts end with it

# Runs commands on a small disk that is then made larger; prints what they said, as JSON.
SCRIPT = """
import contextlib, io, json, subprocess, sys
from pathlib import Path
import caloforge.generation, caloforge.report
from caloforge.cli import main

disk, commands = Path(sys.argv[1]), json.loads(sys.argv[2])
mount = ["mount", "-t", "tmpfs", "none", str(disk), "-o"]
page = lambda scores, path, figures=(): Path(path).write_text("page")  # drawing takes long
caloforge.report.save_page = page
timing = type("Timing", (), {"to_json": lambda self: "1" * 10000})
caloforge.generation.time_generation = lambda *arguments, **options: timing()

def run(arguments):
    sys.argv = ["caloforge", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as stop:
            return {"code": stop.code or 0, "err": err.getvalue()}
    return {"code": 0, "err": err.getvalue()}

results = {}
for name, (size, arguments, again) in commands.items():
    subprocess.run([*mount, f"size={size}"], check=True)
    old = disk / "old"
    old.write_text("old")
    full = run(arguments)
    full["left"] = sorted(str(p.relative_to(disk)) for p in disk.rglob("*") if p.is_file())
    full["old"] = old.read_text()
    subprocess.run([*mount, "remount,size=100m"], check=True)
    results[name] = full, run(again) if again else None
    subprocess.run(["umount", "-l", str(disk)], check=True)
print(json.dumps(results))
"""


def on_small_disks(disk: Path, commands: dict[str, Any]) -> dict[str, Any]:
    """What each command says on a disk of its size, and after that with enough space."""
    if (
        not shutil.which("unshare")
        or subprocess.run([*IN_NAMESPACE, "true"], check=False).returncode
    ):
        pytest.skip("needs a namespace in which it may mount")
    disk.mkdir()
    texts = {n: (s, [*map(str, a)], r and [*map(str, r)]) for n, (s, a, r) in commands.items()}
    done = subprocess.run(
        [*IN_NAMESPACE, sys.executable, "-c", SCRIPT, str(disk), json.dumps(texts)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def assert_one_line(full: dict[str, Any], name: str) -> None:
    errors = [line for line in full["err"].splitlines() if line.startswith("error")]
    assert full["code"] == 2, (name, full)
    assert len(errors) == 1, (name, full)
    assert "no space left in" in errors[0], (name, full)
    assert "needed about" in errors[0], (name, full)
    assert "Traceback" not in full["err"]
    assert full["old"] == "old", name


def test_every_command_that_writes(
    run: Path, data: Path, bundled_points: PointShowers, tmp_path: Path
) -> None:
    points, disk = tmp_path / "points.h5", tmp_path / "disk"
    cf.write(points, bundled_points[:30], attributes={"particle": "gamma"})
    size = int(0.4 * data.stat().st_size)
    train = ["train", "l2lflows/tiny", "energies.recipe.epochs=1", "--stage", "energies"]
    train += ["--data", data, "-o", disk / "run"]
    generate = ["generate", run, "-n", "400", "--batch-size", "100", "-o", disk / "new.h5"]
    evaluate = ["evaluate", data, "--reference", data, "--metric", "fpd", "-o", disk / "eval"]
    commands = {
        "coarsen": (size // 2, ["coarsen", data, "--factors", "2,2,1", "-o", disk / "old"], None),
        "project": ("100k", ["project", points, "-o", disk / "old"], None),
        "generate": (size, generate, [*generate, "--resume"]),
        "train": ("100k", train, [*train, "--resume"]),
        "evaluate": ("12k", evaluate, evaluate),
        "bench": ("8k", ["bench", run, "-o", disk / "old"], None),
    }
    for name, (full, again) in on_small_disks(disk, commands).items():
        assert_one_line(full, name)
        assert again is None or again["code"] == 0, (name, again)
        if name not in ("train", "evaluate"):  # whose finished steps are kept
            assert full["left"] == ["old"], name
        assert not [path for path in full["left"] if path.endswith(".tmp")], name


def test_simulating(geant4_data: Path, tmp_path: Path) -> None:
    common = ["--energy", "fixed:500", "-n", "8", "--chunk-size", "4"]
    common += ["-o", tmp_path / "disk" / "new.h5"]
    voxels = ["simulate", "--geometry", "calochallenge-2", *common]
    points = ["simulate", "--geometry", "ild-ecal", "--points", *common]
    commands = {
        "voxels": ("60k", voxels, [*voxels, "--resume"]),
        "points": ("60k", points, [*points, "--resume"]),
    }
    for name, (full, again) in on_small_disks(tmp_path / "disk", commands).items():
        assert_one_line(full, name)
        assert again["code"] == 0, (name, again)
        assert not [path for path in full["left"] if path.endswith(".tmp")], name
