"""Whoever does the tasks: in order, each result, each message, and no word is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chores import Board
from safetensors.torch import load_file

import caloforge as cf
from caloforge.generation import GenerationProgress
from caloforge.jobs import Executor, Processes, Serial, Task, find_executor
from caloforge.processes import WorkerDiedError
from caloforge.showers import VoxelShowers
from caloforge.training import load

ENERGIES = np.geomspace(1e3, 1e5, 43).astype(np.float32)
WARM = {"layers.warm_start": True}  # layer_01 begins with the weights of layer_02


def same(a: VoxelShowers, b: VoxelShowers) -> bool:
    columns = ("energy_inc", "offset", "index", "energy")
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    """Workers of dask on this machine."""
    distributed = pytest.importorskip("distributed")
    from caloforge.jobs.dask import Dask

    quiet = {"dashboard_address": ":0", "n_workers": 2, "threads_per_worker": 1}
    with distributed.LocalCluster(**quiet) as cluster, cluster.get_client() as client:
        yield Dask(client)


@pytest.fixture(params=["serial", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Executor:
    made: dict[str, Any] = {"serial": Serial, "processes": lambda: Processes(2)}
    if request.param == "dask":
        executor: Executor = request.getfixturevalue("dask")
        return executor
    return made[request.param]()


def chain(*names: str, reads: str = "") -> list[Task]:
    """Tasks that write files, each after the one that it reads."""
    before = (*names[1:], *([reads] if reads else []))
    return [
        Task(
            name,
            "chores:Board.write",
            {"name": name, "reads": list(before[i : i + 1])},
            before[i : i + 1],
        )
        for i, name in enumerate(names)
    ]


# ---------------------------------------------------------------- what a task is


def test_a_task_is_plain_and_can_be_called() -> None:
    assert Task("nine", "chores:square", {"x": 3}).run() == 9
    assert Task("nine", "operator:add", {}).run(4, 5) == 9


@pytest.mark.parametrize(
    "call", ["", "chores", "chores.square", "chores:cube", "nothing.here:square", "chores:__doc__"]
)
def test_a_task_that_calls_nothing_is_refused(call: str) -> None:
    with pytest.raises(ValueError, match="the task 'a' must call a function that can be imported"):
        Task("a", call)


@pytest.mark.parametrize(
    "arguments", [{"x": (1, 2)}, {"x": Path()}, {"x": float("nan")}, {"x": {1: 2}}, [1]]
)
def test_arguments_that_are_not_plain_are_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match="the task 'a' takes arguments in JSON's types"):
        Task("a", "chores:square", arguments)


# ---------------------------------------------------------------- what executors do


def test_results_come_by_key(executor: Executor) -> None:
    tasks = [Task(f"{x}²", "chores:square", {"x": x}) for x in range(20)]
    assert dict(executor.run(tasks)) == {f"{x}²": x**2 for x in range(20)}
    assert list(executor.run([])) == []


def test_a_task_begins_after_those_that_it_needs(executor: Executor, tmp_path: Path) -> None:
    """In whatever order they are given; tasks meet in files."""
    tasks = [*chain("a", "b", "c"), *chain("x", "y")]
    both = Task("both", "chores:Board.write", {"name": "both", "reads": ["a", "x"]}, ("a", "x"))
    done = [key for key, _ in executor.run([both, *tasks], shared=Board(tmp_path))]
    assert sorted(done) == ["a", "b", "both", "c", "x", "y"]
    assert done.index("c") < done.index("b") < done.index("a") < done.index("both")
    assert (tmp_path / "both").read_text() == "both a b c x y"


def test_what_is_shared_is_passed_once_to_each_worker(executor: Executor, tmp_path: Path) -> None:
    """However many tasks there are, no worker unpacks it twice."""
    tasks = chain(*"abcdefgh")
    journeys = {result for _, result in executor.run(tasks, shared=Board(tmp_path))}
    assert journeys == {0 if isinstance(executor, Serial) else 1}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (lambda: chain("a", "b", reads="a"), "need each other in a circle: (a|b) before"),
        (lambda: chain("a", "b", reads="c"), "the task b needs c, which is none of the tasks"),
        (lambda: chain("a") + chain("a"), "a key of its own, a comes twice"),
    ],
    ids=["circle", "missing", "twice"],
)
def test_impossible_orders_are_refused_before_anything_is_done(
    tasks: Any, said: str, executor: Executor, tmp_path: Path
) -> None:
    more = [*chain("first"), *tasks()]
    with pytest.raises(ValueError, match=said):
        executor.run(more, shared=Board(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_tasks_say_is_heard_in_their_order(executor: Executor) -> None:
    words = [f"word {i}" for i in range(50)]
    heard: list[str] = []
    tasks = [Task(f"{i}", "chores:say", {"words": words[10 * i : 10 * i + 10]}) for i in range(5)]
    workers = {worker for _, worker in executor.run(tasks, progress=heard.append)}
    assert (os.getpid() in workers) == isinstance(executor, Serial)
    assert sorted(heard) == sorted(words)
    for i in range(5):
        assert [word for word in heard if word in words[10 * i : 10 * i + 10]] == words[
            10 * i : 10 * i + 10
        ]


def test_reports_need_no_listener(executor: Executor) -> None:
    tasks = [Task(f"{i}", "chores:say", {"words": ["a"] * 1000}) for i in range(2)]
    assert len(list(executor.run(tasks))) == 2


def test_the_error_of_a_task_is_raised_as_itself(executor: Executor, tmp_path: Path) -> None:
    """What needs it is not begun."""
    tasks = [
        Task("a", "chores:fail", {"reason": "by zero"}),
        Task("b", "chores:square", {"x": 2}, ("a",)),
    ]
    with pytest.raises(ZeroDivisionError, match="by zero"):
        list(executor.run(tasks))


def test_an_error_of_the_listener_ends_the_run(executor: Executor) -> None:
    def interrupt(word: str) -> None:
        raise KeyboardInterrupt

    tasks = [Task(f"{i}", "chores:say", {"words": ["a"]}) for i in range(4)]
    with pytest.raises(KeyboardInterrupt):
        list(executor.run(tasks, progress=interrupt))


def test_a_run_that_is_left_is_stopped_and_can_be_done_again(
    executor: Executor, tmp_path: Path
) -> None:
    """Those that are done need not be done again: their files are there."""
    tasks = chain("a", "b", "c", "d")
    with closing(executor.run(tasks, shared=Board(tmp_path))) as finished:
        assert next(finished).key == "d"
        assert next(finished).key == "c"
    there = {file.name for file in tmp_path.iterdir()}
    assert there >= {"c", "d"}
    assert "a" not in there
    rest = [
        Task("b", "chores:Board.write", {"name": "b", "reads": ["c"]}),
        Task("a", "chores:Board.write", {"name": "a", "reads": ["b"]}, ("b",)),
    ]
    assert [key for key, _ in executor.run(rest, shared=Board(tmp_path))] == ["b", "a"]
    assert (tmp_path / "a").read_text() == "a b c d"


@pytest.mark.parametrize("executor", ["processes", "dask"], indirect=True)
def test_a_worker_that_dies_is_one_sentence(executor: Executor, tmp_path: Path) -> None:
    tasks = [Task("a", "chores:Board.die"), *chain("b", "c")]
    run = executor.run(tasks, shared=Board(tmp_path), work="test", remedy="do it again")
    with pytest.raises(
        WorkerDiedError, match=r"^a (process|worker) of the test died.*: do it again"
    ):
        list(run)


@pytest.mark.parametrize("executor", ["processes", "dask"], indirect=True)
def test_what_is_at_work_ends_with_the_run(executor: Executor, tmp_path: Path) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    tasks = [Task(name, "chores:Board.tick", {"name": name}) for name in "ab"]
    with pytest.raises(KeyboardInterrupt):
        list(executor.run(tasks, shared=Board(tmp_path), progress=interrupt))
    time.sleep(1)  # until its next word
    written = {path: path.stat().st_size for path in tmp_path.iterdir()}
    assert written
    assert max(written.values()) < 100
    time.sleep(0.5)
    assert written == {path: path.stat().st_size for path in tmp_path.iterdir()}


def test_workers_of_dask_that_share_a_process_are_refused() -> None:
    distributed = pytest.importorskip("distributed")
    from caloforge.jobs.dask import Dask

    shape = {"n_workers": 1, "threads_per_worker": 2, "processes": False}
    tasks = [Task("a", "chores:square", {"x": 2})]
    with (
        distributed.LocalCluster(**shape, dashboard_address=":0") as cluster,
        cluster.get_client() as client,
        pytest.raises(ValueError, match="needs workers of one thread, got one of 2: start"),
    ):
        list(Dask(client).run(tasks))


# ---------------------------------------------------------------- what users ask for


def test_an_executor_is_a_number_of_processes_or_itself() -> None:
    assert repr(find_executor(3)) == "Processes(3)"
    serial = Serial()
    assert find_executor(serial) is serial
    with pytest.raises(ValueError, match="processes must be 1 or more, got 0"):
        find_executor(0)
    with pytest.raises(ValueError, match=r"or an executor such as Processes.2., got 'two'"):
        find_executor("two")  # type: ignore[arg-type]


def test_one_task_needs_no_other_process() -> None:
    for processes in (Processes(1), Processes(2)):
        assert list(processes.run([Task("a", "chores:say", {"words": []})])) == [("a", os.getpid())]


def test_processes_share_the_processors() -> None:
    """Each has its part, whatever this process has."""
    tasks = [Task(name, "chores:threads") for name in "ab"]
    available = len(os.sched_getaffinity(0))
    expected = str(max(1, available // 2))
    assert dict(Processes(2).run(tasks)) == {"a": expected, "b": expected}


# ---------------------------------------------------------------- what is made by tasks


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of every process, so that sums are taken in the same order."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten showers a part, so that a job of 43 has five."""
    monkeypatch.setattr("caloforge.generation.production.PART_SIZE", 10)


