"""The arrays that the compiled chain of layers works on."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = [
    "Array",
    "Asked",
    "Detector",
    "Expected",
    "Layers",
    "Moments",
    "Quilt",
    "Rules",
    "Run",
    "Space",
    "Turning",
    "Work",
]

Array = NDArray[Any]


class Turning(NamedTuple):
    """Rotations and reflections about the axis as a group, of which each has a number from 0.

    Number 0 is the identity. Without matrices they are rotations by any angle, in steps of
    1 / 65,536 of a turn: an azimuth phi goes to c + phi, or to c - phi where it is mirrored;
    element c + 65,536 is the mirrored one.

    Attributes:
        size: how many there are.
        matrices: shape (size, 2, 2).
        ratio: element a^-1 b, shape (size, size).
        ahead: direction whose component of a point is largest for the element that moves it into
            one sector, by each of them, shape (2, size).
    """

    size: int
    matrices: Array
    ratio: Array
    ahead: Array


class Detector(NamedTuple):
    """Where hits may lie: in voxels, or in polar coordinates.

    Attributes:
        turning: what patterns are turned by.
        start: first voxel of each layer, shape (n_layers,); of points 0.
        cells: in which two layers are compared, at most.
        threshold: energy of a hit [MeV].
        place: x, y and distance from the axis of voxels [mm], shape (n_voxels, 3).
        images: number within its layer of what a voxel is moved to, shape (size, n_voxels).
        pitch: unit of the radii of points [mm].
        ring: first cell of the ring of a radius, shape (radii,).
        cosine: of azimuths of points, shape (65,536,).
    """

    turning: Turning
    start: Array
    cells: int
    threshold: float
    place: Array
    images: Array
    pitch: float
    ring: Array
    cosine: Array


class Layers(NamedTuple):
    """Hits of the bank.

    Attributes:
        energies: of layers [MeV], shape (n, n_layers).
        first: first hit of each layer of each shower and, last, their number, shape
            (n n_layers + 1,).
        place: number of the voxel within the layer, or radius of the point, shape (hits,).
        azimuth: of points in units of 1 / 65,536 of a turn, shape (hits,).
        share: of the energy of its layer, as a code, shape (hits,).
        roots: of the shares that codes stand for, shape (n_layers, codes).
    """

    energies: Array
    first: Array
    place: Array
    azimuth: Array
    share: Array
    roots: Array


class Expected(NamedTuple):
    """What is expected of the pattern of each layer, see `ExpectedPatterns`.

    Attributes:
        middle: shape (n_layers, 10).
        spread: shape (n_layers, 10).
        shape: shape (n_layers, 3, 66).
        centre: shape (n_layers, 8).
        remains: shape (n_layers, 2).
    """

    middle: Array
    spread: Array
    shape: Array
    centre: Array
    remains: Array


class Space(NamedTuple):
    """States of the bank, in boxes of up to 64 neighbours.

    Attributes:
        frame: the element that each layer is looked at in, shape (n, n_layers).
        traits: what each pattern is like, shape (n, n_layers, 4).
        preferred: what overlaps prefer of it, shape (n_layers, 4).
        boxes: number of boxes of each layer, shape (n_layers,).
        lower: least of each part of the states in a box, shape (n_layers, parts, boxes).
        upper: largest.
        state: infinite where a box is not full, shape (n_layers, boxes, parts, 64).
        shower: whose state it is, shape (n_layers, boxes, 64).
    """

    frame: Array
    traits: Array
    preferred: Array
    boxes: Array
    lower: Array
    upper: Array
    state: Array
    shower: Array


class Rules(NamedTuple):
    """How a layer is chosen and scaled.

    Attributes:
        weights: as in `PatternWeights`, shape (8,).
        neighbours: the nearest layers that one is chosen of.
        unit: of radii [mm].
        bright: energy that divides hits of few particles from those of many [MeV].
        directed: whether the state knows the direction of particles.
        mixed: whether it knows their kind.
    """

    weights: Array
    neighbours: int
    unit: float
    bright: float
    directed: bool
    mixed: bool


class Quilt(NamedTuple):
    """All that showers are made of."""

    detector: Detector
    bank: Layers
    expected: Expected
    space: Space
    rules: Rules


class Asked(NamedTuple):
    """What is known of n showers before they are made.

    Attributes:
        energies: of layers [MeV], shape (n, n_layers).
        ages: share of the energy in the layers before each, shape (n, n_layers).
        e_inc: incident energy [MeV], shape (n,).
        across: x and y of the direction of the particle, shape (n, 2); 0 where no other matters.
        kind: where it lies along a coordinate of kinds, shape (n,).
    """

    energies: Array
    ages: Array
    e_inc: Array
    across: Array
    kind: Array


class Moments(NamedTuple):
    """Of one layer of a shower; 0 where it is empty.

    Attributes:
        energy: [MeV].
        hits: how many there are.
        x: centre of gravity [mm].
        y: the same across.
        radius: mean distance from the axis [mm].
        width: standard deviation of that [mm].
    """

    energy: float
    hits: float
    x: float
    y: float
    radius: float
    width: float


class Run(NamedTuple):
    """Of all layers before one; 0 where there is nothing.

    Attributes:
        energy: their energy [MeV].
        hits: how many there are.
        x: energy times centre of gravity [MeV mm].
        y: the same across.
        radius: energy times distance from the axis [MeV mm].
    """

    energy: float
    hits: float
    x: float
    y: float
    radius: float


class Work(NamedTuple):
    """Memory of one shower.

    Attributes:
        place: of the hits of a layer, see `Layers`, shape (most,).
        azimuth: of them, shape (most,).
        energy: of them [MeV], shape (most,).
        cell: shares of energy in cells, 0 between uses, shape (cells,).
        past: what a pattern is expected from, shape (14,).
        scaled: its first ten in units of their spread, shape (10,).
        state: shape (parts,).
        near: showers in the nearest states, shape (neighbours,).
        away: squares of their distances, shape (neighbours,).
        box: squares of the distances of boxes, shape (boxes,).
        todo: boxes by distance, shape (boxes,).
        apart: squares of the distances of the states in a box, shape (64,).
    """

    place: Array
    azimuth: Array
    energy: Array
    cell: Array
    past: Array
    scaled: Array
    state: Array
    near: Array
    away: Array
    box: Array
    todo: Array
    apart: Array
