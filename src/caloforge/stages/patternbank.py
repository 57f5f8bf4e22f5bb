"""A bank of layers of training showers, and the choice of one that continues a shower."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from caloforge.showers import Particles
from caloforge.stages.expectedpatterns import ExpectedPatterns, Past
from caloforge.stages.kinds import Kinds
from caloforge.stages.layermoments import Moments, Upstream
from caloforge.stages.patternstates import LITTLE, PatternWeights, states, traits
from caloforge.stages.turning import Turning

__all__ = ["LayerPatterns", "PatternBank"]

FITTED = 400  # layers of training showers that the preference is fitted to
STRAIGHT = 1e-6  # sine of the angle to the axis below which a particle flies along it
NEAREST = 0.15  # what the square of a distance counts beside an overlap, which is 0 to 1
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class LayerPatterns(Protocol):
    """Layers of training showers, whatever they are made of.

    Hits of one layer in some showers are a named tuple, with the shower of each as `event`.
    """

    @property
    def turning(self) -> Turning:
        """The rotations and reflections that patterns may be moved by."""

    @property
    def layer_energies(self) -> NDArray[Any]:
        """Of the showers [MeV], shape (n, n_layers)."""

    def layer(self, layer: int, showers: Integers) -> Any:
        """Hits of a layer as the training showers have them.

        Args:
            layer: its number.
            showers: numbers of training showers, shape (n,).
        """

    def turned(self, layer: int, showers: Integers, element: Integers, wanted: Floats) -> Any:
        """Hits of a layer, turned and with other energies.

        Args:
            layer: its number.
            showers: numbers of training showers, shape (n,).
            element: by which each is turned, shape (n,).
            wanted: energies of the layer [MeV], shape (n,).
        """

    def moments(self, layer: int, n: int, hits: Any) -> Moments:
        """Of n showers with these hits in a layer."""

    def seam(self, layer: int, n: int, hits: Any) -> NDArray[np.float32]:
        """Roots of the shares of energy in the places of a layer, shape (n, places)."""

    def overlap(
        self, layer: int, candidates: Integers, element: Integers, seam: NDArray[np.float32]
    ) -> Floats:
        """sum_v sqrt(p_v q_v) over the places of a layer, shape (n, candidates).

        Args:
            layer: its number.
            candidates: numbers of training showers, shape (n, candidates).
            element: by which each is turned, shape (n, candidates).
            seam: of the layer as it was chosen, see `seam`.
        """


class PatternBank:
    """Layers of training showers by their state, and showers made of them.

    The state of a layer is what `PatternWeights` names. Of the nearest layers in it, the one is
    taken with the least

        1 - sum_v sqrt(p_v q_v) + preferred . (log r, log^2 r, log n, w) + 0.15 d^2

    where p and q are the shares of energy in the places of the layer before, as chosen and as the
    candidate had it, and d is the distance of the states. Compact patterns overlap more, whatever
    was before: `preferred` is what a candidate's own radius r, hits n and width w explain of it,
    fitted once to layers of training showers among their neighbours.

    Centres are looked at, and patterns are compared, in a frame, see `Turning.frame`: it turns the
    centre of the layer before to one side, or the direction of an inclined particle. The pattern is
    turned from the frame of its own shower into the other's, and scaled to the energy of the layer.

    Args:
        patterns: of the training showers.
        particles: that made them, n.
        neighbours: the nearest layers that one is chosen of.
        weights: of the state.
        preferred: shape (n_layers, 4); by default fitted.
    """

    def __init__(
        self,
        patterns: LayerPatterns,
        particles: Particles,
        neighbours: int,
        weights: PatternWeights,
        preferred: NDArray[Any] | None = None,
    ) -> None:
        self.patterns, self.neighbours, self.weights = patterns, neighbours, weights
        self.turning = patterns.turning
        self.kinds = Kinds(particles.pdg)
        self.is_inclined = bool(_inclined(particles).any())
        self._describe(patterns.layer_energies.astype(float), particles)
        self.preferred = self._preferred() if preferred is None else preferred

    def _describe(self, energies: Floats, particles: Particles) -> None:
        """Traits, frames and states of all layers of the bank, and which of them hold energy."""
        n, layers = energies.shape
        every = np.arange(n)
        moments = [
            self.patterns.moments(i, n, self.patterns.layer(i, every)) for i in range(layers)
        ]
        whole = Upstream.none(n)
        for now in moments:
            whole = whole.then(now)
        self.unit = float(whole.moment_r.sum() / max(whole.energy.sum(), LITTLE)) or 1.0
        self.traits = [traits(now, self.unit) for now in moments]
        self.filled = [np.flatnonzero(energies[:, i] > 0) for i in range(layers)]
        self.frames: list[Integers] = []
        self.trees: list[Any] = []
        self.expected: list[ExpectedPatterns | None] = []
        before, run = None, Upstream.none(n)
        for layer, now in enumerate(moments):
            frame = self._frame(particles, before, run)
            past = self._past(layer, energies, particles, before, run)
            filled = self.filled[layer]
            self.expected.append(
                ExpectedPatterns.fit(past[filled], now[filled], self.unit)
                if past is not None and len(filled)
                else None
            )
            state = self._states(layer, energies, particles, past, frame)
            self.frames.append(frame)
            self.trees.append(cKDTree(state[filled]))
            before, run = now, run.then(now)

    def _preferred(self) -> NDArray[np.float32]:
        """What the overlap prefers: of layers of the bank, each among its own neighbours."""
        layers = len(self.filled)
        preferred = np.zeros((layers, self.traits[0].shape[1]), np.float32)
        for layer in range(1, layers):
            filled, tree = self.filled[layer], self.trees[layer]
            k = min(self.neighbours, len(filled) - 1)
            if k < 2:
                continue
            some = np.unique(np.linspace(0, len(filled) - 1, FITTED).astype(int))
            _, near = tree.query(tree.data[some], k + 1)
            queries, candidates = filled[some], filled[near[:, 1:]]  # without themselves
            own = self.patterns.layer(layer - 1, queries)
            seam = self.patterns.seam(layer - 1, len(queries), own)
            element = self._ratio(layer, self.frames[layer][queries][:, None], candidates)
            overlap = self.patterns.overlap(layer - 1, candidates, element, seam)
            own_traits = self.traits[layer][candidates]
            own_traits = own_traits - own_traits.mean(1, keepdims=True)
            more = (overlap - overlap.mean(1, keepdims=True)).ravel()
            flat = own_traits.reshape(len(more), -1)
            preferred[layer] = np.linalg.lstsq(flat, more, rcond=1e-6)[0]
        return preferred

    def sample(
        self, energies: NDArray[Any], particles: Particles, u: NDArray[Any]
    ) -> Iterator[Any]:
        """Hits of one layer of all showers after the other.

        A layer that no training shower reached stays empty.

        Args:
            energies: of the layers [MeV], shape (n, n_layers).
            particles: n incident particles.
            u: numbers from 0 to below 1, shape (n, n_layers + 1).
        """
        n = len(energies)
        energies, inclined = energies.astype(float), self.is_inclined & _inclined(particles)
        nothing = self.patterns.layer(0, np.arange(0))
        before, run, seam = None, Upstream.none(n), np.zeros((n, 0), np.float32)
        for layer in range(energies.shape[1]):
            frame = self._frame(particles, before, run)
            free = run.energy <= 0
            any_side = free & ~inclined
            frame[any_side] = (u[any_side, layer] * len(self.turning)).astype(int)
            on, hits = np.flatnonzero(energies[:, layer] > 0), nothing
            if len(on) and len(self.filled[layer]):
                past = self._past(layer, energies, particles, before, run)
                state = self._states(layer, energies, particles, past, frame)[on]
                chosen = self._choose(layer, state, frame[on], seam[on], free[on], u[on, -1])
                element = self._ratio(layer, frame[on], chosen)
                hits = self.patterns.turned(layer, chosen, element, energies[on, layer])
                hits = hits._replace(event=on[hits.event])
            yield hits
            now = self.patterns.moments(layer, n, hits)
            seam = self.patterns.seam(layer, n, hits)
            before, run = now, run.then(now)

    def _frame(self, particles: Particles, before: Moments | None, run: Upstream) -> Integers:
        """The element that turns the layer before to one side; all before decide where it fails.

        So it does where the layer is empty, or a single hit lies on the axis of a reflection. Of an
        inclined particle the direction is turned to that side, and the layer before decides.
        """
        none = np.zeros(len(run.energy))
        x, y = (none, none) if before is None else (before.x, before.y)
        far_x, far_y = run.mean(run.moment_x), run.mean(run.moment_y)
        if self.is_inclined:
            across, inclined = self.unit * particles.direction.T.astype(float), _inclined(particles)
            far_x, far_y = np.where(inclined, x, far_x), np.where(inclined, y, far_y)
            x, y = np.where(inclined, across[0], x), np.where(inclined, across[1], y)
        return self.turning.frame(x, y, far_x, far_y)

    def _ratio(self, layer: int, frame: Integers, showers: Integers) -> Integers:
        """The element that turns layers of the bank from their own frame into another."""
        return self.turning.between(frame, self.frames[layer][showers])

    def _past(
        self,
        layer: int,
        energies: Floats,
        particles: Particles,
        before: Moments | None,
        run: Upstream,
    ) -> Past | None:
        if before is None:
            return None
        return Past.of(layer, energies, particles.energy, before, run, self.unit)

    def _states(
        self,
        layer: int,
        energies: Floats,
        particles: Particles,
        past: Past | None,
        frame: Integers,
    ) -> Floats:
        """See `states`; with direction and kind, where those of the bank differ from the axis."""
        expected, turning = self.expected[layer], self.turning
        known = states(
            self.weights, layer, energies, particles.energy, past, expected, frame, turning
        )
        parts = []
        if self.is_inclined:
            x, y, _ = particles.direction.T.astype(float)
            parts += [self.weights.direction * part for part in turning.turned(x, y, frame)]
        if len(self.kinds) > 1:
            parts.append(self.kinds.place(particles.pdg))
        return np.concatenate([known, *(part[:, None] for part in parts)], 1)

    def _choose(
        self,
        layer: int,
        state: Floats,
        frame: Integers,
        seam: NDArray[np.float32],
        free: NDArray[np.bool_],
        u: NDArray[Any],
    ) -> Integers:
        """Showers of the bank whose layer continues others, shape (n,)."""
        k = min(self.neighbours, len(self.filled[layer]))
        away, near = self.trees[layer].query(state, range(1, k + 1))
        candidates: Integers = self.filled[layer][near]
        first = (u * self.kinds.same(away)).astype(int)  # where nothing was before, any will do
        rows = np.arange(len(state))
        if layer == 0:
            return np.asarray(candidates[rows, first])
        element = self._ratio(layer, frame[:, None], candidates)
        overlap = self.patterns.overlap(layer - 1, candidates, element, seam)
        expected = (self.traits[layer][candidates] * self.preferred[layer]).sum(2)
        best = (expected - overlap + NEAREST * away**2).argmin(1)
        return np.asarray(candidates[rows, np.where(free, first, best)])


def _inclined(particles: Particles) -> NDArray[np.bool_]:
    """Which particles do not fly along the axis, shape (n,)."""
    return np.asarray(np.hypot(*particles.direction[:, :2].T) > STRAIGHT)
