"""Diffusion: noise added step by step or at once, and the way back in many steps or one."""

from caloforge.diffusion.chain import MarkovChain, quadratic_schedule
from caloforge.diffusion.consistency import Consistency, consistency_loss
from caloforge.diffusion.continuous import (
    Denoiser,
    NoiseLevels,
    Preconditioned,
    denoising_loss,
    heun,
)

__all__ = [
    "Consistency",
    "Denoiser",
    "MarkovChain",
    "NoiseLevels",
    "Preconditioned",
    "consistency_loss",
    "denoising_loss",
    "heun",
    "quadratic_schedule",
]
