"""How fast a file of showers is read into dense batches on one core, and how much memory it takes.

    python benchmarks/reading.py showers.h5 [more.h5 …] -o benchmarks/results/reading.json

The showers of each file are repeated to fill files of 10,000 and 40,000 showers, in the sparse
form as `caloforge.data.create` writes it. Each is read once from beginning to end in batches of
dense showers, in a process of its own. `seconds` is time by the clock and `seconds_cpu` time of the
processor, without what other processes take; `peak_MB` is the resident memory of the process at
its highest, `before_MB` that before the file was opened.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def repeat(source: Path, target: Path, n: int) -> int:
    """Fill a file with n showers, those of the source again and again; returns its entries."""
    from caloforge import data

    n_entries = 0
    with data.open_showers(source) as file, data.create(target, file.geometry) as writer:
        left = n
        while left:
            for batch in file.batches(1000):
                taken = batch[:left]
                writer.append(taken)
                left -= len(taken)
                n_entries += len(taken.energy)
                if not left:
                    break
    return n_entries


def memory(kind: str) -> float:
    """Resident memory of this process [MB]: VmRSS now, VmHWM at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no line {kind}")


def full_pass(path: Path, batch_size: int) -> dict[str, Any]:
    """Read the file once; run in a process of its own."""
    from caloforge import data

    before = memory("VmRSS")
    clock, cpu, n = time.perf_counter(), time.process_time(), 0
    with data.open_showers(path) as file:
        for batch in file.batches(batch_size):
            n += len(batch.dense())
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    return {
        "seconds": round(clock, 3),
        "seconds_cpu": round(cpu, 3),
        "showers_per_s": round(n / clock),
        "showers_per_cpu_s": round(n / cpu),
        "before_MB": round(before),
        "peak_MB": round(memory("VmHWM")),
    }


def in_own_process(path: Path, batch_size: int, repeats: int) -> dict[str, Any]:
    """The fastest of several passes, each in a fresh process with one thread."""
    command = [sys.executable, __file__, "--pass", str(path), "--batch-size", str(batch_size)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    passes = [
        json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
        for _ in range(repeats)
    ]
    return min(passes, key=lambda one: one["seconds"])


def facts() -> dict[str, Any]:
    import h5py
    import numpy as np

    from caloforge.generation.timing import hardware

    return {
        "machine": hardware(["cpu"]),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pass", dest="one_pass", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one_pass:
        print(json.dumps(full_pass(asked.sources[0], asked.batch_size)))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for source in asked.sources:
            for n in (10_000, 40_000):
                path = Path(folder) / "showers.h5"
                n_entries = repeat(source, path, n)
                result = {
                    "showers_of": source.stem,
                    "n": n,
                    "entries_per_shower": round(n_entries / n),
                    "file_MB": round(path.stat().st_size / 1e6, 1),
                    "batch_size": asked.batch_size,
                    **in_own_process(path, asked.batch_size, asked.repeats),
                }
                print(json.dumps(result))
                results.append(result)
    if asked.output:
        asked.output.write_text(json.dumps({**facts(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
