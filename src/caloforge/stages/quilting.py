"""The chain of layers, compiled: one shower after the other, on one thread.

All that is compiled is in this file: a compiled function is cached until its own file changes, and
knows nothing of others that it calls. Sums run in the order of hits, layers and neighbours in
double precision; states, their distances and the energies of hits are rounded to single precision.
What a layer is chosen by is said in `write_past`, `write_state`, `write_traits` and `cost`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
from numba import njit

from caloforge.stages.kinds import APART
from caloforge.stages.patternarrays import (
    Array,
    Asked,
    Detector,
    Layers,
    Moments,
    Quilt,
    Run,
    Space,
    Turning,
    Work,
)

__all__ = [
    *("BOX", "NARROW", "NOBODY", "PAST", "SECTORS", "TRAITS", "TURN"),
    *("choose_all", "describe", "mean_radius", "note_pasts", "overlaps", "write_points"),
    "write_voxels",
]

NUMBERS = 10  # that a pattern is expected from,
PAST = 14  # and with them the centres before
TRAITS = 4  # of a pattern
BOX = 64  # states in a box, at most
NOBODY = np.int32(2**31 - 1)  # in place of a shower
TURN = 1 << 16  # steps of a whole turn
SECTORS = 16  # of each ring in which points are compared
STRAIGHT = 1e-6  # sine of the angle to the axis below which a particle flies along it
NARROW = 0.3  # of the mean radius of showers: below it, radii count as equal
LITTLE = 1e-3  # energy that counts as none [MeV]
FAINT = 0.05  # energy beside which others count as equal [MeV]
ASIDE = 1e-2  # of what decides where the nearer centre does not, beside it
ROUNDING = 1e-3  # two points so nearly in line are in line: a few steps of a rotation
NEAREST = 0.15  # what the square of a distance counts beside an overlap, which is 0 to 1
CLEAR = 1.01  # of the threshold: what scaling of bright hits leaves above it
MOST = 0.5  # by which a bright hit may fall, in parts of it

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """A function that is compiled when it is first called, and then kept."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


@compiled
def work_for(quilt: Quilt, neighbours: int) -> Work:
    """Memory for one shower."""
    most = 1
    for i in range(len(quilt.bank.first) - 1):
        most = max(most, quilt.bank.first[i + 1] - quilt.bank.first[i])
    boxes, parts = quilt.space.lower.shape[2], quilt.space.lower.shape[1]
    return Work(
        np.zeros(most, np.int64),
        np.zeros(most, np.int64),
        np.zeros(most, np.float32),
        np.zeros(quilt.detector.cells),
        np.zeros(PAST),
        np.zeros(NUMBERS),
        np.zeros(parts, np.float32),
        np.zeros(neighbours, np.int32),
        np.zeros(neighbours, np.float32),
        np.zeros(boxes, np.float32),
        np.zeros(boxes, np.int64),
        np.zeros(BOX, np.float32),
    )


# Rotations and reflections.


@compiled
def turned(turning: Turning, element: int, x: float, y: float) -> tuple[float, float]:
    """A point moved by an element."""
    if len(turning.matrices) > 0:
        m = turning.matrices[element]
        return m[0, 0] * x + m[0, 1] * y, m[1, 0] * x + m[1, 1] * y
    angle = element * (2 * math.pi / TURN)
    cos, sin = math.cos(angle), math.sin(angle)
    if element >= TURN:
        y = -y
    return cos * x - sin * y, sin * x + cos * y


@compiled
def between(turning: Turning, frame: int, own: int) -> int:
    """The element that moves what is in its own frame into another: frame^-1 own."""
    if len(turning.matrices) > 0:
        return int(turning.ratio[frame, own])
    step = (own - frame) % TURN
    if frame >= TURN:
        step = -step % TURN
    return step + TURN if (frame >= TURN) != (own >= TURN) else step


