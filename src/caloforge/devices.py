"""Where to compute: the accelerator if there is one, or what the user says."""

from __future__ import annotations

import torch

__all__ = ["find_device"]


def find_device(device: torch.device | str = "auto") -> str:
    """The device to compute on.

    Args:
        device: "auto" for the accelerator if there is one, else the CPU; or its name, such as
            "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: for an accelerator that is not there, or a name that PyTorch does not know.
    """
    there = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if there else "cpu"
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu' or an accelerator such as 'cuda', got {device!r}"
        ) from error
    if kind == "cuda" and not there:
        raise ValueError(f"PyTorch sees no accelerator for the device {device!r}: use 'cpu'")
    return str(device)
