"""A bank of layers of training showers, and the choice of those that make showers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Particles
from caloforge.stages import quilting
from caloforge.stages.expectedpatterns import SIZE, ExpectedPatterns, Past, tables
from caloforge.stages.kinds import Kinds
from caloforge.stages.patternarrays import Array, Asked, Detector, Layers, Quilt, Rules, Space
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.quilting import BOX, NOBODY, PAST, TRAITS

__all__ = ["PatternBank"]

PREFERENCE = 400  # layers of training showers that it is fitted to
STRAIGHT = 1e-6  # sine of the angle to the axis below which a particle flies along it
FAINT = 0.2  # share of the hits of all showers that hold less than the energy that divides them


class PatternBank:
    """Layers of training showers by their state, and the choice of those that make showers.

    The state of a layer is what `PatternWeights` names. Of the nearest layers in it, the one is
    taken with the least

        1 - sum_v sqrt(p_v q_v) + preferred . (log r, log^2 r, log n, w) + 0.15 d^2

    where p and q are the shares of energy in the cells of the layer before, as chosen and as the
    candidate had it, and d is the distance of the states. Compact patterns overlap more, whatever
    was before: `preferred` is what a candidate's own radius r, hits n and width w explain of it,
    fitted once to layers of training showers among their neighbours.

    Centres are looked at, and patterns are compared, in a frame, see `quilting.frame_of`: it turns
    the centre of the layer before to one side, or the direction of an inclined particle. The
    pattern is turned from the frame of its own shower into the other's, and scaled to the energy of
    the layer.

    The nearest states are found exactly: those of a layer lie in boxes of up to 64, cut where the
    states of a box differ most, and only boxes that are near enough are looked into.

    Args:
        hits: of the training showers.
        particles: that made them, n.
        detector: where hits may lie.
        neighbours: the nearest layers that one is chosen of.
        weights: of the state.
        fitted: an earlier bank's, by name; by default fitted.
    """

    def __init__(
        self,
        hits: Layers,
        particles: Particles,
        detector: Detector,
        neighbours: int,
        weights: PatternWeights,
        fitted: dict[str, Array] | None = None,
    ) -> None:
        layers = hits.energies.shape[1]
        self.kinds = Kinds(particles.pdg)
        directed = bool((np.hypot(*particles.direction[:, :2].T) > STRAIGHT).any())
        rules = Rules(weights.vector(), neighbours, 1.0, 1.0, directed, len(self.kinds) > 1)
        fitted = fitted or {}
        expected = fitted.get("expected", np.zeros((layers, SIZE), np.float32))
        space = _empty(hits, 8 + 2 * directed + rules.mixed)
        self.quilt = Quilt(detector, hits, tables(expected), space, rules)
        scales = fitted["scales"] if fitted else self._scales()
        rules = rules._replace(unit=float(scales[0]), bright=float(scales[1]))
        self.quilt = self.quilt._replace(rules=rules)
        self.fitted = {
            "scales": scales,
            "expected": expected,
            "preferred": fitted.get("preferred", np.zeros((layers, TRAITS), np.float32)),
        }
        space.preferred[:] = self.fitted["preferred"]
        self._describe(self._asked(hits.energies, particles), fit=not fitted)

    def choose(self, energies: Array, particles: Particles, u: Array) -> tuple[Array, Array]:
        """Showers whose layers make others, and what turns them, shape (n, n_layers) each.

        A layer that no training shower reached stays empty: -1.

        Args:
            energies: of the layers [MeV], shape (n, n_layers).
            particles: n incident particles.
            u: numbers from 0 to below 1, shape (n, n_layers + 1).
        """
        asked = self._asked(energies, particles)
        showers = np.full(energies.shape, -1, np.int32)
        elements = np.zeros(energies.shape, np.int32)
        quilting.choose_all(
            self.quilt, asked, np.ascontiguousarray(u, np.float32), showers, elements
        )
        return showers, elements

    def _asked(self, energies: Array, particles: Particles) -> Asked:
        """What is known of showers before they are made."""
        energies = np.ascontiguousarray(energies, np.float64)
        before = np.cumsum(energies, 1) - energies
        total = energies.sum(1, keepdims=True)
        across = particles.direction[:, :2].astype(float)
        if not self.quilt.rules.directed:
            across = np.zeros_like(across)
        return Asked(
            energies,
            np.divide(before, total, out=np.zeros_like(before), where=total > 0),
            particles.energy.astype(float),
            across,
            self.kinds.place(particles.pdg),
        )

    def _scales(self) -> NDArray[np.float32]:
        """Mean radius, and the energy that divides hits of few particles from those of many.

        A fifth of all hits is fainter. That is above the most frequent energy of one particle.
        """
        hits = self.quilt.bank
        layers = hits.energies.shape[1]
        counts, codes = np.diff(hits.first), hits.roots.shape[1]
        row = np.repeat(
            np.tile(np.arange(layers, dtype=np.int32) * codes, len(hits.energies)), counts
        )
        shares = (hits.roots.astype(np.float32) ** 2).ravel()[row + hits.share]
        energies = shares * np.repeat(hits.energies.ravel(), counts)
        bright = np.quantile(energies, FAINT) if len(energies) else 1.0
        return np.array([quilting.mean_radius(self.quilt) or 1.0, bright], np.float32)

    def _describe(self, asked: Asked, *, fit: bool) -> None:
        """Frames, traits and states of all layers, and what is expected and preferred of them."""
        space, (n, layers) = self.quilt.space, asked.energies.shape
        before, sums, pasts = np.zeros((n, 6)), np.zeros((n, 5)), np.zeros((n, PAST))
        states = np.zeros((n, space.lower.shape[1]), np.float32)
        for layer in range(layers):
            quilting.note_pasts(self.quilt, asked, layer, before, sums, pasts)
            filled = np.flatnonzero(asked.energies[:, layer] > 0)
            if fit and layer > 0 and len(filled):
                past, unit = Past.of(pasts[filled]), self.quilt.rules.unit
                expected = ExpectedPatterns.fit(past, before[filled], unit)
                self.fitted["expected"][layer] = expected.row()
                self.quilt = self.quilt._replace(expected=tables(self.fitted["expected"]))
            quilting.describe(self.quilt, asked, layer, pasts, states)
            for box, part in enumerate(_boxes(states, filled, int(space.boxes[layer]))):
                space.state[layer, box, :, : len(part)] = states[part].T
                space.shower[layer, box, : len(part)] = part
                space.lower[layer, :, box] = states[part].min(0)
                space.upper[layer, :, box] = states[part].max(0)
            if fit and layer > 0:
                self.fitted["preferred"][layer] = self._prefer(layer, filled, states)
                space.preferred[layer] = self.fitted["preferred"][layer]

    def _prefer(self, layer: int, filled: Array, states: Array) -> Array:
        """What the overlap prefers: of layers of the bank, each among its own neighbours."""
        k = min(self.quilt.rules.neighbours, len(filled) - 1)
        if k < 2:
            return np.zeros(TRAITS)
        queries = filled[np.unique(np.linspace(0, len(filled) - 1, PREFERENCE).astype(int))]
        showers, common = np.zeros((len(queries), k), np.int32), np.zeros((len(queries), k))
        quilting.overlaps(self.quilt, layer, queries, states[queries], showers, common)
        traits = self.quilt.space.traits[showers, layer].astype(float)
        traits -= traits.mean(1, keepdims=True)
        more = (common - common.mean(1, keepdims=True)).ravel()
        return np.asarray(np.linalg.lstsq(traits.reshape(len(more), -1), more, rcond=1e-6)[0])


def _empty(bank: Layers, parts: int) -> Space:
    """Room for frames, traits and states of so many parts."""
    n, layers = bank.energies.shape
    filled = (bank.energies > 0).sum(0)
    boxes = -(-filled // BOX)
    most = int(boxes.max(initial=1))
    return Space(
        np.zeros((n, layers), np.int32),
        np.zeros((n, layers, TRAITS), np.float32),
        np.zeros((layers, TRAITS), np.float32),
        boxes,
        np.full((layers, parts, most), np.inf, np.float32),
        np.full((layers, parts, most), np.inf, np.float32),
        np.full((layers, most, parts, BOX), np.inf, np.float32),
        np.full((layers, most, BOX), NOBODY, np.int32),
    )


def _boxes(states: Array, rows: Array, boxes: int) -> list[Array]:
    """Rows in boxes of nearly as many neighbours each: cut in two where they differ most."""
    if boxes < 2:
        return [rows] if boxes else []
    part = int(np.ptp(states[rows], 0).argmax())
    left = boxes // 2
    cut = len(rows) * left // boxes
    order = rows[np.argpartition(states[rows, part], cut)]
    return _boxes(states, order[:cut], left) + _boxes(states, order[cut:], boxes - left)
