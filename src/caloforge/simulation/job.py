"""What is asked of a simulation, and how any chunk of it is made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import PointShowers, VoxelShowers
from caloforge.simulation.clustering import Clustering, points_of
from caloforge.simulation.detectors import Detector, detector_preset, detector_presets
from caloforge.simulation.geant4 import geant4_for, geant4_version
from caloforge.simulation.gun import Gun
from caloforge.simulation.scoring import Steps, score, share_outside

__all__ = ["Chunk", "Job"]


class Chunk(NamedTuple):
    """Consecutive showers of a job.

    Args:
        showers: voxels or points, as the job asks.
        outside: fraction of each shower's deposited energy outside the read-out volume, or the box
            around points, shape (n,).
    """

    showers: VoxelShowers | PointShowers
    outside: NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """All that determines the showers.

    Args:
        detector: what the particles are shot at.
        gun: which particles, with which energies, from where and whereto.
        n: number of showers.
        seed: of all random numbers.
        chunk_size: showers of one chunk.
        physics: physics list.
        cut: production cut [mm].
        clustering: how steps become points; None sums them in the detector's voxels.
    """

    detector: Detector
    gun: Gun
    n: int
    seed: int
    chunk_size: int
    physics: str
    cut: float
    clustering: Clustering | None

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-self.n // self.chunk_size)

    def size(self, chunk: int) -> int:
        """Number of showers of a chunk."""
        return min(self.chunk_size, self.n - chunk * self.chunk_size)

    @property
    def volume(self) -> str:
        """What the fraction of energy in the column `outside` lies outside of."""
        if self.clustering is not None:
            return f"the box of {self.clustering.box:g} mm"
        return f"the voxels of {self.detector.name}"

    def make(self, chunk: int) -> Chunk:
        """Simulate one chunk; its random numbers follow from (seed, chunk) alone."""
        seeds = np.random.SeedSequence(self.seed, spawn_key=(chunk,)).spawn(3)
        for_energies, for_geant4, for_grid = seeds
        rng = np.random.default_rng(for_energies)
        energy_inc = self.gun.energy.sample(self.size(chunk), rng).astype(np.float32)
        high, low = for_geant4.generate_state(2, np.uint64).tolist()
        geant4 = geant4_for(self.detector, self.physics, self.cut)
        bunches = geant4.run(energy_inc, self.gun, seed=(high << 64) | low)
        made: list[tuple[Any, NDArray[np.float64]]]
        if self.clustering is None:
            made = [self._voxels(steps, energy_inc[bunch]) for bunch, steps in bunches]
        else:
            rng = np.random.default_rng(for_grid)
            corners = self.clustering.corners(len(energy_inc), rng)
            made = [
                self.clustering.apply(
                    points_of(steps, energy_inc[bunch], self.detector, self.gun), corners[bunch]
                )
                for bunch, steps in bunches
            ]
        showers, outside = zip(*made, strict=True)
        return Chunk(type(showers[0]).concatenate(showers), np.concatenate(outside))

    def _voxels(
        self, steps: Steps, energy_inc: NDArray[np.float32]
    ) -> tuple[VoxelShowers, NDArray[np.float64]]:
        """The showers of one bunch, and the fraction of energy outside all voxels."""
        outside = share_outside(steps, len(energy_inc), self.detector, self.gun)
        return score(steps, energy_inc, self.detector, self.gun), outside

    def request(self) -> dict[str, Any]:
        """What was asked, in JSON's types."""
        readout = json.dumps(self.detector.readout.to_dict(), sort_keys=True)
        digest = hashlib.sha256(f"{self.detector!r} {readout}".encode()).hexdigest()[:12]
        return {
            "geometry": self.detector.name,
            "detector": digest,
            "shape": self.detector.shape,
            "particle": self.gun.particle,
            "energy": str(self.gun.energy),
            "position": list(self.gun.position),
            "direction": list(self.gun.direction),
            "n": self.n,
            "seed": self.seed,
            "chunk_size": self.chunk_size,
            "physics": self.physics,
            "cut_mm": self.cut,
            "generator": geant4_version(),
            **(self.clustering.request() if self.clustering else {}),
        }

    def attributes(self) -> dict[str, Any]:
        """What is written to the root of the file."""
        return {
            **self.request(),
            "threshold_MeV": 0.0 if self.clustering else self.detector.voxel_threshold,
            "sampling_fraction": self.detector.sampling_fraction,
            "command": self.command(),
        }

    def command(self) -> str:
        """The command that makes the same showers, for detectors that have a name."""
        name, shape = self.detector.name, self.detector.shape
        if name not in detector_presets() or self.detector != detector_preset(name, shape=shape):
            return "caloforge.simulation.simulate, with a detector of its own"
        options = {
            "--geometry": name,
            "--shape": shape,
            "--particle": self.gun.particle,
            "--energy": self.gun.energy,
            "-n": self.n,
            "--seed": self.seed,
            "--chunk-size": self.chunk_size,
            "--position": ",".join(f"{x:g}" for x in self.gun.position),
            "--direction": ",".join(f"{x:g}" for x in self.gun.direction),
            "--physics": self.physics,
            "--cut": f"{self.cut:g}",
        }
        if self.clustering:
            pitch, box = self.clustering.pitch or 0.0, self.clustering.box
            options |= {"--points": "", "--pitch": repr(pitch), "--box": f"{box:g}"}
            options |= {"--random-grid": ""} if self.clustering.random_grid else {}
        words = (f"{name} {value}".strip() for name, value in options.items())
        return " ".join(["caloforge simulate", *words])
