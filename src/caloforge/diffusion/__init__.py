"""Diffusion: noise added step by step or at once, and the way back in many steps or one."""

from caloforge.diffusion.chain import MarkovChain, quadratic_schedule
from caloforge.diffusion.consistency import Consistency, Neighbours, consistency_loss, neighbours
from caloforge.diffusion.continuous import (
    Denoiser,
    NoiseLevels,
    Preconditioned,
    denoising_error,
    denoising_loss,
    euler,
    heun,
    multistep,
)

__all__ = [
    "Consistency",
    "Denoiser",
    "MarkovChain",
    "Neighbours",
    "NoiseLevels",
    "Preconditioned",
    "consistency_loss",
    "denoising_error",
    "denoising_loss",
    "euler",
    "heun",
    "multistep",
    "neighbours",
    "quadratic_schedule",
]
