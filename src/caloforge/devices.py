"""Where to compute: the accelerator if there is one, or what the user names."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["find_device", "hardware"]

GIGABYTE = 1e9


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


def hardware(devices: Sequence[str]) -> dict[str, Any]:
    """The machine that times depend on, in JSON's types.

    Args:
        devices: of which the accelerator is named.
    """
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    has_accelerator = any(torch.device(device).type == "cuda" for device in devices)
    return {
        # only x86 says its model there
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        # half precision gains most in matrix units (AMX), less in vectors
        "bf16": next((flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags), None),
        "cores": os.cpu_count(),
        "memory_GB": round(memory / GIGABYTE, 1),
        "gpu": torch.cuda.get_device_name() if has_accelerator else None,
    }
