"""Copies of numbers from the host's memory to an accelerator's."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["upload"]


def upload(values: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """Values on a device, which the host does not wait for.

    A plain copy to an accelerator waits until all is done that was asked of it before; one from
    memory that is not paged takes its place in the queue.

    Args:
        values: of any shape.
        device: where they are wanted.
        dtype: their precision there; None for that which they have.
    """
    values = values.to(dtype or values.dtype)
    wanted = torch.device(device)
    if wanted.type != "cuda" or values.device.type != "cpu" or values.requires_grad:
        return values.to(wanted)
    return values.pin_memory().to(wanted, non_blocking=True)
