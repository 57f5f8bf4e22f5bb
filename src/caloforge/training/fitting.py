"""Stages without weights: they are fitted to the whole training sample, and that is all."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.stage import Stage
from caloforge.training.runfolder import StageFolder

__all__ = ["fit_stage"]


def fit_stage(
    stage: Stage,
    sample: ShowerQuantities,
    upstream: Mapping[str, Stage],
    folder: StageFolder,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> None:
    """Fit a stage that learns nothing, and keep it.

    Args:
        stage: the stage.
        sample: the training sample, none of which is held back: nothing is chosen by it.
        upstream: the frozen stages that it needs.
        folder: where it is kept.
        seed: of what is chosen at random.
        device: where to compute.
    """
    begin = time.monotonic()
    stage.to(device).eval()
    stage.fit(sample, upstream, torch.Generator(device).manual_seed(seed))
    stage.is_fitted = True
    folder.save_weights(stage)
    folder.finish({"seconds": round(time.monotonic() - begin, 2)})