@compiled
def into_sector(turning: Turning, x: float, y: float, far_x: float, far_y: float) -> int:
    """The element that moves a point into one part of the plane; a far one decides at its borders.

    All parts are images of that one, so that a moved point has the same image. Of rotations it is
    the x axis, and the far point lies at y > 0.
    """
    if turning.size == 1:
        return 0
    x, y = x + ASIDE * far_x, y + ASIDE * far_y
    if len(turning.matrices) == 0:
        least = ROUNDING * math.hypot(x, y) * math.hypot(far_x, far_y)
        step = int(np.rint(math.atan2(y, x) * (TURN / (2 * math.pi))))
        mirrored = x * far_y - y * far_x < -least
        return step % TURN + TURN if mirrored else -step % TURN
    best, most = 0, -np.inf
    for element in range(turning.size):
        along = x * turning.ahead[0, element] + y * turning.ahead[1, element]
        if along > most:
            best, most = element, along
    return best


@compiled
def is_inclined(asked: Asked, i: int) -> bool:
    """Whether a particle does not fly along the axis."""
    return math.hypot(asked.across[i, 0], asked.across[i, 1]) > STRAIGHT


@compiled
def frame_of(quilt: Quilt, asked: Asked, i: int, before: Moments, run: Run) -> int:
    """The element that turns the layer before to one side; all before decide where it fails.

    So it does where the layer is empty, or a single hit lies on the axis of a reflection. Of an
    inclined particle the direction is turned to that side, and the layer before decides.
    """
    turning, per = quilt.detector.turning, 1 / run.energy if run.energy > 0 else 0.0
    if is_inclined(asked, i):
        x, y = quilt.rules.unit * asked.across[i, 0], quilt.rules.unit * asked.across[i, 1]
        return into_sector(turning, x, y, before.x, before.y)
    return into_sector(turning, before.x, before.y, run.x * per, run.y * per)


# What a pattern is chosen by: its state, and what a candidate costs.


@compiled
def write_past(
    past: Array, quilt: Quilt, asked: Asked, i: int, layer: int, before: Moments, run: Run
) -> None:
    """What the pattern of a layer is expected from, see `ExpectedPatterns`."""
    unit, per = quilt.rules.unit, 1 / run.energy if run.energy > 0 else 0.0
    after = min(layer + 1, asked.energies.shape[1] - 1)
    past[0] = math.log(asked.e_inc[i])
    past[1] = asked.ages[i, layer]
    past[2] = math.log(asked.energies[i, layer] + FAINT)
    past[3] = math.log(asked.energies[i, max(layer - 1, 0)] + FAINT)
    past[4] = math.log(asked.energies[i, after] + FAINT)
    past[5] = math.log(before.hits + 0.5)
    past[6] = math.log(max(before.radius / unit, NARROW))
    past[7] = before.width / unit
    past[8] = math.log(run.hits + 0.5)
    past[9] = math.log(run.radius * per / unit + NARROW)
    past[10], past[11] = before.x, run.x * per
    past[12], past[13] = before.y, run.y * per


@compiled
def write_state(
    state: Array, quilt: Quilt, asked: Asked, i: int, layer: int, frame: int, work: Work
) -> None:
    """The state of a layer, of which `work.past` is what lies before it."""
    w, past = quilt.rules.weights, work.past
    state[:] = 0
    state[0] = w[0] * math.log(max(asked.energies[i, layer], LITTLE))
    state[1] = w[1] * past[0]
    state[2] = w[2] * past[1]
    if layer > 0:
        for part in range(3):
            state[3 + part] = w[3 + part] * expected_shape(quilt, layer, part, work)
        x, y = expected_centre(quilt, layer, past, 10), expected_centre(quilt, layer, past, 12)
        x, y = turned(quilt.detector.turning, frame, x, y)
        state[6], state[7] = w[6] * x, w[6] * y
    if quilt.rules.directed:
        x, y = turned(quilt.detector.turning, frame, asked.across[i, 0], asked.across[i, 1])
        state[8], state[9] = w[7] * x, w[7] * y
    if quilt.rules.mixed:
        state[-1] = asked.kind[i]