@pytest.mark.parametrize("executor", ["processes", "dask"], indirect=True)
def test_stages_are_trained_to_the_same_bits(
    executor: Executor,
    slab: VoxelShowers,
    small: dict[str, object],
    one_thread: None,
    tmp_path: Path,
) -> None:
    """The second one begins with the weights of the first."""
    stages = ["layer_02", "layer_01"]
    heard: dict[str, set[str]] = {}
    found = {}
    for name, processes in {"serial": 1, "other": executor}.items():
        system = cf.build("l2lflows/tiny", slab.geometry, seed=4, overrides=small | WARM)
        heard[name] = set()
        cf.train(
            system,
            slab,
            run=tmp_path / name,
            stages=stages,
            processes=processes,
            progress=lambda progress, name=name: heard[name].add(progress.stage),
        )
        found[name] = {stage: system.stages[stage].state_dict() for stage in stages}
        found[f"{name} on disk"] = {
            stage: load_file(tmp_path / name / "stages" / stage / "weights.safetensors")
            for stage in stages
        }
    assert heard["serial"] == heard["other"] == set(stages)
    for other in found.values():
        for stage in stages:
            assert other[stage].keys() == found["serial"][stage].keys()
            for key, value in found["serial"][stage].items():
                assert torch.equal(value, other[stage][key]), (stage, key)


