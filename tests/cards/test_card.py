"""A card says what the run folder and the commands have said, and what was not measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import caloforge as cf
from caloforge.cards import write_card
from caloforge.cards.figures import _FIGURES, _OTHERWISE
from caloforge.cards.readme import readme
from caloforge.data import open_showers
from caloforge.devices import hardware
from caloforge.evaluation import Scores
from caloforge.generation.timing import Timing, TimingRow
from caloforge.geometry import geometry_preset
from caloforge.report.detector import draw_detector
from caloforge.report.figures import draw, encode_small
from caloforge.report.panels import sections
from caloforge.showers import PointShowers, VoxelShowers
from caloforge.training.sharing import Checksums, pull, push

pytestmark = [
    pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning"),
    pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning"),
]

COMMAND = "caloforge simulate --geometry calochallenge-2 -n 200"
HEADINGS = (
    *("How to use it", "Detector", "Training", "Scores", "Known faults", "Speed and size"),
    *("What is missing", "Licence and citation", "Checksums"),
)


@dataclass(frozen=True)
class Judged:
    """A run folder, an evaluation of its showers with two figures, and its time."""

    run: Path
    evaluation: Path
    timing: Path
    scores: Scores


@pytest.fixture(scope="module")
def judged(bundled: VoxelShowers, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("judged")
    cf.write(folder / "train.h5", bundled[:200], attributes={"command": COMMAND})
    system = cf.build("parametric", bundled.geometry, seed=4)
    cf.train(system, folder / "train.h5", run=folder / "run", seed=4)
    cf.generate(system, bundled[200:260].particles, seed=1, output=folder / "fake.h5")
    with open_showers(folder / "fake.h5") as fake:
        scores = cf.evaluate(
            bundled[200:320],
            {"mine": fake, "Geant4 again": bundled[320:380]},
            training=bundled[:200],
            metrics=["worth", "separation", "wasserstein"],
        )
        samples = {"Geant4": scores.reference, **scores.candidates}
        panels = {panel.name: panel for section in sections(samples) for panel in section.panels}
    figures = folder / "evaluation" / "report_figures"
    figures.mkdir(parents=True)
    scores.save_json(figures.parent / "scores.json")
    for name in ("profile_r", "voxel_spectrum", "profile_longitudinal"):
        (figures / f"{name}.png").write_bytes(encode_small(draw(panels[name])))
    row = TimingRow("cpu", 1, 100, 1000, 10, 2.25, 0.05, 330.0, cpu_share=0.5)
    timing = Timing(
        run="run",
        system=system.name,
        preset="parametric/profile",
        geometry=system.geometry.name,
        parameters=system.n_parameters,
        hardware={**hardware(["cpu"]), "cpu": "Some Processor 9"},
        software={"caloforge": cf.__version__},
        protocol="by the clock",
        rows=(row,),
    )
    (folder / "timing.json").write_text(timing.to_json())
    return Judged(folder / "run", figures.parent, folder / "timing.json", scores)


@pytest.fixture
def run(judged: Judged, tmp_path: Path) -> Path:
    """A copy of the run folder, to write a card into."""
    shutil.copytree(judged.run, tmp_path / "run")
    return tmp_path / "run"


def complete(run: Path, judged: Judged, **changes: Any) -> dict[str, Any]:
    """The card with all results."""
    given: dict[str, Any] = {
        "evaluation_of": judged.evaluation,
        "candidate": "mine",
        "timings": [judged.timing],
        "address": "hf://somebody/electrons",
    }
    return write_card(run, **{**given, **changes})


def parts(run: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The metadata of a card, and its text by heading."""
    _, head, text = (run / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    first, *rest = text.split("\n## ")
    found = {part.partition("\n")[0]: part.partition("\n")[2] for part in rest}
    return yaml.safe_load(head), {"": first, **found}


def test_a_card_says_all_that_was_measured(
    run: Path, judged: Judged, bundled: VoxelShowers
) -> None:
    card = complete(run, judged)
    assert json.loads((run / "card.json").read_text(encoding="utf-8")) == card
    assert card["missing"] == []
    metadata, text = parts(run)
    assert tuple(text)[1:] == HEADINGS
    assert text[""].startswith("\n# electrons\n\nA fast generator of calorimeter showers")
    assert 'cf.load("hf://somebody/electrons")' in text["How to use it"]
    assert "45 layers at depths of 1.7 to 151.3 mm, 6,480 voxels" in text["Detector"]
    assert (run / "detector.png").read_bytes().startswith(b"\x89PNG")
    config = yaml.safe_load((run / "config.yaml").read_text())
    for said in (
        f"| fingerprint | `{config['data']['fingerprint']}` |",
        "| showers | 200 |",
        f"| hardware | {config['hardware']['cpu']}, ",
        f"- `train.h5`, 200 showers, made by `{COMMAND}`",
    ):
        assert said in text["Training"]
    mine = [score for score in judged.scores.values if score.candidate == "mine"]
    for score in mine:
        row = f"`{score.metric}` | {score.text()} | {score.text(of_floor=True)} | "
        assert row in text["Scores"], row
    worth = judged.scores.worths["mine"]
    assert card["evaluation"]["worth"]["all"] == worth.all.to_dict()
    assert card["evaluation"]["worth"]["amplification"]["text"] in text["Scores"]
    assert "| Some Processor 9, " in text["Speed and size"]
    assert (
        "| 100 | 2.250 ± 0.050, too long: other programs left it 50 % of a core |"
        in (text["Speed and size"])
    )
    assert "Licence: Apache-2.0." in text["Licence and citation"]
    assert "https://arxiv.org/abs/2109.02551" in text["Licence and citation"]
    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "caloforge"
    assert {"parametric", "calochallenge-2", "arxiv:2109.02551"} <= set(metadata["tags"])


def test_the_example_of_a_card_runs(run: Path) -> None:
    write_card(run, address=str(run))
    lines = parts(run)[1]["How to use it"].partition("```python\n")[2].partition("```")[0]
    found: dict[str, Any] = {}
    exec(lines, found)
    assert len(found["showers"]) == 1
    assert len([line for line in lines.splitlines() if line]) == 3


def test_the_worst_observables_are_shown(run: Path, judged: Judged) -> None:
    card = complete(run, judged)
    faults = card["evaluation"]["faults"]
    off = [judged.scores[fault["metric"], fault["observable"], "mine"] for fault in faults]
    assert [score.excess for score in off] == sorted((s.excess for s in off), reverse=True)
    assert all(score.mark in ("seen", "far") for score in off)
    shown = [fault["picture"] for fault in faults if "picture" in fault]
    assert shown == ["worst-1.png", "worst-2.png"][: len(shown)] != []
    for name in shown:
        assert f"]({name})" in parts(run)[1]["Known faults"]
        drawn = {path.read_bytes() for path in judged.evaluation.glob("report_figures/*.png")}
        assert (run / name).read_bytes() in drawn


def test_faults_that_were_not_looked_for_are_not_denied(
    run: Path, judged: Judged, tmp_path: Path
) -> None:
    record = json.loads((judged.evaluation / "scores.json").read_text())
    of_worth = record["scores"][0]
    auc = {**of_worth, "metric": "small-shower", "observable": "auc", "low": None, "high": None}
    auc |= {"value": 0.67, "error": 0.01, "floor": 0.5, "floor_error": 0.01}
    record["scores"] = [of_worth, auc]
    (tmp_path / "scores.json").write_text(json.dumps(record))
    complete(run, judged, evaluation_of=tmp_path)
    text = parts(run)[1]["Known faults"]
    assert "No observable was compared by itself." in text
    assert "Classifiers distinguish its showers from Geant4's: 0.670 ± 0.010 (AUC, " in text


def test_what_was_not_measured_is_said_to_be_missing(run: Path) -> None:
    card = write_card(run)
    _, text = parts(run)
    assert [missing.partition(":")[0] for missing in card["missing"]] == ["scores", "times"]
    assert all(f"- {missing}" in text["What is missing"] for missing in card["missing"])
    assert text["Scores"].strip() == "Not measured."
    assert "Times: not measured." in text["Speed and size"]
    assert "model-index" not in parts(run)[0]


def test_files_that_are_gone_or_changed_are_not_asked(
    run: Path, judged: Judged, bundled: VoxelShowers, tmp_path: Path
) -> None:
    config = (run / "config.yaml").read_text()
    other = tmp_path / "train.h5"
    (run / "config.yaml").write_text(config.replace(str(judged.run.parent), str(tmp_path)))
    assert any("are not where they were" in text for text in write_card(run)["missing"])
    cf.write(other, bundled[1:201], attributes={"command": COMMAND})
    card = write_card(run)
    assert any("hold other showers now" in text for text in card["missing"])
    assert card["training"]["files"] == [{"name": "train.h5"}]
    assert COMMAND not in (run / "README.md").read_text()
    with pytest.raises(ValueError, match="not the showers that were trained on, which have the"):
        write_card(run, training=[other])
    shutil.copy(judged.run.parent / "train.h5", tmp_path / "moved.h5")
    card = write_card(run, training=[tmp_path / "moved.h5"])
    assert card["training"]["files"] == [{"name": "moved.h5", "n_showers": 200, "command": COMMAND}]


def test_a_card_is_the_same_when_it_is_written_again(run: Path, judged: Judged) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    complete(run, judged)
    before = content()
    complete(run, judged)
    assert content() == before
    assert readme(json.loads((run / "card.json").read_text("utf-8"))) == (
        run / "README.md"
    ).read_text("utf-8")
    Checksums.read(run).check(run)
    write_card(run)  # without the pictures of faults
    assert not list(run.glob("worst-*.png"))
    Checksums.read(run).check(run)


def test_the_hub_reads_the_scores(run: Path, judged: Judged) -> None:
    library = pytest.importorskip("huggingface_hub")
    complete(run, judged)
    data = library.ModelCard.load(run / "README.md").data
    assert (data.license, data.library_name, data.model_name) == (
        *("apache-2.0", "caloforge"),
        "electrons",
    )
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    mine = [score for score in judged.scores.values if score.candidate == "mine"]
    assert found == {f"{s.metric}/{s.observable}": s.value for s in mine if np.isfinite(s.value)}


def test_a_model_with_its_card_is_shared(run: Path, judged: Judged, tmp_path: Path) -> None:
    complete(run, judged)
    push(run, str(tmp_path / "there"))
    pull(str(tmp_path / "there"), tmp_path / "back")
    for name in ("README.md", "card.json", "detector.png", "worst-1.png"):
        assert (tmp_path / "back" / name).read_bytes() == (run / name).read_bytes()
    energies = np.array([2e4], np.float32)
    mine, theirs = (cf.load(f).generate(energies, seed=1) for f in (run, tmp_path / "back"))
    assert np.array_equal(mine.energy, theirs.energy)


# ---------------------------------------------------------------- what is refused


def test_results_of_another_model_are_refused(
    run: Path, library_run: Path, judged: Judged, tmp_path: Path
) -> None:
    shutil.copytree(library_run, tmp_path / "library")
    with pytest.raises(ValueError, match=r"'mine' of .* were sampled by another model"):
        write_card(tmp_path / "library", evaluation_of=judged.evaluation, candidate="mine")
    with pytest.raises(ValueError, match="is the timing of run for calochallenge-2, with other"):
        write_card(tmp_path / "library", timings=[judged.timing])


def test_scores_over_another_training_sample_are_refused(
    run: Path, judged: Judged, tmp_path: Path
) -> None:
    record = json.loads((judged.evaluation / "scores.json").read_text())
    record["provenance"]["training"]["n_showers"] = 6146
    (tmp_path / "scores.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="given 6,146 training showers, and the model was trained"):
        complete(run, judged, evaluation_of=tmp_path)


def test_showers_whose_origin_is_not_known_are_said_to_be(run: Path, judged: Judged) -> None:
    card = complete(run, judged, candidate="Geant4 again")
    assert any(text.startswith("proof that the evaluated showers are") for text in card["missing"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"candidate": None}, "compares mine, Geant4 again: say which is this model"),
        ({"candidate": "nine"}, r"not 'nine' \(did you mean 'mine'\?\)"),
        ({"evaluation_of": Path("nowhere.json")}, "No such file"),
    ],
)
def test_results_that_do_not_fit_are_refused(
    changes: dict[str, Any], words: str, run: Path, judged: Judged
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        complete(run, judged, **changes)
    assert not (run / "README.md").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 2}'])
