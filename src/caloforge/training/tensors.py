"""Tensors of untrusted files, checked against those that a stage expects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ["Named", "check_layout", "read_tensors"]

Named = Callable[[str], str]

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def check_layout(
    path: Path,
    expected: Mapping[str, Tensor],
    *,
    optional: frozenset[str] = frozenset(),
    halved: frozenset[str] = frozenset(),
    named: Named = str,
) -> None:
    """Compare names, shapes and types of a file's tensors, before any of them is read.

    A tensor that is expected without entries has the size that the file gives it.

    Args:
        path: a safetensors file.
        expected: tensors of the same names, such as those of PyTorch's meta device.
        optional: names that may be missing.
        halved: names of those in single precision that may be there in half precision.
        named: see `read_tensors`.

    Raises:
        ValueError: naming the first that differs, or if the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            names = {named(name): name for name in file.keys() if named(name)}  # noqa: SIM118
            slices = {name: file.get_slice(names[name]) for name in names}
            found = {n: (tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()}
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    if missing := sorted(expected.keys() - found.keys() - optional):
        raise ValueError(f"{path.name} lacks {_some(missing)}")
    if unknown := sorted(found.keys() - expected.keys()):
        raise ValueError(f"{path.name} has {_some(unknown)}, for which there is no place")
    for name, (shape, dtype) in sorted(found.items()):
        wanted = expected[name]
        if name in halved and (dtype, wanted.dtype) == ("F16", torch.float32):
            dtype = "F32"  # which it becomes where it is loaded
        if wanted.numel() and (shape, dtype) != (tuple(wanted.shape), DTYPES[wanted.dtype]):
            raise ValueError(
                f"{name} in {path.name} has shape {shape} and type {dtype}, expected "
                f"{tuple(wanted.shape)} and {DTYPES[wanted.dtype]}"
            )


def read_tensors(path: Path, named: Named = str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a file, all of them finite, and the other values, in JSON's types.

    Args:
        path: a safetensors file.
        named: what its names are called here; "" for what belongs to others, and is not read.

    Raises:
        ValueError: if it is damaged, or a number is not finite.
    """
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if named(name)]  # noqa: SIM118
            tensors = {named(name): file.get_tensor(name) for name in names}
            values = json.loads((file.metadata() or {}).get("values", "{}"))
    except (SafetensorError, RecursionError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} in {path.name} holds values that are not finite")
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is damaged: it holds no values by name")
    return tensors, values


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
