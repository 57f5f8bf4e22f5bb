"""Scores of real showers for the page: more Geant4 showers, and showers with too much energy."""

from __future__ import annotations

import dataclasses
import warnings
from base64 import b64decode

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import SmallSampleWarning, find_tails
from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.copies import Shared

# A picture of one pixel.
PIXEL = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
# A name that would break a page which did not escape it.
NASTY = 'E "+10 %" <script>alert(1)</script>'


@pytest.fixture(scope="session")
def timing():
    """What `caloforge bench` writes: one batch size too large for the CPU, two for the GPU."""
    row = {"n_showers": 1000, "runs": 10, "peak_memory_MB": 812.0, "reason": None}
    taken = {"ms_per_shower": 812.4, "ms_per_shower_std": 3.1}
    too_long = {"ms_per_shower": None, "ms_per_shower_std": None, "reason": "would take an hour"}
    return {
        "run": "mine",
        "parameters": {"total": 1234567, "stages": {}},
        "hardware": {"cpu": "Some CPU", "cores": 8, "memory_GB": 31.9, "gpu": "Some GPU"},
        "protocol": "Mean and spread of ten runs.",
        "rows": [
            {**row, "device": "cpu", "threads": 1, "batch_size": 1, **taken},
            {**row, "device": "cpu", "threads": 1, "batch_size": 10000, **too_long},
            {**row, "device": "cuda", "threads": None, "batch_size": 1, **taken},
        ],
    }


@pytest.fixture(scope="session")
def scores(shared_data, timing):
    test = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")
    train = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")[:400]
    more = dataclasses.replace(train, energy=1.1 * train.energy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        scores = cf.evaluate(
            test[:400],
            {"more Geant4": test[400:800], NASTY: more},
            metrics=["separation", "wasserstein", "pearson"],
            timing={"more Geant4": timing},
        )
    made = Outputs(
        np.linspace(0.2, 0.9, 200), np.linspace(0.1, 0.8, 300), np.arange(200), np.arange(300)
    )
    outputs = {("small-shower", name): made for name in scores.candidates}
    tails = {
        name: find_tails({"small-shower": made}, scores.reference, sample)
        for name, sample in scores.candidates.items()
    }
    first, *others = scores.values
    values = (dataclasses.replace(first, reason="its bins hold <no> shower"), *others)
    shared = (Shared(NASTY, "Geant4", 7, 400, (3, 5), "they make its scores too good"),)
    return dataclasses.replace(scores, values=values, outputs=outputs, tails=tails, shared=shared)


@pytest.fixture(scope="session")
def twenty(scores):
    """Scores of twenty candidates, made of the two there are."""
    names = {f"candidate {number}": list(scores.candidates)[number % 2] for number in range(20)}
    return dataclasses.replace(
        scores,
        values=tuple(
            dataclasses.replace(value, candidate=name)
            for name, known in names.items()
            for value in scores.values
            if value.candidate == known
        ),
        candidates={name: scores.candidates[known] for name, known in names.items()},
        outputs={("small-shower", n): scores.outputs["small-shower", k] for n, k in names.items()},
        timing={},
        tails={n: scores.tails[k] for n, k in names.items()},
    )


@pytest.fixture(scope="session")
def samples(scores):
    return {"Geant4": scores.reference, **scores.candidates}


@pytest.fixture(scope="session")
def page(scores, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "page.html"
    scores.save_page(path, figures=("pdf",))
    return path


@pytest.fixture(scope="session")
def page_of_twenty(twenty, tmp_path_factory):
    """Complete but for its pictures, whose drawing would take a minute."""
    path = tmp_path_factory.mktemp("report") / "twenty.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caloforge.report.pictures.encode_small", lambda figure: PIXEL)
        twenty.save_page(path)
    return path
