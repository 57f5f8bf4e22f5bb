"""The same showers, wherever they come from: one contract of all sources."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import caloforge as cf
from caloforge.data import open_file, open_source
from caloforge.geometry import Coarsening
from caloforge.showers import (
    PointShowers,
    RaggedShowers,
    Showers,
    ShowerSource,
    View,
    VoxelShowers,
    coarse,
    fingerprint,
    held,
    projected,
)

N = 50
ROWS = [7, 49, 7, 0, 23, 24, 48, 7]  # repeated and in no order
Made = Callable[[VoxelShowers, PointShowers, Path], tuple[ShowerSource[Any], Showers]]


def in_files(showers: Showers, folder: Path, **how: Any) -> list[Path]:
    """The showers in three files, the second of them with a single shower."""
    paths = []
    for name, part in {"a": slice(0, 20), "b": slice(20, 21), "c": slice(21, None)}.items():
        paths.append(folder / f"train_{name}.h5")
        cf.write(paths[-1], showers[part], **how)
    return paths


def one_file(showers: Showers, folder: Path, **how: Any) -> Path:
    cf.write(folder / "one.h5", showers, **how)
    return folder / "one.h5"


def half(showers: PointShowers) -> PointShowers:
    return showers.within(60.0)


SOURCES: dict[str, Made] = {
    "voxels in memory": lambda voxels, points, folder: (voxels, voxels),
    "points in memory": lambda voxels, points, folder: (points, points),
    "an open file": lambda voxels, points, folder: (open_file(one_file(voxels, folder)), voxels),
    "a sparse file": lambda voxels, points, folder: (open_source(one_file(voxels, folder)), voxels),
    "a CaloChallenge file": lambda voxels, points, folder: (
        open_source(str(one_file(voxels, folder, layout="calochallenge"))),
        voxels,
    ),
    "a file of points": lambda voxels, points, folder: (
        open_source(one_file(points, folder)),
        points,
    ),
    "files of a pattern": lambda voxels, points, folder: (
        open_source(f"{in_files(voxels, folder)[0].parent}/train_*.h5"),
        voxels,
    ),
    "files in any order": lambda voxels, points, folder: (
        open_source(in_files(points, folder)[::-1]),
        points,
    ),
    "projected files": lambda voxels, points, folder: (
        projected(open_source(in_files(points, folder)), voxel_geometry()),
        points.project(voxel_geometry()),
    ),
    "a coarse file": lambda voxels, points, folder: (
        coarse(open_source(one_file(voxels, folder)), Coarsening(voxels.geometry, (5, 2, 1))),
        voxels.coarsen(Coarsening(voxels.geometry, (5, 2, 1))),
    ),
    "another view": lambda voxels, points, folder: (
        View(points, half, points.geometry),
        half(points),
    ),
}


def voxel_geometry() -> cf.Geometry:
    return cf.geometry_preset("ild-30")


@pytest.fixture(params=SOURCES)
def pair(
    request: pytest.FixtureRequest,
    bundled: VoxelShowers,
    bundled_points: PointShowers,
    tmp_path: Path,
) -> tuple[ShowerSource[Any], Showers]:
    """A source, and what it should be the source of."""
    return SOURCES[request.param](bundled[:N], bundled_points[:N], tmp_path)


def assert_same(mine: Any, theirs: RaggedShowers) -> None:
    assert type(mine) is type(theirs)
    assert mine.geometry == theirs.geometry
    for name in (*theirs.of_showers, "offset", *theirs.columns):
        assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)


def test_files_are_read_in_runs_across_their_borders(bundled: VoxelShowers, tmp_path: Path) -> None:
    for name, part in (("a", slice(0, 9)), ("b", slice(9, N))):
        cf.write(tmp_path / f"{name}.h5", bundled[part])
    source = open_source(tmp_path / "*.h5")
    assert_array_equal(source.energy_inc, bundled.energy_inc[:N])
    for run in (slice(0, 0), slice(7, 12), slice(-3, None)):
        assert_same(source[run], bundled[:N][run])


def test_a_source_gives_what_its_showers_are(pair: tuple[ShowerSource[Any], Showers]) -> None:
    source, showers = pair
    assert len(source) == N
    assert source.geometry == showers.geometry
    for name in ("energy", "direction", "pdg"):
        assert_array_equal(getattr(source.particles, name), getattr(showers.particles, name))
    for rows in (ROWS, []):
        assert_same(source.take(np.array(rows, np.int64)), showers[np.array(rows, np.int64)])
    for size in (1, 7, 20, N, 1000):
        blocks = list(source.blocks(size))
        assert [len(b) for b in blocks] == [len(b) for b in showers.blocks(size)]
        assert_same(type(showers).concatenate(blocks), showers)
    assert source.fingerprint() == fingerprint(showers)
    assert_same(held(source), showers)


def test_a_number_that_is_not_there_is_refused(pair: tuple[ShowerSource[Any], Showers]) -> None:
    for row in (-1, N):
        with pytest.raises(IndexError, match=f"there are showers 0 to {N - 1}, asked for {row}"):
            pair[0].take(np.array([row]))


def test_what_does_not_fit_is_not_held(bundled: VoxelShowers, tmp_path: Path) -> None:
    source = open_source(in_files(bundled[:N], tmp_path))
    assert held(source, budget=1000) is source
    assert isinstance(held(source, budget=bundled[:N].nbytes), VoxelShowers)


def test_another_process_gets_paths_and_not_showers(bundled: VoxelShowers, tmp_path: Path) -> None:
    source = open_source(in_files(bundled[:N], tmp_path))
    sent = bytes(ForkingPickler.dumps(source))
    assert len(sent) < 1000
    assert ForkingPickler.loads(sent).fingerprint() == source.fingerprint()


def test_files_that_do_not_belong_together_are_refused(
    bundled: VoxelShowers, bundled_points: PointShowers, tmp_path: Path
) -> None:
    few = bundled[:N]
    cf.write(tmp_path / "fine.h5", few)
    cf.write(tmp_path / "coarse.h5", few.coarsen(Coarsening(few.geometry, (5, 2, 1))))
    cf.write(tmp_path / "points.h5", bundled_points[:N])
    for other in ("coarse", "points"):
        with pytest.raises(ValueError, match="give files of one kind and geometry"):
            open_source([tmp_path / "fine.h5", tmp_path / f"{other}.h5"])
    with pytest.raises(ValueError, match=r"fine\.h5: named twice"):
        open_source([tmp_path / "fine.h5", f"{tmp_path}/f*.h5"])
    with pytest.raises(ValueError, match=r"no file fits the pattern .*none_\*\.h5"):
        open_source(f"{tmp_path}/none_*.h5")
    with pytest.raises(ValueError, match="expected one file of showers or more"):
        open_source([])
