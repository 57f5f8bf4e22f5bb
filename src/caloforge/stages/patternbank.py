"""A bank of layers of training showers, and the choice of one that continues a shower."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from scipy.spatial import cKDTree

from caloforge.geometry import Geometry
from caloforge.showers import entries_of
from caloforge.showers.ragged import sums
from caloforge.stages.layermoments import Moments, Upstream
from caloforge.stages.turning import Turning

__all__ = ["PatternBank", "PatternWeights"]

FITTED = 400  # layers of training showers that the preference is fitted to
NEAREST = 0.1  # what the square of a distance counts beside an overlap, which is 0 to 1
ASIDE = 1e-2  # of the centre of all layers before, beside that of the layer before
NARROW = 0.3  # of the mean radius of showers: below it, radii count as equal
SPARE = 0.2  # of the least energy of its hits: what a layer has to hold beside
LITTLE = 1e-3  # energy that counts as none [MeV]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PatternWeights:
    """What a unit of each part of a state counts in the distance.

    Args:
        energy: of the layer, as a logarithm. It sets by which factors patterns are scaled.
        energy_inc: incident energy, as a logarithm.
        age: share of the shower's energy in the layers before.
        energy_before: of the layer before, as a logarithm.
        hits: of the layer before, as a logarithm.
        radius: mean radius of the layer before, as a logarithm.
        width: standard deviation of the radius in the layer before, over the mean.
        centre: of gravity of the layer before, over its mean radius.
        centre_so_far: of gravity of all layers before, over the same.
        radius_so_far: mean radius of all layers before, as a logarithm.
        hits_so_far: of all layers before, as a logarithm.
    """

    energy: float = 10.0
    energy_inc: float = 4.0
    age: float = 10.0
    energy_before: float = 1.0
    hits: float = 1.0
    radius: float = 1.0
    width: float = 0.5
    centre: float = 1.0
    centre_so_far: float = 16.0
    radius_so_far: float = 4.0
    hits_so_far: float = 4.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not all(0 <= weight < np.inf for weight in astuple(self)):
            raise ValueError(f"weights of a state must be 0 or more, got {self}")


class PatternBank:
    """Layers of training showers by their state, and showers made of them.

    The state of a layer is what `PatternWeights` names. Of the nearest layers in it, the one is
    taken with the least

        1 - sum_v sqrt(p_v q_v) + preferred . (log r, log^2 r, log n, w) + 0.1 d^2

    where p and q are the shares of energy in the voxels of the layer before, as chosen and as the
    candidate had it, and d is the distance of the states. Compact patterns overlap more, whatever
    was before: `preferred` is what a candidate's own radius r, hits n and width w explain of it,
    fitted once to layers of training showers among their neighbours.

    Centres are looked at, and patterns are compared, in a frame turned by a symmetry of the voxels,
    see `Turning.frame`; the pattern is turned from the frame of its own shower into the other's,
    and scaled to the energy of the layer.

    Args:
        rows: what a `PatternStage` keeps, by name.
        geometry: the voxels.
        neighbours: the nearest layers that one is chosen of.
        weights: of the state.
        symmetric: whether patterns are turned.
    """

    def __init__(
        self,
        rows: dict[str, NDArray[Any]],
        geometry: Geometry,
        neighbours: int,
        weights: PatternWeights,
        *,
        symmetric: bool,
    ) -> None:
        self.geometry, self.neighbours, self.weights = geometry, neighbours, weights
        self.turning = Turning(geometry, symmetric)
        self.threshold = float(np.float32(geometry.threshold))  # as energies are compared with it
        self.energy_inc, self.layer_energies = rows["energy_inc"], rows["layer_energies"]
        self.offset, self.voxel, self.root = rows["offset"], rows["voxel"], rows["root"]
        self.preferred = rows.get("preferred", np.zeros((geometry.n_layers, 4), np.float32))
        self._roots = self.root.astype(np.float32)
        self._describe(self.layer_energies.astype(float))

    def _describe(self, energies: Floats) -> None:
        """Traits, frames and states of all layers of the bank, and which of them hold energy."""
        n, layers = energies.shape
        every = np.arange(n)
        moments = [self._moments_of(every, i, energies[:, i]) for i in range(layers)]
        whole = Upstream.none(n)
        for now in moments:
            whole = whole.then(now)
        self.unit = float(whole.moment_r.sum() / max(whole.energy.sum(), LITTLE)) or 1.0
        self.traits = [self._traits(now) for now in moments]
        self.filled = [np.flatnonzero(energies[:, i] > 0) for i in range(layers)]
        self.frames: list[Integers] = []
        self.trees: list[Any] = []
        before, run = None, Upstream.none(n)
        for layer, now in enumerate(moments):
            frame = self._frame(before, run)
            state = self._state(layer, energies, self.energy_inc, before, run, frame)
            self.frames.append(frame)
            self.trees.append(cKDTree(state[self.filled[layer]]))
            before, run = now, run.then(now)

    def find_preferred(self) -> None:
        """Fit what the overlap prefers to layers of the bank, each among its own neighbours."""
        preferred = np.zeros_like(self.preferred)
        for layer in range(1, self.geometry.n_layers):
            filled, tree = self.filled[layer], self.trees[layer]
            k = min(self.neighbours, len(filled) - 1)
            if k < 2:
                continue
            some = np.unique(np.linspace(0, len(filled) - 1, FITTED).astype(int))
            _, near = tree.query(tree.data[some], k + 1)
            queries, candidates = filled[some], filled[near[:, 1:]]  # without themselves
            own = self._dense_roots(queries, layer - 1)
            element = self.turning.ratio[
                self.frames[layer][queries][:, None], self.frames[layer][candidates]
            ]
            overlap = self._overlap(layer, candidates, element, own)
            traits = self.traits[layer][candidates]
            traits = (traits - traits.mean(1, keepdims=True)).reshape(-1, traits.shape[2])
            more = (overlap - overlap.mean(1, keepdims=True)).ravel()
            preferred[layer] = np.linalg.lstsq(traits, more, rcond=1e-6)[0]
        self.preferred = preferred

    def sample(
        self, energies: NDArray[Any], energy_inc: NDArray[Any], u: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Voxels of showers [MeV], shape (n, n_voxels).

        A layer that no training shower reached stays empty.

        Args:
            energies: of the layers [MeV], shape (n, n_layers).
            energy_inc: incident energies [MeV], shape (n,).
            u: numbers from 0 to below 1, shape (n, n_layers + 1).
        """
        n = len(energies)
        energies, incident = energies.astype(float), energy_inc.astype(float)
        dense = np.zeros((n, self.geometry.n_voxels), np.float32)
        before, run, roots = None, Upstream.none(n), np.zeros((n, 0), np.float32)
        for layer in range(self.geometry.n_layers):
            voxels = self.geometry.layer_slice(layer)
            frame = self._frame(before, run)
            free = run.energy <= 0
            frame[free] = (u[free, layer] * len(self.turning)).astype(int)
            on = np.flatnonzero(energies[:, layer] > 0)
            if len(on) and len(self.filled[layer]):
                state = self._state(layer, energies, incident, before, run, frame)[on]
                chosen = self._choose(layer, state, frame[on], roots[on], free[on], u[on, -1])
                element = self.turning.ratio[frame[on], self.frames[layer][chosen]]
                event, voxel, energy = self._pattern(layer, chosen, element, energies[on, layer])
                dense[on[event], voxels.start + voxel] = energy
                now = self._moments(layer, n, on[event], voxel, energy)
            else:
                now = Moments(*np.zeros((6, n)))
            total = np.where(now.energy > 0, now.energy, 1)[:, None]
            roots = np.sqrt(dense[:, voxels] / total).astype(np.float32)
            before, run = now, run.then(now)
        return dense

    # ------------------------------------------------------------ states

    def _frame(self, before: Moments | None, run: Upstream) -> Integers:
        """The symmetry that turns the layer before to one side; all before decide where it fails.

        So it does where the layer is empty, or a single hit lies on the axis of a reflection.
        """
        if before is None:
            return np.zeros(len(run.energy), np.int64)
        x, y = run.mean(run.moment_x), run.mean(run.moment_y)
        return self.turning.frame(before.x + ASIDE * x, before.y + ASIDE * y)

    def _state(
        self,
        layer: int,
        energies: Floats,
        energy_inc: NDArray[Any],
        before: Moments | None,
        run: Upstream,
        frame: Integers,
    ) -> Floats:
        """States of a layer, shape (n, parts)."""
        w, total = self.weights, energies.sum(1)
        age = energies[:, :layer].sum(1) / np.where(total > 0, total, 1)
        parts = [
            w.energy * np.log(energies[:, layer].clip(LITTLE)),
            w.energy_inc * np.log(energy_inc),
            w.age * age,
        ]
        if before is not None:
            radius = before.radius.clip(NARROW * self.unit)
            x, y = self.turning.turned(before.x, before.y, frame)
            far_x, far_y = self.turning.turned(
                run.mean(run.moment_x), run.mean(run.moment_y), frame
            )
            far = run.mean(run.moment_r) / self.unit
            parts += [
                w.energy_before * np.log(energies[:, layer - 1].clip(LITTLE)),
                w.hits * np.log(before.hits + 0.5),
                w.radius * np.log(radius / self.unit),
                w.width * before.width / radius,
                w.centre * x / radius,
                w.centre * y / radius,
                w.centre_so_far * far_x / radius,
                w.centre_so_far * far_y / radius,
                w.radius_so_far * np.log(far + NARROW),
                w.hits_so_far * np.log(run.hits + 0.5),
            ]
        return np.stack(parts, 1)

    def _traits(self, layer: Moments) -> NDArray[np.float32]:
        """What a pattern is like, whatever was before it, shape (n, 4)."""
        radius = np.log((layer.radius / self.unit).clip(NARROW))
        parts = [radius, radius**2, np.log(layer.hits + 0.5), layer.width / self.unit]
        return np.stack(parts, 1).astype(np.float32)

    # ------------------------------------------------------------ patterns

    def _choose(
        self,
        layer: int,
        state: Floats,
        frame: Integers,
        roots: NDArray[np.float32],
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
        element = self.turning.ratio[frame[:, None], self.frames[layer][candidates]]
        overlap = self._overlap(layer, candidates, element, roots)
        expected = (self.traits[layer][candidates] * self.preferred[layer]).sum(2)
        best = (expected - overlap + NEAREST * away**2).argmin(1)
        return np.asarray(candidates[rows, np.where(free, first, best)])

    def _overlap(
        self, layer: int, candidates: Integers, element: Integers, roots: NDArray[np.float32]
    ) -> Floats:
        """sum_v sqrt(p_v q_v) of the layer before, shape (n, candidates).

        Args:
            layer: the layer after it.
            candidates: showers of the bank, shape (n, candidates).
            element: symmetry by which each is turned, shape (n, candidates).
            roots: of the shares of the chosen layer before, shape (n, voxels).
        """
        n, k = candidates.shape
        offset, hits = self._hits(candidates.ravel(), layer - 1)
        pair = np.repeat(np.arange(n * k), np.diff(offset))
        images = self.turning.images[layer - 1]
        place = images.ravel()[(element.ravel() * images.shape[1])[pair] + self.voxel[hits]]
        there = roots.ravel()[(pair // k) * roots.shape[1] + place]
        return sums(pair, there * self._roots[hits], n * k).reshape(n, k)

    def _pattern(
        self, layer: int, chosen: Integers, element: Integers, wanted: Floats
    ) -> tuple[Integers, Integers, NDArray[np.float32]]:
        """Shower, voxel and energy [MeV] of the hits of chosen layers with the wanted energies."""
        offset, hits = self._hits(chosen, layer)
        event = np.repeat(np.arange(len(chosen)), np.diff(offset))
        voxel = self.turning.images[layer][element[event], self.voxel[hits]]
        own = self.layer_energies[chosen, layer].astype(float)
        energy = _scaled(self._roots[hits].astype(float) ** 2, event, own)
        energy = _scaled_above(energy, event, wanted, self.threshold)
        kept = energy >= self.threshold
        if not kept.all():
            bare = sums(event, kept.astype(float), len(wanted)) == 0
            largest = _largest(energy, event)
            kept[largest[bare[event[largest]]]] = True  # a layer with energy has a hit
            event, voxel = event[kept], voxel[kept]
            energy = _scaled(energy[kept], event, wanted)
        return event, voxel, energy.astype(np.float32)

    def _hits(self, showers: Integers, layer: int) -> tuple[Integers, Integers]:
        return entries_of(self.offset, showers * self.geometry.n_layers + layer)

    def _dense_roots(self, showers: Integers, layer: int) -> NDArray[np.float32]:
        """Roots of the shares of a layer of the bank, shape (n, voxels)."""
        offset, hits = self._hits(showers, layer)
        roots = np.zeros((len(showers), self.turning.images[layer].shape[1]), np.float32)
        roots[np.repeat(np.arange(len(showers)), np.diff(offset)), self.voxel[hits]] = self._roots[
            hits
        ]
        return roots

    def _moments_of(self, showers: Integers, layer: int, wanted: Floats) -> Moments:
        """Of a layer of the bank, with the wanted energies."""
        offset, hits = self._hits(showers, layer)
        event = np.repeat(np.arange(len(showers)), np.diff(offset))
        energy = _scaled(self._roots[hits].astype(float) ** 2, event, wanted)
        return self._moments(layer, len(showers), event, self.voxel[hits], energy)

    def _moments(
        self, layer: int, n: int, event: Integers, voxel: NDArray[Any], energy: NDArray[Any]
    ) -> Moments:
        x, y, r = (
            places[layer][voxel] for places in (self.turning.x, self.turning.y, self.turning.r)
        )
        return Moments.of(n, event, energy.astype(float), x, y, r)


def _scaled(energy: Floats, event: Integers, wanted: Floats) -> Floats:
    """Hits scaled so that those of each shower have the wanted sum."""
    total = sums(event, energy, len(wanted))
    factor = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0)
    return energy * factor[event]


def _scaled_above(energy: Floats, event: Integers, wanted: Floats, threshold: float) -> Floats:
    """The same by what hits hold above the threshold, so that none falls below it.

    Layers that hold little more than their hits need are scaled as a whole.
    """
    above = (energy - threshold).clip(0)
    least = threshold * np.bincount(event, minlength=len(wanted))
    spare = wanted - least
    some = (spare > SPARE * least) & (sums(event, above, len(wanted)) > SPARE * least)
    whole = _scaled(energy, event, wanted)
    return np.where(some[event], threshold + _scaled(above, event, spare), whole)


def _largest(energy: Floats, event: Integers) -> Integers:
    """The largest hit of each shower that has any."""
    order = np.lexsort((energy, event))
    last = np.append(np.diff(event[order]) > 0, True)
    return np.asarray(order[last])
