"""What the preprocessing of a stage changes in the showers that the stage learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.stage import Conditions, Learned, Stage, Upstream
from caloforge.preprocessing import Chain, Transform

__all__ = ["LARGEST_CHANGE", "changed_shares"]

LARGEST_CHANGE = 0.01  # fraction of the training split that clamps and boxes may change
BUDGET = 1 << 22  # numbers that transforms are checked with; a fraction of 1e-3 is seen by then
RUN = 100  # showers checked at once


@torch.no_grad()
def changed_shares(
    name: str, stage: Stage, sample: ShowerQuantities, upstream: Upstream, rng: torch.Generator
) -> dict[str, float]:
    """Fraction of what a stage learns from that its limits and transforms change, where above 0.

    A clamp, a box or a largest value moves what lies beyond it: showers that are sampled have
    nothing there. Limits of settings are counted in showers, see `Stage.limits`. Whatever a
    transform moves is found by what does not come back through its inverse, see `Transform.loses`,
    and counted in rows of what it is given: showers, or hits or points.

    Args:
        name: of the stage.
        stage: fitted.
        sample: the training split.
        upstream: the stages of `needs`.
        rng: of the noise that belongs to a batch.

    Returns:
        The fractions, by the setting, or by the transform.

    Raises:
        ValueError: if a fraction exceeds `LARGEST_CHANGE`.
    """
    changed: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    transforms = {
        f"{attribute.replace('.transforms', '')} ({type(module).__name__})": module
        for attribute, module in stage.named_modules()
        if isinstance(module, Transform) and not isinstance(module, Chain)
    }
    was_training = stage.training
    stage.eval()
    looked_at = 0

    def look(key: str, module: Transform, given: tuple[Any, ...]) -> None:
        nonlocal looked_at
        lost = module.loses(given[0])
        changed[key] += int(lost.reshape(len(lost), -1).any(1).sum())
        rows[key] += len(lost)
        looked_at += lost.numel()

    with _hooks(transforms, look):
        for batch in sample.batches(RUN):
            quantities = {key: values.to(rng.device) for key, values in batch.items()}
            for setting, beyond in stage.limits(quantities).items():
                changed[setting] += int(beyond.sum())
                rows[setting] += len(beyond)
            if transforms and looked_at < BUDGET:
                if isinstance(stage, Conditions):
                    stage.both(quantities)
                elif isinstance(stage, Learned):
                    stage.batch(quantities, upstream, rng)
    stage.train(was_training)
    shares = {key: changed[key] / rows[key] for key in changed if changed[key]}
    for key, share in shares.items():
        if share > LARGEST_CHANGE:
            kind = type(transforms[key]).__name__ if key in transforms else key
            raise ValueError(
                f"{name}: {key} moves {share:.1%} of what the training sample holds, and no "
                f"sampled shower will hold that; up to {LARGEST_CHANGE:.0%} is accepted: change "
                f"the setting {stage.settings.get(kind, kind)}, or leave such showers out"
            )
    return shares


@contextmanager
def _hooks(transforms: Mapping[str, Transform], look: Any) -> Iterator[None]:
    """Call `look` with all that the transforms are given."""
    handles = [
        module.register_forward_pre_hook(partial(look, key)) for key, module in transforms.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
