"""Stages without weights: they are fitted to the training sample only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from caloforge.cascade.draw import Draw
from caloforge.cascade.limits import changed_shares
from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.stage import Conditions
from caloforge.cascade.system import System
from caloforge.showers import ShowerSource
from caloforge.training.progress import TrainingProgress
from caloforge.training.stagefolder import StageFolder

__all__ = ["fit_stage"]


def fit_stage(
    name: str,
    system: System,
    showers: ShowerSource[Any],
    sample: ShowerQuantities,
    folder: StageFolder,
    *,
    seed: int,
    device: str = "cpu",
    report: Callable[[TrainingProgress], None] | None = None,
) -> None:
    """Fit a stage that is not trained, and keep it.

    Args:
        name: of the stage.
        system: the system, in which the stages that it needs are trained.
        showers: the training sample, as Geant4 made it.
        sample: what the stage learns of it; of it all, as nothing is chosen by it, but for
            `Conditions`, which see no more of it than the networks do.
        folder: where the stage is kept.
        seed: of what is chosen and sampled at random.
        device: where to compute.
        report: called with the progress of stages that are fitted on what the system samples.
    """
    begin = time.monotonic()

    def progress(done: int, wanted: int) -> None:
        if report is not None:
            rate = done / max(1e-9, time.monotonic() - begin)
            report(TrainingProgress(name, done, wanted, math.nan, math.nan, rate, done == wanted))

    stage, upstream = system.stages[name].to(device).eval(), system.upstream(name)
    stage.is_fitted = False
    for needed in upstream.values():
        needed.to(device).prepare()
    draw = Draw(system, showers, seed, device, progress)
    rng = torch.Generator(device).manual_seed(seed)
    stage.fit(sample, upstream, rng, draw)
    stage.is_fitted = True
    changed = {}
    if isinstance(stage, Conditions):
        changed = changed_shares(name, stage, sample, upstream, rng)
    folder.save_weights(stage)
    folder.finish({"seconds": round(time.monotonic() - begin, 2), "changed": changed})
