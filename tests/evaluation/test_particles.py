"""Showers of other particles are compared with a warning, and pages name what was compared."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation import EvaluationWarning, Sample, SmallSampleWarning
from caloforge.evaluation.copies import Chosen
from caloforge.evaluation.projection import Projected
from caloforge.evaluation.sample import pack, unpack
from caloforge.geometry import geometry_preset
from caloforge.report.page import _summary

INCLINED = np.float32([0.6, 0.0, 0.8])


def told(reference, candidate):
    """The scores, and what is said of the particles."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EvaluationWarning)
        warnings.simplefilter("ignore", SmallSampleWarning)
        scores = cf.evaluate(reference, {"mine": candidate}, metrics=["separation"])
    texts = [str(w.message) for w in caught if issubclass(w.category, EvaluationWarning)]
    return scores, [text for text in texts if "particles" in text]


@pytest.fixture(scope="module")
def halves(bundled):
    return bundled[:60], bundled[60:120]


def test_showers_of_the_same_particles_are_compared_without_a_word(halves):
    scores, said = told(*halves)
    assert said == []
    assert _summary(scores).startswith("Electrons of 1")
    assert scores.published() is not None
    unknown = dataclasses.replace(halves[1], pdg=0)  # may be the same
    assert told(halves[0], unknown)[1] == []


def test_another_kind_and_another_direction_are_said(halves):
    reference, candidate = halves
    _, (text,) = told(reference, dataclasses.replace(candidate, pdg="gamma"))
    assert "particles of mine" in text
    assert "photons in place of electrons" in text
    _, (text,) = told(reference, dataclasses.replace(candidate, direction=INCLINED))
    assert "fly along (0.6, 0, 0.8) on average in place of (0, 0, 1)" in text
    rounded = INCLINED / np.linalg.norm(INCLINED.astype(np.float64)) * (1 + 3e-6)
    inclined = [dataclasses.replace(half, direction=INCLINED) for half in halves]
    nearly = dataclasses.replace(inclined[1], direction=rounded)
    assert told(inclined[0], nearly)[1] == []


def test_a_page_names_the_particles_of_the_sample_and_not_of_the_detector(halves):
    photons = [dataclasses.replace(half, pdg="gamma") for half in halves]
    scores, _ = told(*photons)
    assert _summary(scores).startswith("Photons of 1")
    assert scores.published() is None  # that table is of electrons
    unknown = [dataclasses.replace(half, pdg=0) for half in halves]
    scores, _ = told(*unknown)
    assert _summary(scores).startswith("Electrons of 1")  # of the detector's official sample


def test_a_sample_keeps_its_particles(halves, bundled_points):
    sample = Sample.of(halves[0])
    assert sample.pdg.tolist() == [11] * 60
    kept = unpack(pack(sample), halves[0], sample.threshold)
    for found, expected in ((kept, sample), (kept.events, sample.events)):
        np.testing.assert_array_equal(found.pdg, expected.pdg)
    cells = Projected(bundled_points, geometry_preset("ild-30"))
    for source in (cells, Chosen(cells, np.array([3, 7]))):
        assert source.particles.kinds == (22,)
    assert len(Chosen(cells, np.array([3, 7])).particles) == 2
