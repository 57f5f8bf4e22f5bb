"""An accelerator that is none: tensors that claim to be on "cuda" and compute on the CPU.

What a device has of its own, the CPU does not show: tensors of two devices do not mix, a generator
belongs to one of them, and whatever Python decides on is waited for. Here storages are marked as
lying on the device. All else is PyTorch's own, autograd and the fused optimizer included, and
results are those of the CPU to the last bit.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import clip_grad
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from caloforge.training import loop

HERE, THERE = torch.device("cpu"), torch.device("cuda", 0)
MEMORY = 8 << 30  # bytes of the device, all free

# Operations whose result's shape, or the check of what they were given, depends on values: the host
# waits for all that was asked for before (the CUDA sources of ATen).
WAITING = {
    "_local_scalar_dense",
    "_linalg_check_errors",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "multinomial",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
DATA = {torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor}


class Generator(torch._C.Generator):
    """A generator of either device, of the CPU's random numbers."""

    place: torch.device

    def __new__(cls, device: torch.device | str = "cpu") -> Any:
        wanted = torch.device(device)
        made = super().__new__(cls, "cpu")
        made.place = THERE if wanted.type == "cuda" else HERE
        return made

    def __init__(self, device: torch.device | str = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self.place


class Marks:
    """Which storages lie on the device, and which of the host's are pinned."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[StorageWeakRef, str]] = {}

    def get(self, tensor: Tensor) -> str | None:
        found = self._of.get(tensor.untyped_storage()._cdata)
        return None if found is None else found[1]

    def set(self, tensor: Tensor, mark: str) -> None:
        storage = tensor.untyped_storage()
        # a weak reference keeps the address from being given to another storage
        self._of[storage._cdata] = (StorageWeakRef(storage), mark)
        if len(self._of) % 4096 == 0:
            for address in [key for key, (ref, _) in self._of.items() if ref.expired()]:
                del self._of[address]

    def device(self, tensor: Tensor) -> torch.device:
        return THERE if self.get(tensor) == "device" else HERE

    def place(self, tensor: Tensor, device: torch.device) -> Tensor:
        """The tensor, new, as one of a device."""
        self.set(tensor, "device" if device == THERE else "host")
        return tensor


class Device(TorchDispatchMode):
    """Sees every operation: refuses mixed devices, and counts what the host waits for.

    Attributes:
        waits: how often the host waited, by operation.
        places: the same by the line of the library that asked for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.marks = Marks()
        self.waits: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.backward = HERE  # where the gradient's own tensors are made

    def wait(self, reason: str) -> None:
        self.waits[reason] += 1
        self.places[f"{reason} at {_line_of_library()}"] += 1

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """The waits of a block, by the line that asked for them."""
        before = self.places.copy()
        found: Counter[str] = Counter()
        yield found
        found.update(self.places - before)

    def grouped(self, lists: list[list[Tensor]], *args: Any) -> Any:
        """What PyTorch asks the storages themselves for, by the device that they claim."""
        return {
            (self.marks.device(group[0][0][0]), dtype): group
            for (_, dtype), group in GROUPED(lists, *args).items()
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # where operations come whole
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [t for t in tensors if self.marks.get(t) == "device"]
        name, space = func.overloadpacket.__name__, func.namespace
        if name == "copy_":
            if self.marks.get(tensors[0]) != self.marks.get(tensors[1]) and there:
                asynchronous = len(args) > 2 and args[2] and self.marks.get(args[1]) == "pinned"
                if not asynchronous:
                    self.wait("copy")
            return func(*args, **kwargs)
        if there:
            self._check_devices(func, name, space, tensors, args)
            self._count(name, args, kwargs)
        out = func(*args, **kwargs)
        if there or (not tensors and self.backward == THERE):
            for made in tree_leaves(out):
                if isinstance(made, Tensor):
                    self.marks.set(made, "device")
        return out

    def _check_devices(
        self, func: Any, name: str, space: str, tensors: list[Tensor], args: tuple[Any, ...]
    ) -> None:
        if space == "mkldnn":
            raise NotImplementedError(f"{func} is there for the CPU alone")
        # a number of the CPU counts as one of Python
        numbers = torch.Tag.pointwise in func.tags or name in ("index_put", "index_put_")
        strangers = [
            t for t in tensors if self.marks.get(t) != "device" and not (numbers and t.dim() == 0)
        ]
        if name in ("index", "index_put", "index_put_"):  # which bring indices themselves
            indices = [i for i in args[1] if i is not None]
            brought = [t for t in strangers if any(t is i for i in indices)]
            if self.marks.get(args[0]) == "device" and brought:
                self.wait("indices")
                strangers = [t for t in strangers if all(t is not i for i in indices)]
        if strangers:
            shapes = ", ".join(f"{tuple(t.shape)} on {self.marks.device(t)}" for t in tensors)
            raise RuntimeError(
                f"expected all tensors to be on the same device, but {func} got {shapes}"
            )

    def _count(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if name in WAITING or (name == "repeat_interleave" and not kwargs.get("output_size")):
            self.wait(name)
        if name in ("index", "index_put", "index_put_"):
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            fills = name != "index" and args[2].numel() == 1 and len(args[1]) == 1
            if masks and not fills:
                self.wait("mask")


class Calls(TorchFunctionMode):
    """Sees what Python asks for: where to make a tensor, where one is, where it shall go."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device, self.marks = device, device.marks
        self.own: dict[Any, Callable[..., Any]] = {
            Tensor.to: self._to,
            Tensor.cpu: lambda x: self._to(x, "cpu"),
            Tensor.cuda: lambda x, *a, **k: self._to(x, "cuda", **k),
            Tensor.numpy: partial(self._on_host, Tensor.numpy),
            Tensor.__array__: partial(self._on_host, Tensor.__array__),
            Tensor.tolist: self._tolist,
            Tensor.pin_memory: self._pinned,
            Tensor.backward: self._backward,
            Tensor.__deepcopy__: self._deepcopy,
            Tensor.device.__get__: self.marks.device,  # type: ignore[attr-defined]
            Tensor.is_cuda.__get__: lambda x: self.marks.device(x) == THERE,  # type: ignore[attr-defined]
            Tensor.is_cpu.__get__: lambda x: self.marks.device(x) == HERE,  # type: ignore[attr-defined]
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in self.own:
            return self.own[func](*args, **kwargs)
        of_tensor = bool(args) and isinstance(args[0], Tensor)
        wanted = self.marks.device(args[0]) if of_tensor else HERE
        if kwargs.get("device") is not None:
            wanted = _device(kwargs["device"])
            kwargs["device"] = HERE
        rng = kwargs.get("generator")
        if rng is not None and rng.device.type != wanted.type:
            raise RuntimeError(f"{func} on {wanted} got a generator of {rng.device}")
        out = func(*args, **kwargs)
        if wanted == THERE and func in DATA:
            self.device.wait("data of Python")
        if wanted == THERE and ("device" in kwargs or func in DATA):
            self.marks.place(out, THERE)
        return out

    def _to(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        target, rest = self.marks.device(x), []
        for value in args:
            if isinstance(value, Tensor):
                target = self.marks.device(value)
                rest.append(value.dtype)
            elif isinstance(value, str | torch.device):
                target = _device(value)
            elif value is not None:
                rest.append(value)
        if kwargs.get("device") is not None:
            target = _device(kwargs["device"])
        kwargs.pop("device", None)
        asynchronous = kwargs.pop("non_blocking", False)
        # the other positional arguments after the dtype are those of `kwargs`
        dtype = [value for value in rest if isinstance(value, torch.dtype)]
        asynchronous |= any(value is True for value in rest)
        source = self.marks.device(x)
        if target == source:
            return x.to(*dtype, **kwargs) if dtype or kwargs else x
        if not (asynchronous and self.marks.get(x) == "pinned"):
            self.device.wait(f"copy to {target.type}")
        return self.marks.place(x.to(*dtype, **kwargs, copy=True), target)

    def _on_host(self, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.marks.device(x) == THERE:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return func(x, *args, **kwargs)

    def _tolist(self, x: Tensor) -> Any:
        if self.marks.device(x) == THERE:
            self.device.wait("tolist")
        return x.tolist()

    def _pinned(self, x: Tensor) -> Tensor:
        assert self.marks.device(x) == HERE, "only the host's memory can be pinned"
        made = x.clone()
        self.marks.set(made, "pinned")
        return made

    def _backward(self, x: Tensor, *args: Any, **kwargs: Any) -> None:
        self.device.backward = self.marks.device(x)
        try:
            x.backward(*args, **kwargs)
        finally:
            self.device.backward = HERE

    def _deepcopy(self, x: Tensor, memo: Any) -> Tensor:
        made: Tensor = x.__deepcopy__(memo)
        return self.marks.place(made, self.marks.device(x))


def _device(device: torch.device | str) -> torch.device:
    return THERE if torch.device(device).type == "cuda" else HERE


def _line_of_library() -> str:
    frame = sys._getframe()
    while frame is not None and "/caloforge/" not in frame.f_code.co_filename:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return "elsewhere"
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}"


def _autocast(device: str, *args: Any, **kwargs: Any) -> Any:
    return AUTOCAST("cpu", *args, **kwargs)


AUTOCAST, FABRIC = torch.autocast, loop.Fabric
GROUPED = clip_grad._group_tensors_by_device_and_dtype


@contextmanager
def pretend_device() -> Iterator[Device]:
    """Inside there is a device "cuda", which computes as the CPU does."""
    device = Device()
    with ExitStack() as stack:
        for place, name, value in (
            (torch, "Generator", Generator),
            (torch, "autocast", _autocast),
            (clip_grad, GROUPED.__name__, device.grouped),
            (optimizer, GROUPED.__name__, device.grouped),
            (torch.cuda, "is_available", lambda: True),
            (torch.cuda, "get_device_name", lambda: "pretended"),
            (torch.cuda, "mem_get_info", lambda _=None: (MEMORY, MEMORY)),
            (torch.cuda, "synchronize", lambda _=None: device.wait("synchronize")),
            (
                loop,
                "Fabric",
                lambda **named: FABRIC(**{**named, "accelerator": "cpu", "devices": 1}),
            ),
        ):
            stack.enter_context(patch.object(place, name, value))
        stack.enter_context(device)
        stack.enter_context(Calls(device))
        yield device
