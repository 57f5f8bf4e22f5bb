"""Models go to a hub or a folder and come back the same; what does not fit is one clear line."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pretend_hub
import pytest
from pretend_hub import PretendHub

import caloforge as cf
from caloforge.training.sharing import (
    Checksums,
    MovingAddressWarning,
    folder_of,
    is_address,
    pull,
    push,
)

# the library's own, where it sends a large file without its storage in chunks
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "physics/library"
ADDRESS = f"hf://{NAME}"
WEIGHTS = "stages/bank/weights.safetensors"


def index(folder: Path) -> None:
    """Write the checksums of what lies in a folder."""
    (folder / "checksums.json").write_text(Checksums.of(folder).to_json())


@pytest.fixture
def model(library_run: Path, tmp_path: Path) -> Path:
    """A run folder with a card, which a test may change."""
    folder = tmp_path / "model"
    shutil.copytree(library_run, folder)
    (folder / "README.md").write_text("# A card\n")
    (folder / "card.json").write_text("{}")
    (folder / "stages/bank/log.csv").write_text("epoch\n")  # is no part of a model
    index(folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, where fetched models lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "caloforge" / "models"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PretendHub]:
    """An empty hub, whose owner is logged in."""
    settings = pytest.importorskip("huggingface_hub.constants")
    # its storage in chunks is not spoken here
    monkeypatch.setattr(settings, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(settings, "HF_HUB_CACHE", str(tmp_path / "library"))
    monkeypatch.setenv("HF_TOKEN", pretend_hub.TOKEN)
    with pretend_hub.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a file server of `tmp_path`."""
    handler = partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def shared(folder: Path) -> dict[str, bytes]:
    """What a model consists of: all that a card was written of, and no log."""
    whole = contents(folder)
    return {name: whole[name] for name in (*Checksums.read(folder).files, "checksums.json")}


def assert_same(found: Path, model: Path, address: str) -> None:
    """Nothing but the model came, and a note of its origin."""
    files = contents(found)
    assert json.loads(files.pop("origin.json")) == {"address": address}
    assert files == shared(model)
    energies = np.array([2e4, 5e4], np.float32)
    there, here = (cf.load(folder).generate(energies, seed=1) for folder in (found, model))
    assert np.array_equal(there.energy, here.energy)


# ---------------------------------------------------------------- there and back


def test_a_model_goes_to_the_hub_and_comes_back(
    model: Path, hub: PretendHub, tmp_path: Path
) -> None:
    address = push(model, ADDRESS)
    commit = list(hub.repositories[NAME])[-1]
    assert address == f"{ADDRESS}@{commit}"
    assert "stages/bank/log.csv" not in hub.repositories[NAME][commit]
    assert hub.large  # weights go where large files go
    assert pull(ADDRESS, tmp_path / "pulled") == address
    assert_same(tmp_path / "pulled", model, address)


def test_the_address_of_a_commit_stays_what_it_is(model: Path, hub: PretendHub) -> None:
    first = push(model, ADDRESS)
    (model / "README.md").write_text("# Another card\n")
    index(model)
    second = push(model, ADDRESS)
    assert first != second
    assert (folder_of(first) / "README.md").read_text() == "# A card\n"
    assert (folder_of(second) / "README.md").read_text() == "# Another card\n"


def test_a_moving_address_says_which_model_it_is(model: Path, hub: PretendHub) -> None:
    address = push(model, ADDRESS)
    with pytest.warns(MovingAddressWarning, match=f"may be another model tomorrow: .*{address}"):
        system = cf.load(ADDRESS)
    assert list(system.stages) == list(cf.load(model).stages)


