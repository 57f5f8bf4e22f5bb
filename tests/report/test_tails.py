"""Showers of the tails on the page: all energy where it is, and the table of what differs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import caloforge as cf
from caloforge.evaluation.tails import Contrast
from caloforge.report.tails import draw_tails, side_view, tail_table


@pytest.mark.parametrize("preset", ["calochallenge-2", "calochallenge-1-photons", "ild-30"])
def test_a_side_view_holds_the_energy_of_every_layer(preset, rng):
    """Whatever the voxels: borders differ from layer to layer in dataset 1."""
    geometry = cf.geometry_preset(preset)
    voxels = np.arange(geometry.n_voxels)
    energy = rng.uniform(1, 2, len(voxels)).astype(np.float32)
    offset = np.array([0, len(voxels)])
    shower = cf.VoxelShowers(np.float32([1e3]), offset, voxels, energy, geometry)
    borders, density = side_view(shower)
    found = density @ np.diff(borders)
    np.testing.assert_allclose(found, np.bincount(geometry.voxel_layer, energy), rtol=1e-6)


def test_energy_lies_on_its_side_of_the_axis():
    geometry = cf.geometry_preset("calochallenge-2")
    voxel = np.flatnonzero((geometry.voxel_layer == 7) & (geometry.voxel_x < 0))[-1:]
    shower = cf.VoxelShowers(
        np.float32([1e3]), np.array([0, 1]), voxel, np.float32([6.0]), geometry
    )
    borders, density = side_view(shower)
    ((layer, cell),) = np.argwhere(density)
    assert layer == 7
    assert borders[cell] < -geometry.voxel_r[voxel[0]] < borders[cell + 1]


def test_every_shower_has_its_picture_and_its_numbers(scores):
    (candidate, tails), *_ = scores.tails.items()
    figure = draw_tails(tails, ("Geant4", candidate)).whole()
    titles = [axes.get_title() for axes in figure.axes]
    for tail in (tails.candidate, tails.reference):
        for row, energy in zip(tail.rows[:4], tail.showers.energy_inc, strict=True):
            (title,) = (title for title in titles if title.startswith(f"no. {row},"))
            assert f"{energy / 1e3:.3g} GeV" in title
    assert sum(bool(title) for title in titles) == 8


def test_a_tail_of_empty_showers_is_drawn(scores):
    (candidate, tails), *_ = scores.tails.items()
    nothing = tails.candidate.showers.above(1e9)
    blank = dataclasses.replace(tails.candidate, showers=nothing)
    figure = draw_tails(
        dataclasses.replace(tails, candidate=blank, reference=blank), ("Geant4", candidate)
    ).whole()
    assert len(figure.axes) == 10


def test_the_table_marks_what_is_clearly_off(scores):
    tails = next(iter(scores.tails.values()))
    contrasts = {"depth": Contrast(12.0, 10.0, 1.25), "radius": Contrast(31.0, 30.0, -0.9)}
    unknown = {"depth": Contrast(np.nan, 10.0, np.nan), "radius": Contrast(29.0, 30.0, 0.0)}
    table = tail_table(
        dataclasses.replace(
            tails,
            candidate=dataclasses.replace(tails.candidate, contrasts=contrasts),
            reference=dataclasses.replace(tails.reference, contrasts=unknown),
        )
    )
    assert [row.title for row in table] == ["depth", "radius"]
    assert table[0].cells == (("10", "12", "+1.2", True), ("10", "nan", "–", False))
    assert table[1].cells[0] == ("30", "31", "-0.9", False)