def test_damaged_scores_are_refused(text: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(ValueError, match=r"is damaged: expected|holds no scores of format 3"):
        write_card(run, evaluation_of=tmp_path)


def test_a_run_of_an_earlier_layout_is_refused(calodream_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(calodream_run, run)
    (run / "calibration").mkdir()
    state = run / "stages" / "spectrum" / "transforms.json"
    state.rename(run / "calibration" / "spectrum.json")
    shutil.rmtree(state.parent)
    with pytest.raises(ValueError, match="trained with an earlier version, which kept spectrum"):
        write_card(run)


# ---------------------------------------------------------------- figures


def test_figures_of_scores_are_those_of_the_page(
    judged: Judged, bundled_points: PointShowers
) -> None:
    def names(scores: Scores) -> set[str]:
        samples = {"Geant4": scores.reference, **scores.candidates}
        return {panel.name for section in sections(samples) for panel in section.panels}

    points = cf.evaluate(bundled_points[:40], {"other": bundled_points[40:80]}, metrics=["points"])
    known = names(judged.scores) | names(points)
    for name in _FIGURES.values():
        assert {name, _OTHERWISE.get(name)} & known, name


@pytest.mark.parametrize("name", ["calochallenge-1-pions", "calochallenge-2", "ild-ecal"])
def test_a_detector_is_drawn_with_all_of_its_layers(name: str) -> None:
    geometry = geometry_preset(name)
    side, front = draw_detector(geometry).axes
    assert [line.get_xdata()[0] for line in side.lines] == list(geometry.z)
    a, b = geometry.layers[geometry.n_layers // 2].shape
    assert front.get_title().endswith(f"{a} × {b} voxels")
    assert side.get_xlim()[0] < min(geometry.z) < max(geometry.z) < side.get_xlim()[1]
