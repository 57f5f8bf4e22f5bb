"""Workers end with the process that asked for them, and leave the word to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from caloforge.processes import WorkerDiedError, uninterrupted, worker_pool

SLEEPING = """
import os, time
from caloforge.processes import worker_pool

if __name__ == "__main__":
    try:
        with worker_pool(2, work="test", remedy="again") as pool:
            tasks = [pool.submit(time.sleep, 0.2), pool.submit(os.getpid)]
            others = [pool.submit(os.getpid) for _ in range(4)]
            print(*{task.result() for task in (*tasks, *others)} - {None}, flush=True)
            sleep = [pool.submit(time.sleep, 600) for _ in range(2)]
            sleep[0].result()
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard, though whoever runs the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # dead, but not yet reaped by whoever inherited it


@pytest.mark.parametrize("how", ["killed", "interrupted with its group"])
def test_workers_end_with_their_parent(how: str, tmp_path: Path) -> None:
    script = tmp_path / "sleeping.py"
    script.write_text(SLEEPING)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert workers
        if how == "killed":
            parent.kill()
        else:
            os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=30)
        deadline = time.monotonic() + 5
        while any(map(_is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(_is_alive, workers))
    if how != "killed":
        assert (parent.returncode, out, err) == (0, "stopped\n", "")


def test_a_worker_that_dies_is_one_sentence() -> None:
    with (
        pytest.raises(WorkerDiedError, match=r"the test died \(killed by SIGKILL, .*\): again"),
        worker_pool(1, work="test", remedy="again") as pool,
    ):
        pool.submit(signal.raise_signal, signal.SIGKILL).result()


def test_a_signal_waits_until_the_block_ends() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (what comes after it is the point)
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("the block")
        done.append("more")
    assert done == ["the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