def test_what_was_fetched_needs_no_network(
    model: Path, hub: PretendHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = push(model, ADDRESS)
    folder = folder_of(address)
    assert folder.is_relative_to(cache)
    hub.asked.clear()
    assert folder_of(address) == folder
    assert hub.asked == []


def test_a_repository_may_be_private(
    model: Path, hub: PretendHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(model, ADDRESS, private=True)
    assert hub.private == {NAME}
    pull(ADDRESS, tmp_path / "mine")
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(
        ValueError, match=r"there is no hf://physics/library, or it is private: .*log"
    ):
        pull(ADDRESS, tmp_path / "others")


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_model_goes_to_a_folder_and_comes_back(form: str, model: Path, tmp_path: Path) -> None:
    push(model, form.format(tmp_path / "there"))
    assert contents(tmp_path / "there") == shared(model)
    address = pull(form.format(tmp_path / "there"), tmp_path / "back")
    assert_same(tmp_path / "back", model, address)
    assert folder_of(f"file://{tmp_path / 'there'}") == tmp_path / "there"


def test_a_model_comes_from_a_file_server(model: Path, site: str, tmp_path: Path) -> None:
    address = pull(f"{site}/model/", tmp_path / "pulled")
    digest = hashlib.sha256((model / "checksums.json").read_bytes()).hexdigest()
    assert address == f"{site}/model#sha256={digest}"
    assert_same(tmp_path / "pulled", model, address)
    assert_same(folder_of(address), model, address)
    with pytest.warns(MovingAddressWarning, match=f"#sha256={digest}"):
        assert folder_of(f"{site}/model") == folder_of(address)


def test_a_path_is_its_own_folder(tmp_path: Path) -> None:
    assert folder_of(tmp_path) == tmp_path
    assert folder_of("runs/hf") == Path("runs/hf")
    assert is_address("hf://a/b")
    assert not is_address("hf/a")


# ---------------------------------------------------------------- what is refused

Damage = Callable[[Path], object]


def _rewritten(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """A file that was changed after its checksum was taken."""
    return lambda model: (model / name).write_bytes(change((model / name).read_bytes()))


def _indexed(values: Callable[[dict[str, Any]], object]) -> Damage:
    """Checksums that somebody wrote by hand."""

    def damage(model: Path) -> None:
        record = json.loads((model / "checksums.json").read_text())
        values(record)
        (model / "checksums.json").write_text(json.dumps(record))

    return damage


def _newer(model: Path) -> None:
    text = (model / "config.yaml").read_text()
    (model / "config.yaml").write_text(
        text.replace(f"caloforge: {cf.__version__}", "caloforge: 9.2")
    )
    index(model)


def _outside(name: str) -> Damage:
    return _indexed(lambda record: record["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))


FLAWS: dict[str, tuple[Damage, str]] = {
    "another file": (
        _rewritten(WEIGHTS, lambda content: content[:-1] + b"?"),
        f"{WEIGHTS} is another: expected the SHA-256 ",
    ),
    "a file cut off": (
        _rewritten(WEIGHTS, lambda content: content[:-9]),
        r"is cut off or another: expected",
    ),
    "no checksums": (
        lambda model: (model / "checksums.json").unlink(),
        "no caloforge model: it has no checksums.json",
    ),
    "a missing file": (lambda model: (model / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
    "checksums of something else": (
        _indexed(lambda record: record["files"].pop("config.yaml")),
        "does not name config.yaml: it is of no caloforge model",
    ),
    "checksums that are none": (
        _indexed(lambda record: record.update(files=[1])),
        "checksums.json is damaged: expected the size and the SHA-256",
    ),
    "checksums of a newer format": (
        _indexed(lambda record: record.update(format_version=2)),
        r"format 2, and this caloforge reads 1: install a newer one",
    ),
    "a newer model": (_newer, r"caloforge 9\.2, and this is .*: install a newer one"),
    "a place outside": (_outside("../evil.json"), "names '../evil.json', which no caloforge model"),
    "an absolute place": (_outside("/etc/evil.json"), "which no caloforge model has"),
    "code": (_outside("stages/bank/model.py"), "which no caloforge model has"),
    "a pickle": (_outside("stages/bank/weights.bin"), "which no caloforge model has"),
    "a file of any size": (
        _indexed(lambda record: record["files"]["config.yaml"].update(bytes=1 << 40)),
        "expected up to 1,048,576 bytes",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("place", ["hub", "server"])
def test_a_flawed_model_is_refused_and_leaves_nothing(
    place: str, flaw: str, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    damage, words = FLAWS[flaw]
    damage(model)
    server = request.getfixturevalue("hub" if place == "hub" else "site")
    if place == "hub":
        server.commit(NAME, contents(model))
    address = ADDRESS if place == "hub" else f"{server}/model"
    with pytest.raises(ValueError, match=words) as refused:
        pull(address, tmp_path / "pulled")
    assert "\n" not in str(refused.value)
    assert address in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir() if "pulled" in path.name) == []


def test_a_file_that_the_hub_sends_cut_off_is_refused(
    model: Path, hub: PretendHub, tmp_path: Path
) -> None:
    push(model, ADDRESS)
    hub.served[WEIGHTS] = (model / WEIGHTS).read_bytes()[:-9]
    with pytest.raises(ValueError, match=f"{WEIGHTS} is cut off or another: expected"):
        pull(ADDRESS, tmp_path / "pulled")


def test_another_model_than_the_checksum_says_is_refused(
    model: Path, site: str, tmp_path: Path
) -> None:
    address = pull(f"{site}/model", tmp_path / "pulled")
    (model / "README.md").write_text("# Another\n")
    index(model)
    for fetch in (folder_of, partial(pull, output=tmp_path / "again")):
        with pytest.raises(ValueError, match="holds another model now"):
            fetch(address)


def test_what_was_changed_in_the_cache_is_refused(model: Path, hub: PretendHub) -> None:
    address = push(model, ADDRESS)
    folder = folder_of(address)
    (folder / "README.md").write_text("# Another\n")
    with pytest.raises(ValueError, match=r"was changed since it was fetched: remove it \(README"):
        cf.load(address)


REFUSED = {
    "no repository": ("hf://physics/none", ValueError, "there is no hf://physics/none, or it is"),
    "no revision": (f"{ADDRESS}@v7", ValueError, "has no revision v7"),
    "no address": ("hf://library", ValueError, "expected an address such as hf://owner/name"),
    "a place outside": ("hf://../library", ValueError, "expected an address such as hf://owner"),
    "no server": ("http://127.0.0.1:1/model", ConnectionError, "cannot be reached"),
    "no folder": ("/nowhere/at/all", ValueError, "holds no model to be shared"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_there_is_one_line(
    case: str, model: Path, hub: PretendHub, tmp_path: Path
) -> None:
    push(model, ADDRESS)
    address, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words) as refused:
        pull(address, tmp_path / "pulled")
    assert "\n" not in str(refused.value)


def test_no_permission_is_one_line(
    model: Path, hub: PretendHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(model, ADDRESS)
    hub.gated.add(NAME)
    with pytest.raises(PermissionError, match="asks for its owner's permission"):
        pull(ADDRESS, tmp_path / "pulled")
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(PermissionError, match=r"no permission to write to hf://physics/other: log"):
        push(model, "hf://physics/other")


def test_a_hub_that_is_silent_is_one_line(
    hub: PretendHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConnectionError, match="hf://physics/library cannot be reached") as refused:
        pull(ADDRESS, tmp_path / "pulled")
    assert "\n" not in str(refused.value)


def test_a_run_without_a_card_stays_here(model: Path, tmp_path: Path) -> None:
    (model / "README.md").unlink()
    with pytest.raises(ValueError, match=r"has no README\.md: write its card first"):
        push(model, str(tmp_path / "there"))


def test_a_run_that_changed_since_its_card_stays_here(model: Path, tmp_path: Path) -> None:
    (model / WEIGHTS).write_bytes(b"")
    with pytest.raises(ValueError, match=r"was changed since its card was written"):
        push(model, str(tmp_path / "there"))


def test_a_link_is_not_followed(model: Path, tmp_path: Path) -> None:
    (model / WEIGHTS).rename(tmp_path / "elsewhere")
    (model / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link: expected a file"):
        push(model, str(tmp_path / "there"))
    with pytest.raises(ValueError, match="is a link: expected a file"):
        pull(str(model), tmp_path / "back")


def test_a_folder_that_holds_something_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a year of work")
    for call in (lambda there: push(model, there), lambda there: pull(str(model), there)):
        with pytest.raises(
            ValueError, match="mine exists already and is not empty: choose another folder"
        ):
            call(str(tmp_path / "mine"))


def test_a_server_takes_nothing(model: Path, site: str) -> None:
    with pytest.raises(ValueError, match="can only be read: push to the folder that this server"):
        push(model, f"{site}/there")
