"""Which small changes to the code no test near them would notice: mutation testing by sample.

    make mutants      # or, with cosmic-ray installed:
    python benchmarks/mutants.py -n 200 --seed 1 --processes 2 -o mutants.json

Of all places in `TESTS` where cosmic-ray knows a change (another operator, a comparison turned
round, a number off by one, a loop that is never entered), n are sampled with equal chances, and one
change for each. Every mutant is a copy of the source with that one change, on which the tests of
its module are run until the first one fails, or until `--timeout` seconds of the processor are
spent. It is killed by either; one that lives is printed as a difference, to be judged by a person:
some are the same in other words. Numbers in presets are settings, which no test need know, and are
left out. 200 mutants take about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import difflib
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

# What every test needs is loaded once, before the processes part.
import h5py  # noqa: F401
import lightning_fabric  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import sklearn.neighbors  # noqa: F401
import torch

FORK = multiprocessing.get_context("fork")

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/caloforge")
# Tests by the beginning of the path of the modules that they concern; the longest one counts.
TESTS = {
    "training/": "training",
    "flows/": "flows contracts/test_bijections.py",
    "evaluation/metrics/": "evaluation/test_points.py evaluation/test_wasserstein.py",
    "evaluation/metrics/correlation": "evaluation/test_correlation.py",
    "evaluation/metrics/high_level": "evaluation/test_physics_distance.py",
    "evaluation/metrics/neighbours": "evaluation/test_neighbours.py",
    "evaluation/metrics/physics_distance": "evaluation/test_physics_distance.py",
    "evaluation/metrics/separation": "evaluation/test_separation.py",
    "systems/": "systems",
    "systems/l2lflows/": "systems/test_l2lflows*.py systems/test_likelihood.py",
    "systems/supercalo/": "systems/test_supercalo*.py",
    "systems/calodream/": "systems/test_calodream*.py",
    "systems/caloclouds/": "systems/caloclouds contracts/test_points.py",
}
LEFT_OUT = ("BitOr", "ExceptionReplacer", "RemoveDecorator", "Variable")  # types, mostly; not tests


@dataclass
class Mutant:
    """One change: where, which, and what became of it."""

    module: str
    line: int
    operator: str
    difference: str
    code: str
    outcome: str = ""


def places(module: Path) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Operators of cosmic-ray and their occurrences, by the place in a module that they change."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast((ROOT / module).read_text())
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in sorted(operator_names()):
        if any(word in name for word in LEFT_OUT):
            continue
        operator, occurrence = get_operator(name)(), 0
        for node in ast_nodes(tree):
            for start, _ in operator.mutation_positions(node):
                found.setdefault(start, []).append((name, occurrence))
                occurrence += 1
    return found


def sampled(n: int, seed: int) -> Iterator[Mutant]:
    """n mutants at different places."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    modules = sorted(
        path.relative_to(ROOT)
        for path in (ROOT / SOURCE).rglob("*.py")
        if path.relative_to(ROOT / SOURCE).as_posix().startswith(tuple(TESTS))
        and path.name not in ("presets.py", "__init__.py")
    )
    chance = random.Random(seed)
    all_places = [(module, *item) for module in modules for item in sorted(places(module).items())]
    print(f"{len(all_places):,} places in {len(modules)} modules")
    for module, (line, _), changes in chance.sample(all_places, n):
        before = (ROOT / module).read_text()
        name, occurrence = chance.choice(changes)
        after = mutate_code(before, get_operator(name)(), occurrence)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
        difference = "\n".join(list(lines)[2:])
        yield Mutant(str(module), line, name.removeprefix("core/"), difference, after)


def unchanged(modules: set[str]) -> Iterator[Mutant]:
    """For each set of tests a mutant that is none, which has to live."""
    for module in {tuple(tests_of(module)): module for module in sorted(modules)}.values():
        yield Mutant(module, 0, "", "", (ROOT / module).read_text())


def tests_of(module: str) -> list[str]:
    """The test files that concern a module."""
    path = Path(module).relative_to(SOURCE).as_posix()
    prefix = max((known for known in TESTS if path.startswith(known)), key=len)
    found = (sorted((ROOT / "tests").glob(pattern)) for pattern in TESTS[prefix].split())
    return [str(test.relative_to(ROOT)) for tests in found for test in tests]


def judge(mutant: Mutant, tree: Path, seconds: int) -> str:
    """Run the tests on the tree with the mutant in it; the tree is whole again afterwards."""
    changed = tree / mutant.module
    before = changed.read_text()
    changed.write_text(mutant.code)
    process = FORK.Process(target=run_tests, args=(tree, tests_of(mutant.module), seconds))
    process.start()
    process.join(10 * seconds)  # for tests that wait
    if process.is_alive():
        process.kill()
        process.join()
    changed.write_text(before)
    return "lived" if process.exitcode == 0 else "killed" if process.exitcode > 0 else "timeout"


def run_tests(tree: Path, tests: list[str], seconds: int) -> None:
    """Leave this process with pytest's exit code, or by a signal after so many seconds of work."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    os.chdir(tree)
    sys.path[:0] = [str(tree / "src"), str(tree / "tests/contracts")]
    os.environ["PYTHONPATH"] = str(tree / "src")
    sys.dont_write_bytecode = True
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=200, help="mutants to sample")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=120, help="seconds of work for a mutant")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mutants = list(sampled(arguments.n, arguments.seed))
    with tempfile.TemporaryDirectory() as scratch:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(arguments.processes):
            tree = Path(scratch) / str(number) / "tree"
            for part in ("src", "tests"):
                shutil.copytree(
                    ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__")
                )
            shutil.copy(ROOT / "pyproject.toml", tree)
            (tree.parent / "shared").symlink_to(ROOT.parent / "shared")  # what some tests ask for
            trees.put(tree)

        def judged(mutant: Mutant) -> Mutant:
            tree = trees.get()
            try:
                mutant.outcome = judge(mutant, tree, arguments.timeout)
            finally:
                trees.put(tree)
            return mutant

        with ThreadPoolExecutor(arguments.processes) as pool:
            for control in pool.map(judged, unchanged({mutant.module for mutant in mutants})):
                assert control.outcome == "lived", f"tests of {control.module} fail by themselves"
            for number, mutant in enumerate(pool.map(judged, mutants), 1):
                print(f"{number}/{len(mutants)} {mutant.module}:{mutant.line} {mutant.outcome}")
                if mutant.outcome == "lived":
                    print(mutant.difference, flush=True)
                rows = [{**asdict(m), "code": None} for m in mutants if m.outcome]
                arguments.output.write_text(json.dumps(rows, indent=1))
    lived = sum(mutant.outcome == "lived" for mutant in mutants)
    print(f"{len(mutants) - lived} of {len(mutants)} mutants killed")


if __name__ == "__main__":
    main()
