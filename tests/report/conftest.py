"""Scores of real showers for the page: more Geant4 showers, and showers with too much energy."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

import caloforge as cf
from caloforge.evaluation import SmallSampleWarning

# A name that would break a page which did not escape it.
NASTY = 'E "+10 %" <script>alert(1)</script>'


@pytest.fixture(scope="session")
def scores(shared_data):
    test = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")
    train = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")[:400]
    more = dataclasses.replace(train, energy=1.1 * train.energy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        return cf.evaluate(
            test[:400],
            {"more Geant4": test[400:800], NASTY: more},
            metrics=["separation", "wasserstein"],
        )


@pytest.fixture(scope="session")
def samples(scores):
    return {"Geant4": scores.reference, **scores.candidates}


@pytest.fixture(scope="session")
def page(scores, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "page.html"
    scores.save_page(path, figures=("png", "pdf"))
    return path