@compiled
def expected_shape(quilt: Quilt, layer: int, part: int, work: Work) -> float:
    """Expected radius (0), hits (1) or width (2) of a layer."""
    numbers, terms = work.scaled, quilt.expected.shape[layer, part]
    if part == 0:
        for i in range(NUMBERS):
            middle, spread = quilt.expected.middle[layer, i], quilt.expected.spread[layer, i]
            numbers[i] = (work.past[i] - middle) / spread
    value, term = terms[0], 1 + NUMBERS
    for i in range(NUMBERS):
        slope = terms[1 + i]
        for j in range(i, NUMBERS):
            slope += terms[term] * numbers[j]
            term += 1
        value += numbers[i] * slope
    return float(value)


@compiled
def expected_centre(quilt: Quilt, layer: int, past: Array, at: int) -> float:
    """Expected centre of gravity along one direction, of those before in `past`."""
    terms, remains = quilt.expected.centre[layer], quilt.expected.remains[layer]
    value = 0.0
    for i in range(2):
        c = terms[4 * i : 4 * i + 4]
        value += past[at + i] * (c[0] + c[1] * past[2] + c[2] * past[1] + c[3] * past[5])
    return value / math.exp(remains[0] + remains[1] * past[2])


@compiled
def write_traits(traits: Array, layer: Moments, unit: float) -> None:
    """What a pattern is like, whatever was before it."""
    radius = math.log(max(layer.radius / unit, NARROW))
    traits[0] = radius
    traits[1] = radius * radius
    traits[2] = math.log(layer.hits + 0.5)
    traits[3] = layer.width / unit


@compiled
def cost(overlap: float, traits: Array, preferred: Array, away: float) -> float:
    """Of a candidate, the square of whose distance is `away`."""
    expected = 0.0
    for i in range(len(preferred)):
        expected += traits[i] * preferred[i]
    return expected - overlap + NEAREST * away


# The nearest states.


@compiled
def nearest(space: Space, layer: int, k: int, work: Work) -> int:
    """How many of the k showers nearest to a state there are; of equal ones, the first."""
    boxes, state, away = space.boxes[layer], work.state, work.away
    box, todo = work.box, work.todo
    work.near[:k] = NOBODY
    away[:k] = np.inf
    box[:boxes] = 0
    for part in range(len(state)):
        lower, upper = space.lower[layer, part], space.upper[layer, part]
        value = state[part]
        for i in range(boxes):
            beyond = max(max(lower[i] - value, value - upper[i]), np.float32(0))
            box[i] += beyond * beyond
    first = 0
    for i in range(boxes):
        if box[i] < box[first]:
            first = i
    look(space, layer, first, k, work)
    some = 0
    for i in range(boxes):
        if i != first and box[i] <= away[k - 1]:
            j = some
            while j > 0 and box[todo[j - 1]] > box[i]:
                todo[j] = todo[j - 1]
                j -= 1
            todo[j] = i
            some += 1
    for i in range(some):
        if box[todo[i]] > away[k - 1]:
            break
        look(space, layer, todo[i], k, work)
    found = 0
    while found < k and work.near[found] != NOBODY:
        found += 1
    return found


@compiled
def look(space: Space, layer: int, box: int, k: int, work: Work) -> None:
    """The k nearest so far, with those in one more box."""
    apart, near, away = work.apart, work.near, work.away
    apart[:] = 0
    for part in range(len(work.state)):
        states, value = space.state[layer, box, part], work.state[part]
        for i in range(BOX):
            difference = states[i] - value
            apart[i] += difference * difference
    shower = space.shower[layer, box]
    for i in range(BOX):
        square = apart[i]
        if square > away[k - 1]:
            continue
        j = k
        while j > 0 and (
            square < away[j - 1] or (square == away[j - 1] and shower[i] < near[j - 1])
        ):
            if j < k:
                away[j], near[j] = away[j - 1], near[j - 1]
            j -= 1
        if j < k:
            away[j], near[j] = square, shower[i]


