"""The presets of SuperCalo: the published chain, faster ones, small ones for any geometry."""

from __future__ import annotations

from dataclasses import replace

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.sizes import check_preset
from caloforge.geometry import Coarsening, Geometry
from caloforge.stages.energies import EnergyFlow
from caloforge.systems.supercalo.config import CoarseFlow, SuperCaloConfig, UpsampleFlow
from caloforge.units import keV

__all__ = ["FIXED_GEOMETRIES", "SIZES", "preset"]

FIXED_GEOMETRIES = {
    "paper": "calochallenge-2",
    "paper-b": "calochallenge-2",
    "coupling": "calochallenge-2",
    "calochallenge-3": "calochallenge-3",
}
SIZES = ("small", "small-b", "tiny", *FIXED_GEOMETRIES)

CHOICE_A, CHOICE_B = (5, 2, 1), (1, 4, 3)
# The paper leaves it open (section VI). Of four that were measured this one upsamples best, with
# coarse voxels few enough for a FLOW-2; docs/supercalo.md has the figures.
DATASET_3 = (3, 5, 2)


def preset(size: str, geometry: Geometry) -> SuperCaloConfig:
    """The configuration of a preset for any regular geometry.

    Raises:
        ValueError: for an unknown preset, or a geometry that it cannot take.
    """
    check_preset("supercalo", size, geometry, sizes=SIZES, fixed_geometries=FIXED_GEOMETRIES)
    if size == "paper":
        return _paper(Coarsening(geometry, CHOICE_A))
    if size == "paper-b":
        return _paper(Coarsening(geometry, CHOICE_B))
    if size == "coupling":
        return _coupling(_paper(Coarsening(geometry, CHOICE_A)))
    if size == "calochallenge-3":
        return _coupling(_paper(Coarsening(geometry, DATASET_3)))
    factors = _factors(geometry, along_z=size != "small-b")
    return _small(geometry, factors, tiny=size == "tiny")


def _paper(coarsening: Coarsening) -> SuperCaloConfig:
    """The published configuration (tables I and II, sections III B and IV), field by field."""
    return SuperCaloConfig(
        energies=EnergyFlow(
            recipe=Recipe(
                epochs=500,
                batch_size=1000,
                learning_rate=1e-4,
                schedule="triangular",
                initial_learning_rate=1e-5,
                final_learning_rate=1e-6,
                annihilation=0.1,  # its length is published for the superresolution flows alone
                validation=0.3,
            ),
            blocks=8,  # table II
            hidden=256,  # table II
            hidden_layers=1,  # table II
            bins=8,  # table II
            bound=14.0,  # table II
            noise="uniform",  # B2
            noise_width=5 * keV,  # B2
            orders=("reverse", "random"),
        ),
        coarse=CoarseFlow(
            recipe=Recipe(
                epochs=40,
                batch_size=1000,
                learning_rate=2e-3,
                schedule="triangular",
                initial_learning_rate=5e-5,
                cycles=4,  # of 10 epochs
                cycle_decay=0.8,
                validation=0.3,
            ),
        ),
        upsample=UpsampleFlow(
            recipe=Recipe(
                epochs=40,
                # 60,000 coarse voxels, empty ones counted
                batch_size=round(60_000 / coarsening.n_coarse),
                learning_rate=1e-3,
                schedule="triangular",
                initial_learning_rate=2e-5,
                final_learning_rate=2e-6,
                annihilation=0.1,  # 4 of 40 epochs
                validation=0.3,
            ),
            factors=coarsening.factors,
        ),
    )


def _coupling(published: SuperCaloConfig) -> SuperCaloConfig:
    """The chain with couplings, its own outlook (section V D): one pass a block.

    Couplings learn badly that relative fractions sum to one (ten numbers of which each block sees
    half), so that hits are sampled first here.
    """
    assert isinstance(published.energies, EnergyFlow)
    assert published.coarse is not None
    return SuperCaloConfig(
        energies=replace(published.energies, kind="coupling"),
        coarse=replace(published.coarse, kind="coupling"),
        upsample=replace(published.upsample, kind="coupling", shares="hits", rescale="voxels"),
    )


def _small(geometry: Geometry, factors: tuple[int, int, int], *, tiny: bool) -> SuperCaloConfig:
    """Couplings for some thousand showers; no size is published."""
    n_blocks = 4 if tiny else 6
    return SuperCaloConfig(
        energies=EnergyFlow(
            recipe=Recipe(epochs=40, batch_size=256, learning_rate=3e-3)
            if tiny
            else Recipe(epochs=50, batch_size=64, learning_rate=1e-3, ema=0.99),
            blocks=n_blocks,
            hidden=48 if tiny else 64,
        ),
        coarse=CoarseFlow(
            recipe=Recipe(epochs=20, batch_size=64, learning_rate=3e-3, gradient_clip=10.0)
            if tiny
            else Recipe(epochs=60, batch_size=64, learning_rate=2e-3, ema=0.99, gradient_clip=10.0),
            kind="coupling",
            blocks=n_blocks,
            hidden=32 if tiny else 128,
            minimum=1e-3,
            rescale="hits",
            rotation=True,
            reflection=True,
        ),
        upsample=UpsampleFlow(
            recipe=Recipe(epochs=2, batch_size=16, learning_rate=5e-3, gradient_clip=10.0)
            if tiny
            else Recipe(epochs=6, batch_size=8, learning_rate=2e-3, ema=0.99, gradient_clip=10.0),
            factors=factors,
            shares="hits",
            kind="coupling",
            blocks=n_blocks,
            hidden=32 if tiny else 96,
            bins=8 if tiny else 12,
            minimum=1e-3,
            rescale="voxels",
        ),
    )


def _factors(geometry: Geometry, *, along_z: bool) -> tuple[int, int, int]:
    """Choice A or choice B for any geometry: what divides its axes and is nearest to them."""
    polar = geometry.cyclic_axis is not None
    wanted = (5, 2, 1 if polar else 2) if along_z else (1, 4, 3)
    return Coarsening.nearest(geometry, wanted).factors
