"""`import caloforge` costs nothing and changes nothing; what the package promises is there."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caloforge as cf

IMPORT_ALONE = """
import json, os, random, sys
before = dict(os.environ), random.getstate()
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import caloforge
print(json.dumps({
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "opened": [name for name in opened if not name.endswith((".py", ".pyc"))],
    "unchanged": before == (dict(os.environ), random.getstate()),
}))
"""

# Libraries set variables of their own when they are first imported: the second import runs the
# package's code alone.
IMPORT_EVERYTHING = """
import importlib, json, os, pkgutil, random, sys
import numpy, torch
def state():
    return {
        "environment": dict(os.environ),
        "random": repr(random.getstate()),
        "numpy": repr(numpy.random.get_state()),
        "numpy errors": numpy.geterr(),
        "torch": torch.initial_seed(),
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
    }
def import_everything():
    import caloforge
    for module in pkgutil.walk_packages(caloforge.__path__, "caloforge."):
        importlib.import_module(module.name)
before = state()
import_everything()
packages = [name for name in sys.modules if name.partition(".")[0] == "caloforge"]
for package in packages:
    del sys.modules[package]
os.environ.clear()
os.environ.update(before["environment"])
random.seed(7), numpy.random.seed(7), torch.manual_seed(7)
before |= {name: state()[name] for name in ("random", "numpy", "torch")}
import_everything()
after = state()
print(json.dumps({"changed": [name for name in before if before[name] != after[name]],
                  "packages": packages}))
"""

READ_SHOWERS = """
import json, sys
import caloforge as cf
cf.geometry_preset("calochallenge-2"), cf.VoxelShowers, cf.PointShowers, cf.read, cf.write
print(json.dumps({"modules": sorted(sys.modules)}))
"""


def run_python(program: str) -> dict[str, Any]:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def test_import_loads_nothing_but_the_standard_library() -> None:
    untouched = run_python("import json, sys; print(json.dumps({'modules': list(sys.modules)}))")
    told = run_python(IMPORT_ALONE)
    assert told["opened"] == []
    assert told["unchanged"]
    assert set(told["modules"]) - set(untouched["modules"]) - sys.stdlib_module_names == {
        "caloforge"
    }


def test_importing_every_module_sets_no_seed_no_dtype_and_no_environment() -> None:
    told = run_python(IMPORT_EVERYTHING)
    assert told["changed"] == []
    assert {"caloforge.showers", "caloforge.training"} <= set(told["packages"])


def test_showers_are_read_without_torch() -> None:
    modules = run_python(READ_SHOWERS)["modules"]
    assert "h5py" in modules
    assert "torch" not in modules


@pytest.mark.parametrize("name", [name for name in cf.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    public = getattr(cf, name)
    assert callable(public)
    assert public.__doc__
    assert public.__module__.startswith("caloforge.")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'shower'"):
        _ = cf.shower


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (importlib.resources.files("caloforge") / "py.typed").is_file()


def test_the_changelog_knows_this_version() -> None:
    changelog = Path(__file__).parents[1] / "CHANGELOG.md"
    assert f"## {cf.__version__}" in changelog.read_text(encoding="utf-8")
