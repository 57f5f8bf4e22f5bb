"""What cannot be done is refused by the call, not by the first step of what it returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge import samples
from caloforge.cascade import SamplingOptions, System
from caloforge.data import open_source
from caloforge.showers import PointShowers, VoxelShowers


def built(preset: str) -> System:
    """A system without numbers: nothing is sampled here."""
    with torch.device("meta"):
        return cf.build(preset, "calochallenge-2")


TWICE = SamplingOptions(resample=2)
RUNGE = SamplingOptions(solver="rk4-2")
WRONG: dict[str, tuple[Callable[[System], Any], str]] = {
    "negative energy": (lambda s: s.stream([1e4, -1.0], seed=1), "above 0"),
    "energies in a table": (lambda s: s.stream(np.ones((2, 2)), seed=1), "shape"),
    "direction that is not read": (
        lambda s: s.stream(cf.Particles([1e4], direction=(0.6, 0, 0.8)), seed=1),
        "reads none",
    ),
    "empty batches": (lambda s: s.stream([1e4], seed=1, batch_size=0), "batch_size must be 1"),
    "seed": (lambda s: s.stream([1e4], seed=-1), "non-negative"),
    "device": (lambda s: s.stream([1e4], seed=1, device="gpu"), "device must be"),
    "resampling": (
        lambda s: s.stream([1e4], seed=1, options=TWICE),
        "no choice of resample: what can be chosen is postprocess",
    ),
    "solver": (lambda s: s.stream([1e4], seed=1, options=RUNGE), "no choice of solver"),
    "solver of checked energies": (
        lambda s: s.batches(cf.Particles([1e4]), seed=1, options=RUNGE),
        "no choice of solver",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_stream_of_generated_showers(wrong: str) -> None:
    call, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        call(built("l2lflows/tiny"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "non-negative"),
        ({"device": "gpu"}, "device must be"),
        ({"options": RUNGE}, "no choice of solver"),
    ],
)
def test_a_stream_of_upsampled_showers(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built("supercalo/tiny").upsample(iter(()), **{"seed": 1, **wrong})


@pytest.mark.parametrize("size", [0, -3])
def test_batches_of_showers_and_of_files(
    size: int, bundled: VoxelShowers, bundled_points: PointShowers
) -> None:
    with cf.open_showers(samples.path()) as file:
        for source in (bundled, bundled_points, file, open_source([samples.path()])):
            with pytest.raises(ValueError, match=f"1 shower or more, got a size of {size}"):
                source.blocks(size)


def test_points_are_not_upsampled(bundled_points: PointShowers) -> None:
    with pytest.raises(ValueError, match="upsample takes showers in voxels"):
        cf.upsample(built("supercalo/tiny"), bundled_points, seed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"device": "gpu"}, "device must be"),
        ({"processes": 0}, "processes must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_training_is_refused_before_its_folder_is_made(
    wrong: dict[str, Any], message: str, bundled: VoxelShowers, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        cf.train(built("library"), bundled[:20], run=tmp_path / "run", **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resume": True}, "resume needs an output"),
        ({"layout": "showerdata"}, "layout must be 'sparse' or 'calochallenge', got 'showerdata'"),
        ({"options": RUNGE}, "no choice of solver"),
        ({"device": "gpu"}, "device must be"),
    ],
)
def test_generation_is_refused_before_anything_is_sampled(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cf.generate(built("l2lflows/tiny"), [1e4], seed=1, **wrong)


def test_clouds_are_not_streamed_into_a_file_that_is_written_at_once() -> None:
    with torch.device("meta"):
        system = cf.build("caloclouds/tiny", "ild-ecal")
    with pytest.raises(ValueError, match="'showerdata' is written at once"):
        cf.generate(system, [1e4], seed=1, layout="showerdata")
