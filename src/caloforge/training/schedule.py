"""Courses of the learning rate, as pure functions of the step."""

from __future__ import annotations

import math

from caloforge.systems.recipe import Recipe

__all__ = ["learning_rate"]

WARM_UP = 0.3  # share of the steps in which "one-cycle" rises (arXiv:1708.07120, as in PyTorch)
INITIAL = 1 / 25  # where it begins, in units of the maximum
FINAL = INITIAL * 1e-4  # where it ends


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate at a step (0 … steps - 1) of the whole course."""
    highest, lowest = recipe.learning_rate, recipe.final_learning_rate
    course = step / max(1, steps - 1)
    match recipe.schedule:
        case "one-cycle":
            # PyTorch's OneCycleLR turns at step 0.3 steps - 1
            turn = max(0.0, (WARM_UP * steps - 1) / max(1, steps - 1))
            if course < turn:
                return highest * _cosine(INITIAL, 1.0, course / turn)
            return highest * _cosine(1.0, FINAL, (course - turn) / max(1e-12, 1 - turn))
        case "cosine":
            return _cosine(highest, lowest, course)
        case "exponential":
            return float(highest * (lowest / highest) ** course)
        case "triangular":
            return _triangular(recipe, course)
        case "constant":
            return highest


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


def _triangular(recipe: Recipe, course: float) -> float:
    lowest, share = recipe.initial_learning_rate, 1 - recipe.annihilation
    if course > share:
        fallen = (course - share) / recipe.annihilation
        return lowest + (recipe.final_learning_rate - lowest) * fallen
    cycle, position = divmod(course / share * recipe.cycles, 1)
    if cycle == recipe.cycles:  # the end of the last one
        return lowest
    highest = recipe.learning_rate * recipe.cycle_decay**cycle
    return float(lowest + (highest - lowest) * (1 - abs(2 * position - 1)))