def interrupt(progress: GenerationProgress) -> None:
    """Press Ctrl-C when the second part is there."""
    if progress.done > 20:
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
def test_showers_are_generated_as_in_one_process(
    executor: Executor, run: Path, small_parts: None, one_thread: None, tmp_path: Path
) -> None:
    """In a file that was begun here and is resumed, part by part, by any worker."""
    system = load(run)
    job: dict[str, Any] = {"seed": 3, "batch_size": 5}
    kept = cf.generate(system, ENERGIES, **job)
    job["output"] = tmp_path / "left.h5"
    with pytest.raises(KeyboardInterrupt):
        cf.generate(system, ENERGIES, **job, progress=interrupt)
    seen: list[GenerationProgress] = []
    path = cf.generate(
        system,
        ENERGIES,
        **job,
        processes=executor,
        resume=True,
        progress=seen.append,
    )
    assert same(cf.read(path), kept)
    assert len(seen) == 5  # batches of the three other parts
    assert (seen[-1].done, seen[-1].n) == (43, 43)
    assert [path.name for path in tmp_path.iterdir()] == ["left.h5"]


@pytest.mark.parametrize("executor", ["processes", "dask"], indirect=True)
@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
def test_fine_showers_in_memory_are_as_in_one_process(
    executor: Executor,
    supercalo_run: Path,
    bundled: VoxelShowers,
    small_parts: None,
    one_thread: None,
) -> None:
    system, job = load(supercalo_run), {"seed": 3, "batch_size": 5}
    kept = cf.upsample(system, bundled[:13], **job)
    assert same(cf.upsample(system, bundled[:13], **job, processes=executor), kept)