# Hits of one layer.


@compiled
def moved(azimuth: int, element: int) -> int:
    """An azimuth from -1/2 to below 1/2 of a turn, moved by a rotation."""
    if element >= TURN:
        azimuth = -azimuth
    return (azimuth + element + TURN // 2) % TURN - TURN // 2


@compiled
def cell_of(ring: Array, place: int, azimuth: int) -> int:
    """The cell of a hit, in which two layers are compared: its voxel, or ring and sector."""
    if len(ring) == 0:
        return place
    return int(ring[place]) + azimuth % TURN * SECTORS // TURN


@compiled
def fetch(quilt: Quilt, layer: int, shower: int, element: int, work: Work) -> int:
    """Hits of a layer of the bank, turned; their number."""
    bank, images, ring = quilt.bank, quilt.detector.images, quilt.detector.ring
    places, azimuths, shares, roots = bank.place, bank.azimuth, bank.share, bank.roots[layer]
    cell, own = shower * bank.energies.shape[1] + layer, float(bank.energies[shower, layer])
    begin, start = bank.first[cell], quilt.detector.start[layer]
    hits, total, threshold = int(bank.first[cell + 1] - begin), 0.0, quilt.detector.threshold
    for i in range(hits):
        root = roots[shares[begin + i]]
        total += root * root
    for i in range(hits):
        root, place = roots[shares[begin + i]], int(places[begin + i])
        # none was below the threshold before its share was rounded to a code
        work.energy[i] = max(root * root * (own / total), CLEAR * threshold)
        if len(ring) == 0:
            work.place[i] = images[element, start + place]
        else:
            work.place[i] = place
            work.azimuth[i] = moved(int(azimuths[begin + i]), element)
    return hits


@compiled
def scale(hits: int, wanted: float, bright: float, threshold: float, work: Work) -> int:
    """Hits scaled to another energy; how many are left.

    Those brighter than others are scaled, and those of single particles keep their energy: a hit e
    becomes e (1 + a e^2 / (e^2 + bright^2)). Layers whose brightest hits would lose more than half
    by that are scaled as a whole, and so are those that would gain too much. Hits below the
    threshold are lost, but for the largest of a layer.
    """
    energy, own, most, largest = work.energy, 0.0, 0.0, 0
    for i in range(hits):
        e = float(energy[i])
        own += e
        most += e * e * e / (e * e + bright * bright)
        if energy[i] > energy[largest]:
            largest = i
    factor = (wanted - own) / most if most > 0 else 0.0
    some = -MOST < factor < 1 / MOST
    strongest, its_azimuth = work.place[largest], work.azimuth[largest]
    left, total = 0, 0.0
    for i in range(hits):
        e = float(energy[i])
        e *= 1 + factor * (e * e / (e * e + bright * bright)) if some else wanted / own
        if e >= threshold:
            work.place[left], work.azimuth[left], energy[left] = work.place[i], work.azimuth[i], e
            total += e
            left += 1
    if left == 0:
        work.place[0], work.azimuth[0], energy[0] = strongest, its_azimuth, wanted
        return 1
    if left < hits:
        for i in range(left):
            energy[i] = energy[i] * (wanted / total)
    return left


@compiled
def moments(quilt: Quilt, layer: int, hits: int, work: Work) -> Moments:
    """Of the hits of a layer."""
    total = x = y = mean = square = 0.0
    place, start, pitch = quilt.detector.place, quilt.detector.start[layer], quilt.detector.pitch
    cosine = quilt.detector.cosine
    for i in range(hits):
        energy = float(work.energy[i])
        if len(place) > 0:
            voxel = start + work.place[i]
            along, aside, r = place[voxel, 0], place[voxel, 1], place[voxel, 2]
        else:
            r, azimuth = work.place[i] * pitch, work.azimuth[i]
            along, aside = r * cosine[azimuth % TURN], r * cosine[(azimuth - TURN // 4) % TURN]
        total += energy
        x += energy * along
        y += energy * aside
        mean += energy * r
        square += energy * r * r
    if total <= 0:
        return Moments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    mean /= total
    width = math.sqrt(max(square / total - mean * mean, 0.0))
    return Moments(total, float(hits), x / total, y / total, mean, width)


@compiled
def then(run: Run, layer: Moments) -> Run:
    """All layers before one, with this layer more."""
    e = layer.energy
    return Run(
        run.energy + e,
        run.hits + layer.hits,
        run.x + e * layer.x,
        run.y + e * layer.y,
        run.radius + e * layer.radius,
    )


@compiled
def layer_in(row: Array) -> Moments:
    """Moments in an array."""
    return Moments(row[0], row[1], row[2], row[3], row[4], row[5])


@compiled
def run_in(row: Array) -> Run:
    """Sums in an array."""
    return Run(row[0], row[1], row[2], row[3], row[4])


@compiled
def note(layer: Moments, before: Array, run: Run, sums: Array) -> None:
    """One layer more, into arrays."""
    run = then(run, layer)
    for i in range(len(before)):
        before[i] = layer[i]
    for i in range(len(sums)):
        sums[i] = run[i]


@compiled
def write_seam(seam: Array, quilt: Quilt, hits: int, work: Work) -> None:
    """Roots of the shares of cells of a layer, shape (cells,)."""
    seam[:] = 0
    total, ring = 0.0, quilt.detector.ring
    for i in range(hits):
        total += work.energy[i]
        seam[cell_of(ring, work.place[i], work.azimuth[i])] -= work.energy[i]
    for i in range(hits):
        cell = cell_of(ring, work.place[i], work.azimuth[i])
        if seam[cell] < 0:  # not yet looked at
            seam[cell] = math.sqrt(-seam[cell] / total)


@compiled
def overlap(
    bank: Layers,
    detector: Detector,
    layer: int,
    shower: int,
    element: int,
    seam: Array,
    shared: Array,
) -> float:
    """sum_v sqrt(p_v q_v) of a layer as it was chosen and one of the bank, turned."""
    images, ring = detector.images, detector.ring
    places, azimuths, shares, roots = bank.place, bank.azimuth, bank.share, bank.roots[layer]
    cell, start = shower * bank.energies.shape[1] + layer, detector.start[layer]
    begin, end = bank.first[cell], bank.first[cell + 1]
    total = common = 0.0
    if len(ring) == 0:
        for i in range(begin, end):
            root = roots[shares[i]]
            total += root * root
            common += root * seam[images[element, start + places[i]]]
        return common / math.sqrt(total) if total > 0 else 0.0
    for i in range(begin, end):  # of which several may share a cell
        root = roots[shares[i]]
        total += root * root
        shared[cell_of(ring, int(places[i]), moved(int(azimuths[i]), element))] += root * root
    for i in range(begin, end):
        cell = cell_of(ring, int(places[i]), moved(int(azimuths[i]), element))
        common += math.sqrt(shared[cell]) * seam[cell]
        shared[cell] = 0
    return common / math.sqrt(total) if total > 0 else 0.0


# The chain.


@compiled
def best_of(quilt: Quilt, layer: int, frame: int, k: int, seam: Array, work: Work) -> int:
    """Which of k candidates costs least."""
    bank, detector, turning = quilt.bank, quilt.detector, quilt.detector.turning
    frames, traits, preferred = quilt.space.frame, quilt.space.traits, quilt.space.preferred[layer]
    near, away, cells = work.near, work.away, work.cell
    best, least = 0, np.inf
    for i in range(k):
        shower = near[i]
        element = between(turning, frame, frames[shower, layer])
        common = overlap(bank, detector, layer - 1, shower, element, seam, cells)
        this = cost(common, traits[shower, layer], preferred, away[i])
        if this < least:
            best, least = i, this
    return best


@compiled
def choose(
    quilt: Quilt,
    layer: int,
    asked: Asked,
    i: int,
    u: Array,
    before: Moments,
    run: Run,
    seam: Array,
    work: Work,
) -> tuple[int, int]:
    """The shower whose layer continues another, and what turns it."""
    turning, free = quilt.detector.turning, run.energy <= 0
    if free and not is_inclined(asked, i):
        frame = int(u[layer] * turning.size)
    else:
        frame = frame_of(quilt, asked, i, before, run)
    write_past(work.past, quilt, asked, i, layer, before, run)
    write_state(work.state, quilt, asked, i, layer, frame, work)
    k = nearest(quilt.space, layer, quilt.rules.neighbours, work)
    if free:  # nothing was before, and any of the same kind will do
        same = 1
        while same < k and work.away[same] < (APART / 2) ** 2:
            same += 1
        best = int(u[-1] * same)
    else:
        best = best_of(quilt, layer, frame, k, seam, work)
    shower = int(work.near[best])
    return shower, between(turning, frame, quilt.space.frame[shower, layer])


@compiled
def taken(quilt: Quilt, layer: int, shower: int, element: int, wanted: float, work: Work) -> int:
    """Hits of a layer of the bank, turned and with another energy; their number."""
    hits = fetch(quilt, layer, shower, element, work)
    return scale(hits, wanted, quilt.rules.bright, quilt.detector.threshold, work)


@compiled
def choose_all(quilt: Quilt, asked: Asked, u: Array, showers: Array, elements: Array) -> None:
    """Choose layers for showers, one layer of all of them after the other.

    Args:
        quilt: the bank.
        asked: n showers.
        u: numbers from 0 to below 1, shape (n, n_layers + 1).
        showers: whose layers were chosen is written, -1 so far, shape (n, n_layers).
        elements: what turns them is written, shape (n, n_layers).
    """
    n, layers = asked.energies.shape
    work = work_for(quilt, quilt.rules.neighbours)
    before, sums = np.zeros((n, 6)), np.zeros((n, 5))
    seams = np.zeros((n, quilt.detector.cells), np.float32)
    for layer in range(layers):
        for i in range(n):
            hits, last, run = 0, layer_in(before[i]), run_in(sums[i])
            wanted = asked.energies[i, layer]
            if wanted > 0 and quilt.space.boxes[layer] > 0:
                shower, element = choose(quilt, layer, asked, i, u[i], last, run, seams[i], work)
                showers[i, layer], elements[i, layer] = shower, element
                hits = taken(quilt, layer, shower, element, wanted, work)
            write_seam(seams[i], quilt, hits, work)
            note(moments(quilt, layer, hits, work), before[i], run, sums[i])


@compiled
def write_voxels(
    quilt: Quilt, energies: Array, showers: Array, elements: Array, made: Array
) -> None:
    """Voxels of chosen layers.

    Args:
        quilt: the bank.
        energies: of the layers [MeV], shape (n, n_layers).
        showers: whose layers they are, -1 for none, shape (n, n_layers).
        elements: what turns them, shape (n, n_layers).
        made: energies of voxels [MeV] are written, 0 so far, shape (n, n_voxels).
    """
    work = work_for(quilt, 1)
    for i in range(len(energies)):
        for layer in range(energies.shape[1]):
            if showers[i, layer] < 0:
                continue
            shower, element, wanted = showers[i, layer], elements[i, layer], energies[i, layer]
            start = quilt.detector.start[layer]
            for hit in range(taken(quilt, layer, shower, element, wanted, work)):
                made[i, start + work.place[hit]] = work.energy[hit]


@compiled
def write_points(
    quilt: Quilt, energies: Array, showers: Array, elements: Array, made: Array
) -> None:
    """Points of chosen layers, see `write_voxels`.

    Args:
        quilt: the bank.
        energies: of the layers [MeV], shape (n, n_layers).
        showers: whose layers they are, -1 for none, shape (n, n_layers).
        elements: what turns them, shape (n, n_layers).
        made: x, y [mm], layer and energy [MeV] of points are written, shape (points, 4).
    """
    work, row, detector = work_for(quilt, 1), 0, quilt.detector
    for i in range(len(energies)):
        for layer in range(energies.shape[1]):
            if showers[i, layer] < 0:
                continue
            shower, element, wanted = showers[i, layer], elements[i, layer], energies[i, layer]
            for hit in range(taken(quilt, layer, shower, element, wanted, work)):
                r, azimuth = work.place[hit] * detector.pitch, work.azimuth[hit]
                made[row, 0] = r * detector.cosine[azimuth % TURN]
                made[row, 1] = r * detector.cosine[(azimuth - TURN // 4) % TURN]
                made[row, 2] = layer
                made[row, 3] = work.energy[hit]
                row += 1


# The bank itself.


@compiled
def note_pasts(
    quilt: Quilt, asked: Asked, layer: int, before: Array, sums: Array, pasts: Array
) -> None:
    """What the patterns of a layer of the bank are expected from, and their moments.

    Args:
        quilt: the bank.
        asked: its showers.
        layer: its number; those before it were described.
        before: moments of the layer before, and then of this one, shape (n, 6).
        sums: of all layers before, and then with this one, shape (n, 5).
        pasts: are written, shape (n, 14).
    """
    work = work_for(quilt, 1)
    for i in range(len(pasts)):
        last, run = layer_in(before[i]), run_in(sums[i])
        write_past(pasts[i], quilt, asked, i, layer, last, run)
        quilt.space.frame[i, layer] = frame_of(quilt, asked, i, last, run)
        hits = fetch(quilt, layer, i, 0, work)
        now = moments(quilt, layer, hits, work)
        write_traits(quilt.space.traits[i, layer], now, quilt.rules.unit)
        note(now, before[i], run, sums[i])


@compiled
def describe(quilt: Quilt, asked: Asked, layer: int, pasts: Array, states: Array) -> None:
    """States of a layer of the bank.

    Args:
        quilt: the bank.
        asked: its showers.
        layer: its number.
        pasts: see `note_pasts`, shape (n, 14).
        states: are written, shape (n, parts).
    """
    work = work_for(quilt, 1)
    for i in range(len(pasts)):
        work.past[:] = pasts[i]
        frame = quilt.space.frame[i, layer]
        write_state(states[i], quilt, asked, i, layer, frame, work)


@compiled
def mean_radius(quilt: Quilt) -> float:
    """Mean distance of the energy of the bank from the axis [mm]."""
    work, run = work_for(quilt, 1), Run(0.0, 0.0, 0.0, 0.0, 0.0)
    for i in range(len(quilt.bank.energies)):
        for layer in range(quilt.bank.energies.shape[1]):
            hits = fetch(quilt, layer, i, 0, work)
            run = then(run, moments(quilt, layer, hits, work))
    return run.radius / max(run.energy, LITTLE)


@compiled
def overlaps(
    quilt: Quilt, layer: int, queries: Array, states: Array, showers: Array, common: Array
) -> None:
    """Overlaps of layers of the bank with their neighbours, in the layer before.

    Args:
        quilt: the bank.
        layer: number of the layer, from 1.
        queries: numbers of showers, shape (n,).
        states: of their layers, shape (n, parts).
        showers: numbers of the nearest others are written, shape (n, k).
        common: overlaps with them are written, shape (n, k).
    """
    k, turning = showers.shape[1], quilt.detector.turning
    work = work_for(quilt, k + 1)
    seam = np.zeros(quilt.detector.cells, np.float32)
    for i in range(len(queries)):
        query, j = queries[i], 0
        write_seam(seam, quilt, fetch(quilt, layer - 1, query, 0, work), work)
        work.state[:] = states[i]
        for near in work.near[: nearest(quilt.space, layer, k + 1, work)]:
            if near != query and j < k:
                own = quilt.space.frame[near, layer]
                element = between(turning, quilt.space.frame[query, layer], own)
                showers[i, j] = near
                common[i, j] = overlap(
                    quilt.bank, quilt.detector, layer - 1, near, element, seam, work.cell
                )
                j += 1
