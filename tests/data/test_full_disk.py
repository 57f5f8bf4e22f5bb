"""Whatever step fails or is the last of a killed process: old files are whole, jobs resume."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caloforge import data
from caloforge.showers import Showers

REQUEST = {"seed": 1}


class Killed(BaseException):
    """The process is dead from here on."""


@contextmanager
def from_call(n: int, names: tuple[str, ...], error: Callable[[], BaseException]) -> Iterator[Any]:
    """From the n-th call on, these functions of the system raise; yields the count of calls."""
    calls = [0]

    def failing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] > n:
                raise error()
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, failing(getattr(os, name)))
        yield calls


def _same(one: Showers, other: Showers) -> bool:
    names = ("energy_inc", "offset", *one.columns)
    # GeV and MeV of the package showerdata differ by a rounding
    return all(np.allclose(getattr(one, name), getattr(other, name), rtol=3e-7) for name in names)


def _full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("layout", ["sparse", "calochallenge", "points", "showerdata"])
def test_hdf5_never_sees_a_full_disk(
    layout: str, bundled: Showers, bundled_points: Showers, tmp_path: Path
) -> None:
    """Any of its writes may be the first that fails: it closes its file all the same."""
    showers, options = bundled[:8], {"layout": layout}
    if layout in ("points", "showerdata"):
        showers, options = bundled_points[:4], {"layout": layout.replace("points", "sparse")}
    if layout == "showerdata":
        pytest.importorskip("showerdata")
    output = tmp_path / "old.h5"
    output.write_bytes(b"old")
    attributes = {"particle": "gamma"}
    for n in range(1000):
        with from_call(n, ("pwrite",), _full) as calls:
            try:
                data.write(output, showers, attributes=attributes, **options)
                break
            except data.NoSpaceError as error:
                message = str(error)
        assert message.startswith(f"no space left in {tmp_path}: needed about ")
        assert output.read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["old.h5"]
    assert calls[0] == n > 1
    assert _same(data.read(output), showers)


def test_a_write_that_is_interrupted_leaves_nothing(bundled: Showers, tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        data.create(tmp_path / "new.h5", bundled.geometry) as writer,
    ):
        writer.append(bundled[:8])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_is_needed_follows_from_what_was_written(bundled: Showers, tmp_path: Path) -> None:
    data.write(tmp_path / "whole.h5", bundled)
    whole = (tmp_path / "whole.h5").stat().st_size
    with (
        pytest.raises(data.NoSpaceError) as refused,
        from_call(5, ("pwrite",), _full),
        data.create(tmp_path / "new.h5", bundled.geometry, n_expected=len(bundled)) as writer,
    ):
        writer.append(bundled[: len(bundled) // 2])
    assert refused.value.needed == pytest.approx(whole, rel=0.1)


def test_a_job_killed_at_any_step_resumes(bundled: Showers, tmp_path: Path) -> None:
    """From its first part to the last file that it removes."""
    steps = ("mkdir", "replace", "unlink", "rmdir")
    made: list[int] = []

    def job(output: Path) -> None:
        parts = data.Parts(output, 2, REQUEST, resume=True)
        for part in parts.missing():
            made.append(part)
            parts.save(part, bundled[4 * part : 4 * part + 4])
        parts.assemble({})

    for n in range(1000):
        output, made = tmp_path / f"{n}.h5", []
        with from_call(n, steps, Killed) as calls:
            try:
                job(output)
            except Killed:
                finished = output.exists()
            else:
                break
        before = len(made)
        job(output)
        assert not finished or len(made) == before  # nothing is made again
        assert _same(data.read(output), bundled[:8])
        assert [path.name for path in tmp_path.glob(f"{n}.h5*")] == [f"{n}.h5"]
    assert calls[0] == n > 10


def test_a_job_that_finds_no_space_says_what_all_of_it_needs(
    bundled: Showers, tmp_path: Path
) -> None:
    parts = data.Parts(tmp_path / "out.h5", 10, REQUEST)
    with (
        from_call(3, ("pwrite",), _full),
        pytest.raises(data.NoSpaceError) as refused,
        parts.making(),
    ):
        parts.save(0, bundled[:8])
    assert list(tmp_path.iterdir()) == []  # nothing is there to resume
    data.Parts(tmp_path / "out.h5", 10, REQUEST).save(0, bundled[:8])
    size = next(tmp_path.glob("out.h5.parts/0*.h5")).stat().st_size
    assert refused.value.needed == pytest.approx(20 * size, rel=0.5)  # ten parts, and joined


@pytest.mark.parametrize("what", ["a folder", "no plain file"])
def test_an_output_that_is_no_file_is_refused_at_once(what: str, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    output.mkdir() if what == "a folder" else os.mkfifo(output)
    with pytest.raises(ValueError, match=f"is {what}: give"):
        data.Parts(output, 1, REQUEST)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_several_files_are_written_or_none(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "a" / "b" / "new"
    old.write_text("old")
    with from_call(1, ("replace",), _full), pytest.raises(data.NoSpaceError, match="9 bytes"):
        data.write_files({new: "1234", tmp_path / "c" / "d": b"56789"}, parents=True)
    assert [path.name for path in tmp_path.iterdir()] == ["c", "old"]
    with pytest.raises(ValueError, match="old is no folder"):
        data.write_files({old / "new": ""}, parents=True)


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    with data.replacing(tmp_path / "file") as temporary:
        dead = temporary.with_name(temporary.name.replace(str(os.getpid()), str(2**22 + 1)))
        dead.write_text("half")  # beyond the highest number that a process of Linux may have
        temporary.write_text("whole")
    with data.replacing(tmp_path / "file") as temporary:
        temporary.write_text("again")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
