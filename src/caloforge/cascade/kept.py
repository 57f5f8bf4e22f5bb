"""Buffers that are as long as the training sample made them."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

__all__ = ["KeepsRows"]


class KeepsRows(nn.Module):
    """A module with buffers whose number of rows is given by the file alone.

    Attributes:
        kept: names of these buffers.
    """

    kept: ClassVar[tuple[str, ...]] = ()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.kept:
            if (rows := state.get(prefix + name)) is not None:
                # the tensor itself, which may lie in a file: it is never written to
                setattr(self, name, rows.to(self.get_buffer(name).device))
        super()._load_from_state_dict(state, prefix, *args)
        self.check_kept()

    def check_kept(self) -> None:
        """Refuse rows that a file gave and that do not belong together; by default none.

        Raises:
            ValueError: saying what does not fit.
        """
