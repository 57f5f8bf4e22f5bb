"""Timing by the CaloChallenge's protocol: known durations, warm-up, limits, one process a row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.cascade import SamplingOptions
from caloforge.cascade.described import preset_of
from caloforge.generation import Timing, TimingProgress, TimingRow, time_generation
from caloforge.generation.stopwatch import TooLongError, Worker, elapsed, stopwatch, timed_runs
from caloforge.processes import WorkerDiedError
from caloforge.showers import VoxelShowers
from caloforge.training import RunFolder


class Drawing:
    """Samples in a known time: a quarter of a second a batch and 1/64 s a shower, the first slower.

    All durations are sums of powers of two, so that times per shower are exact.
    """

    def __init__(
        self,
        slower: dict[int, float] | None = None,
        broken: dict[int, Exception] | None = None,
    ) -> None:
        self.slower, self.broken = slower or {}, broken or {}
        self.asked: list[tuple[int, int, int]] = []

    def seconds(self, batch_size: int, n_batches: int, seed: int) -> float:
        cold = 4.0 if not self.asked else 0.0
        self.asked.append((batch_size, n_batches, seed))
        if batch_size in self.broken:
            raise self.broken[batch_size]
        return n_batches * (0.25 + batch_size / 64) * self.slower.get(seed, 1.0) + cold

    def peak_memory(self) -> int:
        return 512_000_000

    def cpu_share(self) -> float:
        return 0.75


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Drawing], Drawing]:
    """Let `time_generation` time this instead of a system."""

    def put(drawing: Drawing) -> Drawing:
        @contextmanager
        def fake(
            run: str, device: str, threads: int, options: SamplingOptions
        ) -> Iterator[Drawing]:
            drawing.asked.clear()  # a new process
            yield drawing

        monkeypatch.setattr("caloforge.generation.timing.stopwatch", fake)
        return drawing

    return put


# ---------------------------------------------------------------- the arithmetic


def test_the_time_per_shower_is_the_seconds_of_a_run_over_its_showers() -> None:
    n, times = timed_runs(Drawing().seconds, 64, runs=4, limit=1e3)
    assert n == 4 * 64  # 1.25 s a batch, so that 5 s are four
    assert times == [1e3 * 1.25 / 64] * 4


def test_the_warm_up_is_not_counted_and_every_run_has_its_own_seed() -> None:
    system = Drawing()
    timed_runs(system.seconds, 128, runs=3, limit=1e3, seed=7)
    assert system.asked == [
        *[(size, 1, 7) for size in (1, 1, 10, 100, 128)],
        *[(128, 2, seed) for seed in (8, 9, 10)],
    ]


@pytest.mark.parametrize(
    ("batch_size", "warm_up"),
    [(1, [1, 1]), (2, [1, 1, 2]), (10, [1, 1, 10]), (10_000, [1, 1, 10, 100, 1000, 10_000])],
)
def test_the_warm_up_ends_with_the_batch_size(batch_size: int, warm_up: list[int]) -> None:
    system = Drawing()
    timed_runs(system.seconds, batch_size, runs=1, limit=1e4)
    assert [asked[0] for asked in system.asked[:-1]] == warm_up


@pytest.mark.parametrize(("n_showers", "expected"), [(1, 64), (64, 64), (65, 128), (1000, 1024)])
def test_a_run_is_whole_batches(n_showers: int, expected: int) -> None:
    n, _ = timed_runs(Drawing().seconds, 64, runs=2, limit=1e3, n_showers=n_showers)
    assert n == expected


def test_a_batch_longer_than_a_run_is_a_run() -> None:
    n, times = timed_runs(Drawing().seconds, 1024, runs=2, limit=1e3)
    assert n == 1024
    assert times == [1e3 * 16.25 / 1024] * 2


# ---------------------------------------------------------------- the limit


def test_a_limit_shortens_the_runs() -> None:
    # the warm-up takes 4 + 2 * 0.265625 + 0.40625 + 1.25 s, ten runs of a batch 12.5 s
    warm_up = 6.1875
    n, _ = timed_runs(Drawing().seconds, 64, runs=10, limit=warm_up + 37.5)
    assert n == 3 * 64
    n, _ = timed_runs(Drawing().seconds, 64, runs=10, limit=warm_up + 37.4)
    assert n == 2 * 64
    n, _ = timed_runs(Drawing().seconds, 64, runs=10, limit=warm_up + 12.5, n_showers=1000)
    assert n == 64


def test_without_a_limit_a_run_has_its_length() -> None:
    n, _ = timed_runs(Drawing().seconds, 64, runs=10, limit=float("inf"))
    assert n == 4 * 64


def test_a_limit_that_allows_no_run_of_a_batch_says_how_long_it_takes() -> None:
    system = Drawing()
    with pytest.raises(TooLongError, match=r"a batch takes 1\.25 s, 10 runs 12\.5 s.*limit of 18"):
        timed_runs(system.seconds, 64, runs=10, limit=18)
    assert len(system.asked) == 4  # nothing but the warm-up


def test_no_batch_is_begun_that_would_break_the_limit() -> None:
    system = Drawing()
    # 1000 showers take 15.9 s, so that 10,000 are expected to take 159 s
    with pytest.raises(TooLongError, match="a batch takes about 159 s, with a limit of 60 s"):
        timed_runs(system.seconds, 10_000, runs=1, limit=60)
    assert max(asked[0] for asked in system.asked) == 1000


# ---------------------------------------------------------------- the clock


def test_an_accelerator_is_synchronised_before_the_clock_is_read() -> None:
    calls: list[str] = []
    readings = iter([100.0, 103.5])

    def clock() -> float:
        calls.append("clock")
        return next(readings)

    found = elapsed(lambda: calls.append("work"), lambda: calls.append("synchronize"), clock=clock)
    assert found == 3.5
    assert calls == ["synchronize", "clock", "work", "synchronize", "clock"]


def test_what_is_timed_is_drawing_showers(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sampled: list[np.ndarray] = []
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    chosen = SamplingOptions(postprocess=False)
    Worker.begin(str(run), "cpu", 1, chosen)
    draw = Worker.system.draw

    def spied(particles: cf.Particles, **options: object) -> object:
        assert options["options"] == chosen
        calls.append("draw")
        sampled.append(particles.energy)
        return draw(particles, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker.system, "draw", spied)
    device = SimpleNamespace(synchronize=lambda: calls.append("synchronize"))
    monkeypatch.setattr(torch, "get_device_module", lambda name: device)
    assert Worker.seconds(4, 3, seed=5) > 0
    assert calls == ["synchronize", "draw", "draw", "draw", "synchronize"]
    expected = cf.generation.training_energies(RunFolder(run).config(), 12, 5)
    assert np.array_equal(np.concatenate(sampled), expected)


# ---------------------------------------------------------------- rows

Put = Callable[[Drawing], Drawing]


def test_a_row_is_mean_and_population_standard_deviation(run: Path, drawing: Put) -> None:
    drawing(Drawing(slower={4: 1.0, 5: 2.0, 6: 3.0, 7: 2.0}))
    timing = time_generation(run, batch_sizes=[64], runs=4, seed=3, threads=2)
    ms = 1e3 * 1.25 / 64
    assert timing.rows == (
        TimingRow("cpu", 2, 64, 256, 4, 2 * ms, pytest.approx(0.5**0.5 * ms), 512.0, 0.75),
    )


def test_a_row_for_each_batch_size_in_their_order_and_progress_to_the_end(
    run: Path, drawing: Put
) -> None:
    drawing(Drawing(broken={1000: MemoryError()}))
    seen: list[TimingProgress] = []
    timing = time_generation(run, batch_sizes=(64, 1000, 1), runs=2, progress=seen.append)
    assert [row.batch_size for row in timing.rows] == [64, 1000, 1]
    ms = {64: 1e3 * 1.25 / 64, 1: 1e3 * 0.265625}
    assert [(s.batch_size, s.done, s.ms_per_shower) for s in seen] == [
        (64, 0, None),
        (64, 1, ms[64]),
        (64, 2, ms[64]),
        (1000, 2, None),
        (1000, 4, None),
        (1, 4, None),
        (1, 5, ms[1]),
        (1, 6, ms[1]),
    ]
    assert {s.n for s in seen} == {6}


OUT_OF_MEMORY = {
    "killed": (WorkerDiedError("a process was killed"), "process was killed"),
    "python": (MemoryError(), "out of memory"),
    "gpu": (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
    "cpu": (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "out of memory"),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_what_does_not_fit_into_memory_is_a_row_that_says_so(
    kind: str, run: Path, drawing: Put
) -> None:
    error, reason = OUT_OF_MEMORY[kind]
    drawing(Drawing(broken={100: error}))
    small, large = time_generation(run, batch_sizes=(10, 100)).rows
    assert small.ms_per_shower is not None
    assert small.reason is None
    assert large.reason is not None
    assert reason in large.reason
    assert (large.n_showers, large.runs) == (0, 10)
    assert large.ms_per_shower is large.ms_per_shower_std is large.peak_memory_MB is None


def test_what_takes_too_long_is_a_row_that_says_so(run: Path, drawing: Put) -> None:
    drawing(Drawing())
    short, long = time_generation(run, batch_sizes=(1, 10_000), limit=200).rows
    assert short.reason is None
    assert long.ms_per_shower is None
    assert long.reason == "a batch takes 156 s, 10 runs 1.56e+03 s, with a limit of 200 s"


@pytest.mark.parametrize("error", [FloatingPointError("not finite"), RuntimeError("broken")])
def test_other_errors_are_not_swallowed(error: Exception, run: Path, drawing: Put) -> None:
    drawing(Drawing(broken={1: error}))
    with pytest.raises(type(error), match=str(error)):
        time_generation(run, batch_sizes=(1,))


# ---------------------------------------------------------------- a trained system


@pytest.fixture(scope="module")
def timing(run: Path) -> Timing:
    """A row of a trained system, timed by a process that is itself large."""
    mine = np.ones(150_000_000)  # 1200 MB
    timing = time_generation(run, batch_sizes=[15], runs=2, n_showers=30)
    assert mine[-1] == 1
    return timing


def test_a_trained_system_is_timed(timing: Timing, run: Path) -> None:
    (row,) = timing.rows
    assert (row.device, row.threads, row.batch_size) == ("cpu", 1, 15)
    assert (row.n_showers, row.runs, row.reason) == (30, 2, None)
    assert row.ms_per_shower is not None
    assert row.ms_per_shower > 0
    assert row.ms_per_shower_std is not None
    assert row.cpu_share is not None
    assert 0 < row.cpu_share < 1.1  # of one thread
    system = cf.load(run)
    assert timing.parameters == system.n_parameters
    assert timing.sequential_passes == sum(system.sequential_passes.values())
    assert (timing.run, timing.system, timing.geometry) == ("slab", "l2lflows", "slab")
    assert timing.preset is None  # smaller than any preset
    assert "2 runs" in timing.protocol


def test_peak_memory_is_that_of_the_rows_own_process(timing: Timing) -> None:
    (row,) = timing.rows
    assert row.peak_memory_MB is not None
    assert 50 < row.peak_memory_MB < 1000  # a process with PyTorch, without our 1200 MB


def test_the_machine_and_the_versions_are_recorded(timing: Timing) -> None:
    assert timing.hardware["cpu"]
    assert timing.hardware["bf16"] in (None, "amx_bf16", "avx512_bf16")
    assert timing.hardware["cores"] == os.cpu_count()
    assert timing.hardware["memory_GB"] > 0.5
    assert timing.hardware["gpu"] is None
    assert timing.software["caloforge"] == cf.__version__
    assert timing.software["torch"] == torch.__version__
    assert timing.software["python"].startswith("3.")


def test_json_and_back(timing: Timing) -> None:
    text = timing.to_json()
    values = json.loads(text)
    assert Timing.from_dict(values) == timing
    assert values["format_version"] == 1
    counts = timing.parameters
    assert values["parameters"] == {"total": sum(counts.values()), "stages": counts}
    assert values["rows"][0]["ms_per_shower"] == timing.rows[0].ms_per_shower
    del values["sequential_passes"]  # as in the first files
    assert Timing.from_dict(values).rows == timing.rows
    values["solvers"] = values.pop("choices") | {"solver": "bns-8"}
    assert Timing.from_dict(values).choices == {"solver": "bns-8"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "expected a timing of format 1, got 2: measure it again"),
        ({"rows": [{"device": "cpu"}]}, "damaged"),
        ({"parameters": {}}, "damaged"),
        ({"surprise": 1}, "damaged"),
    ],
)
def test_a_foreign_file_is_refused(change: dict[str, object], message: str, timing: Timing) -> None:
    with pytest.raises(ValueError, match=message):
        Timing.from_dict({**json.loads(timing.to_json()), **change})


def test_the_preset_is_known_by_its_settings(slab: VoxelShowers) -> None:
    assert preset_of(cf.build("l2lflows/tiny", slab.geometry)) == "l2lflows/tiny"
    other = cf.build("l2lflows/tiny", slab.geometry, overrides={"layers.blocks": 3})
    assert preset_of(other) is None


def test_the_process_has_the_threads_asked_for_and_we_keep_ours(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with stopwatch(run, "cpu", threads=3) as watch:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        found = [watch.process.submit(os.getenv, name).result() for name in names]
        assert found == ["3"] * 3
        assert watch.process.submit(torch.get_num_threads).result() == 3
        assert watch.process.submit(os.getpid).result() != os.getpid()
    assert dict(os.environ) == before


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_sizes": ()}, "one batch size or more, got none"),
        ({"devices": ()}, "one device or more, got none"),
        ({"batch_sizes": (10, 0)}, "batch size must be positive, got 0"),
        ({"threads": 0}, "threads must be positive, got 0"),
        ({"runs": 0}, "runs must be positive, got 0"),
        ({"n_showers": 0}, "n_showers must be positive, got 0"),
        ({"limit": float("nan")}, "limit must be positive, got nan"),
        ({"devices": ("cpu", "tpu")}, "expected the device auto, cpu or cuda, got 'tpu'"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_timed(
    wrong: dict[str, object], message: str, run: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        time_generation(run, **wrong)  # type: ignore[arg-type]


def test_an_accelerator_that_is_not_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no accelerator"):
        time_generation(run, devices=("cpu", "cuda"))


def test_a_run_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no run folder"):
        time_generation(tmp_path)
