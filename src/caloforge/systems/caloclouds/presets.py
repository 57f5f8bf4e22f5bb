"""The presets of CaloClouds: the published one, and small ones for any geometry."""

from __future__ import annotations

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.sizes import check_preset
from caloforge.diffusion import NoiseLevels
from caloforge.geometry import Geometry
from caloforge.systems.caloclouds.config import (
    CaloCloudsConfig,
    CloudFit,
    Clusters,
    Distillation,
    EncoderConfig,
    LatentFlowConfig,
    PointsConfig,
    ShowerFlowConfig,
)

__all__ = ["FIXED_GEOMETRIES", "SIZES", "preset"]

FIXED_GEOMETRIES = {"paper": "ild-ecal"}
SIZES = ("small", "tiny", *FIXED_GEOMETRIES)


def preset(size: str, geometry: Geometry) -> CaloCloudsConfig:
    """The configuration of a preset for any geometry.

    Raises:
        ValueError: for an unknown preset, or a geometry that it cannot take.
    """
    check_preset(
        "caloclouds", size, geometry, sizes=SIZES, fixed_geometries=FIXED_GEOMETRIES, regular=False
    )
    return {"paper": _PAPER, "small": _SMALL, "tiny": _TINY}[size]


# Sizes are the classes' own. Points and encoder are trained for 800k steps (section 3.2), of which
# 98 epochs of 524k showers are made with batches of 64 (section 4.3 has 64 in sampling); the paper
# says nothing of the training of flows.
_PAPER = CaloCloudsConfig(
    shower=ShowerFlowConfig(
        Recipe(epochs=500, batch_size=1024, learning_rate=1e-4, schedule="one-cycle")
    ),
    latent=LatentFlowConfig(
        Recipe(
            epochs=98,
            batch_size=64,
            learning_rate=1e-3,
            schedule="exponential",
            final_learning_rate=1e-4,
        )
    ),
    points=PointsConfig(
        Recipe(
            epochs=98,
            batch_size=64,
            learning_rate=1e-3,
            schedule="exponential",
            final_learning_rate=1e-4,
        )
    ),
    calibration=CloudFit(),
)

# Sizes and training for thousands of showers and two processors; not of the paper.
_SMALL = CaloCloudsConfig(
    shower=ShowerFlowConfig(
        Recipe(epochs=80, batch_size=128, learning_rate=4e-3, gradient_clip=1.0, ema=0.99),
        totals="layers",
        kind="masked",
        blocks=2,
        hidden=96,
    ),
    latent=LatentFlowConfig(
        Recipe(epochs=10, batch_size=64, learning_rate=3e-3, gradient_clip=1.0, ema=0.99),
        blocks=4,
        hidden=32,
        bins=6,
        bound=6.0,
        depth=True,
    ),
    points=PointsConfig(
        Recipe(
            epochs=140,
            batch_size=16,
            learning_rate=2e-3,
            gradient_clip=1.0,
            ema=0.999,
            precision="bf16-mixed",
        ),
        encoder=EncoderConfig(latent=16, hidden=64, divergence_weight=1e-4),
        hidden=(64, 128, 256, 128, 64),
        process="edm",
        energy="log",
        core=5.0,
        levels=NoiseLevels(lowest=0.05, highest=5.0, rho=20.0, mean=-0.6),
        solver="dpm-16",
        max_points=512,
        draws=8,
    ),
    distillation=Distillation(
        Recipe(
            epochs=40,
            batch_size=16,
            learning_rate=5e-4,
            gradient_clip=1.0,
            ema=0.999,
            precision="bf16-mixed",
        ),
        max_points=512,
        draws=8,
    ),
    calibration=CloudFit(showers=300, rounds=2),
    clusters=Clusters(reach=2.0, largest=12),
)

_TINY = CaloCloudsConfig(
    shower=ShowerFlowConfig(
        Recipe(epochs=12, batch_size=64, learning_rate=1e-2, gradient_clip=1.0, ema=0.95),
        totals="layers",
        kind="masked",
        blocks=1,
        hidden=16,
        bins=4,
    ),
    latent=LatentFlowConfig(
        Recipe(epochs=4, batch_size=64, learning_rate=5e-3, gradient_clip=1.0),
        blocks=2,
        hidden=16,
        bins=4,
        bound=6.0,
        depth=True,
    ),
    points=PointsConfig(
        Recipe(epochs=6, batch_size=32, learning_rate=5e-3, gradient_clip=1.0, ema=0.95),
        encoder=EncoderConfig(latent=4, hidden=16, layers=2),
        hidden=(32, 64, 32),
        process="edm",
        energy="log",
        core=5.0,
        levels=NoiseLevels(lowest=0.05, highest=5.0, mean=-0.6),
        solver="dpm-8",
        max_points=128,
        draws=4,
    ),
    distillation=Distillation(
        Recipe(epochs=1, batch_size=32, learning_rate=1e-3, gradient_clip=1.0, ema=0.95),
        max_points=128,
        draws=4,
    ),
    calibration=CloudFit(showers=50),
    clusters=Clusters(reach=2.0, largest=12),
)
