"""Linear layers with a faster form for sampling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.nets.preparable import Preparable

__all__ = ["Linear", "in_one_go"]


class Linear(Preparable, nn.Linear):
    """y = x W^T + b, and the activation that follows, if one does.

    Prepared it gives the same, up to rounding, but faster and without gradients: it rounds W and b
    to the precision of `torch.autocast` once and not at every call, and has oneDNN do all of it in
    one go where that is faster than one after the other, as with an activation or in bfloat16 on a
    CPU. Where gradients are recorded it is as if it were not prepared.
    """

    def prepare(self) -> None:
        """Keep rounded weights, from the first call that needs them."""

        @cache
        def rounded(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
            return self.weight.detach().to(dtype), self.bias.detach().to(dtype)

        self._prepared = rounded

    def forward(self, x: Tensor, activation: nn.GELU | None = None) -> Tensor:
        """Shape (..., outputs).

        Args:
            x: shape (..., inputs).
            activation: what follows.
        """
        weight, bias = self.weight, self.bias
        if self.is_prepared and not torch.is_grad_enabled():
            device = x.device.type
            if torch.is_autocast_enabled(device):
                x = x.to(torch.get_autocast_dtype(device))
                weight, bias = self._prepared(x.dtype)
            if activation is not None or weight.dtype == torch.bfloat16:
                name, kind = ("gelu", activation.approximate) if activation else ("none", "")
                fused = in_one_go(x, weight, bias, name, kind=kind)
                if fused is not None:
                    return fused
        y = functional.linear(x, weight, bias)
        return y if activation is None else activation(y)


def in_one_go(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    activation: str,
    *,
    numbers: Sequence[float] = (),
    kind: str = "",
) -> Tensor | None:
    """x W^T + b and an activation by one call of oneDNN, without gradients; None if it has none.

    Args:
        x: shape (..., inputs).
        weight: W, of the precision of x, shape (outputs, inputs).
        bias: b.
        activation: its name there, "none" for none.
        numbers: of the activation.
        kind: of the activation.
    """
    if x.device.type != "cpu" or not x.numel() or not _onednn_has(weight.dtype):
        return None
    given = list(numbers)
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, given, kind)
    return found


@cache
def _onednn_has(dtype: torch.dtype) -> bool:
    """Whether PyTorch offers its fused product in a precision on this CPU."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
