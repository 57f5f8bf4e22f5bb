"""A bank of layers of training showers, and the choice of one that continues a shower."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from caloforge.stages.expectedpatterns import ExpectedPatterns, Past
from caloforge.stages.layermoments import Moments, Upstream
from caloforge.stages.patternstates import LITTLE, PatternWeights, states, traits
from caloforge.stages.voxelpatterns import VoxelHits, VoxelPatterns

__all__ = ["PatternBank"]

FITTED = 400  # layers of training showers that the preference is fitted to
NEAREST = 0.15  # what the square of a distance counts beside an overlap, which is 0 to 1
ASIDE = 1e-2  # of the centre of all layers before, beside that of the layer before
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class PatternBank:
    """Layers of training showers by their state, and showers made of them.

    The state of a layer is what `PatternWeights` names. Of the nearest layers in it, the one is
    taken with the least

        1 - sum_v sqrt(p_v q_v) + preferred . (log r, log^2 r, log n, w) + 0.15 d^2

    where p and q are the shares of energy in the voxels of the layer before, as chosen and as the
    candidate had it, and d is the distance of the states. Compact patterns overlap more, whatever
    was before: `preferred` is what a candidate's own radius r, hits n and width w explain of it,
    fitted once to layers of training showers among their neighbours.

    Centres are looked at, and patterns are compared, in a frame turned by a symmetry of the voxels,
    see `Turning.frame`; the pattern is turned from the frame of its own shower into the other's,
    and scaled to the energy of the layer.

    Args:
        patterns: of the training showers.
        energy_inc: their incident energies [MeV], shape (n,).
        neighbours: the nearest layers that one is chosen of.
        weights: of the state.
        preferred: shape (n_layers, 4); by default fitted.
    """

    def __init__(
        self,
        patterns: VoxelPatterns,
        energy_inc: NDArray[Any],
        neighbours: int,
        weights: PatternWeights,
        preferred: NDArray[Any] | None = None,
    ) -> None:
        self.patterns, self.neighbours, self.weights = patterns, neighbours, weights
        self.turning = patterns.turning
        self._describe(patterns.layer_energies.astype(float), energy_inc)
        self.preferred = self._preferred() if preferred is None else preferred

    def _describe(self, energies: Floats, energy_inc: NDArray[Any]) -> None:
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
            frame = self._frame(before, run)
            past = self._past(layer, energies, energy_inc, before, run)
            filled = self.filled[layer]
            self.expected.append(
                ExpectedPatterns.fit(past[filled], now[filled], self.unit)
                if past is not None and len(filled)
                else None
            )
            state = self._states(layer, energies, energy_inc, past, frame)
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
        self, energies: NDArray[Any], energy_inc: NDArray[Any], u: NDArray[Any]
    ) -> Iterator[VoxelHits]:
        """Hits of one layer of all showers after the other.

        A layer that no training shower reached stays empty.

        Args:
            energies: of the layers [MeV], shape (n, n_layers).
            energy_inc: incident energies [MeV], shape (n,).
            u: numbers from 0 to below 1, shape (n, n_layers + 1).
        """
        n = len(energies)
        energies, incident = energies.astype(float), energy_inc.astype(float)
        nothing = self.patterns.layer(0, np.arange(0))
        before, run, seam = None, Upstream.none(n), np.zeros((n, 0), np.float32)
        for layer in range(energies.shape[1]):
            frame = self._frame(before, run)
            free = run.energy <= 0
            frame[free] = (u[free, layer] * len(self.turning)).astype(int)
            on, hits = np.flatnonzero(energies[:, layer] > 0), nothing
            if len(on) and len(self.filled[layer]):
                past = self._past(layer, energies, incident, before, run)
                state = self._states(layer, energies, incident, past, frame)[on]
                chosen = self._choose(layer, state, frame[on], seam[on], free[on], u[on, -1])
                element = self._ratio(layer, frame[on], chosen)
                hits = self.patterns.turned(layer, chosen, element, energies[on, layer])
                hits = hits._replace(event=on[hits.event])
            yield hits
            now = self.patterns.moments(layer, n, hits)
            seam = self.patterns.seam(layer, n, hits)
            before, run = now, run.then(now)

    def _frame(self, before: Moments | None, run: Upstream) -> Integers:
        """The symmetry that turns the layer before to one side; all before decide where it fails.

        So it does where the layer is empty, or a single hit lies on the axis of a reflection.
        """
        if before is None:
            return np.zeros(len(run.energy), np.int64)
        x, y = run.mean(run.moment_x), run.mean(run.moment_y)
        return self.turning.frame(before.x + ASIDE * x, before.y + ASIDE * y)

    def _ratio(self, layer: int, frame: Integers, showers: Integers) -> Integers:
        """The symmetry that turns layers of the bank from their own frame into another."""
        return np.asarray(self.turning.ratio[frame, self.frames[layer][showers]])

    def _past(
        self,
        layer: int,
        energies: Floats,
        energy_inc: NDArray[Any],
        before: Moments | None,
        run: Upstream,
    ) -> Past | None:
        if before is None:
            return None
        return Past.of(layer, energies, energy_inc, before, run, self.unit)

    def _states(
        self,
        layer: int,
        energies: Floats,
        energy_inc: NDArray[Any],
        past: Past | None,
        frame: Integers,
    ) -> Floats:
        expected = self.expected[layer]
        return states(
            self.weights, layer, energies, energy_inc, past, expected, frame, self.turning
        )

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
        first = (u * k).astype(int)  # where nothing was before, any will do
        rows = np.arange(len(state))
        if layer == 0:
            return np.asarray(candidates[rows, first])
        element = self._ratio(layer, frame[:, None], candidates)
        overlap = self.patterns.overlap(layer - 1, candidates, element, seam)
        expected = (self.traits[layer][candidates] * self.preferred[layer]).sum(2)
        best = (expected - overlap + NEAREST * away**2).argmin(1)
        return np.asarray(candidates[rows, np.where(free, first, best)])
