"""Schedules of the learning rate and of Adam's β1, as pure functions of the step."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from caloforge.cascade.recipe import Recipe

__all__ = ["follow_schedule", "learning_rate", "momentum"]

WARM_UP = 0.3  # fraction of the steps in which "one-cycle" rises (arXiv:1708.07120, as in PyTorch)
INITIAL = 1 / 25  # where it begins, in units of the maximum
FINAL = INITIAL * 1e-4  # where it ends
MOMENTUM = 0.9  # Adam's β1, and its ends in "one-cycle": lowest where the learning rate is highest
LOW_MOMENTUM, HIGH_MOMENTUM = 0.85, 0.95


def follow_schedule(optimizer: Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """Give an Adam its learning rate and β1 for a step (0 … steps - 1) of the whole schedule."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, step, steps)
        group["betas"] = (momentum(recipe, step, steps), group["betas"][1])


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate at a step (0 … steps - 1) of the whole schedule."""
    highest, lowest = recipe.learning_rate, recipe.final_learning_rate
    progress = step / max(1, steps - 1)
    match recipe.schedule:
        case "one-cycle":
            return highest * _one_cycle(step, steps, INITIAL, 1.0, FINAL)
        case "cosine":
            return _cosine(highest, lowest, progress)
        case "exponential":
            return float(highest * (lowest / highest) ** progress)
        case "triangular":
            return _triangular(recipe, progress)
        case "constant":
            return highest


def momentum(recipe: Recipe, step: int, steps: int) -> float:
    """Adam's β1 at a step: "one-cycle" goes from 0.95 to 0.85 and back, as in PyTorch."""
    if recipe.schedule != "one-cycle":
        return MOMENTUM
    return _one_cycle(step, steps, HIGH_MOMENTUM, LOW_MOMENTUM, HIGH_MOMENTUM)


def _one_cycle(step: int, steps: int, start: float, middle: float, end: float) -> float:
    """Half a cosine each from start to middle and from there to the end."""
    progress = step / max(1, steps - 1)
    # PyTorch's OneCycleLR reaches its maximum at step 0.3 steps - 1
    turn = max(0.0, (WARM_UP * steps - 1) / max(1, steps - 1))
    if progress < turn:
        return _cosine(start, middle, progress / turn)
    return _cosine(middle, end, (progress - turn) / max(1e-12, 1 - turn))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def _triangular(recipe: Recipe, progress: float) -> float:
    lowest, share = recipe.initial_learning_rate, 1 - recipe.annihilation
    if progress > share:
        fallen = (progress - share) / recipe.annihilation
        return lowest + (recipe.final_learning_rate - lowest) * fallen
    cycle, position = divmod(progress / share * recipe.cycles, 1)
    if cycle == recipe.cycles:  # the end of the last one
        return lowest
    highest = recipe.learning_rate * recipe.cycle_decay**cycle
    return float(lowest + (highest - lowest) * (1 - abs(2 * position - 1)))
