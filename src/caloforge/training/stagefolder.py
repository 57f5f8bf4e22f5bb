"""What is kept of one stage, in formats that never execute code."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save as to_bytes
from torch import Tensor

from caloforge.cascade.stage import Stage
from caloforge.training.enclosed import Enclosed
from caloforge.training.sharing.layout import MOST_JSON, MOST_TENSORS
from caloforge.training.tensors import check_layout, read_tensors

__all__ = ["MALFORMED", "StageFolder", "check_form", "is_number"]

# what values of the wrong kind end in, wherever they are used
MALFORMED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RuntimeError,
)


@dataclass(frozen=True)
class StageFolder:
    """What is kept of one stage.

    `transforms.json` what its transforms were fitted to, `weights.safetensors` the best weights,
    `state.safetensors` all that resuming needs, while it trains, `log.csv` one line an epoch,
    `summary.json` once it is trained.

    Args:
        path: the folder.
        run: the run folder that it lies in; None if it stands alone.
        guests: stages whose tensors earlier versions keep here, under their names.
    """

    path: Path
    run: Path | None = None
    guests: tuple[str, ...] = ()

    @cached_property
    def _files(self) -> Enclosed:
        return Enclosed(self.run or self.path)

    @property
    def is_trained(self) -> bool:
        """Whether its training came to its end."""
        return self._files.holds(self.path / "summary.json")

    def save_weights(self, stage: Stage, *, half: bool = False) -> None:
        """Write the weights and the transforms of a stage.

        Args:
            stage: the stage.
            half: write what it learned in half precision, as far as that reaches.
        """
        tensors = {name: value.detach().contiguous() for name, value in stage.state_dict().items()}
        if half:
            tensors |= {name: _halved(tensors[name]) for name, _ in stage.named_parameters()}
        self._files.write(
            {
                self._state_file: json.dumps(stage.state(), indent=1),
                self.path / "weights.safetensors": to_bytes(tensors),
            }
        )

    def check_weights(self, stage: Stage) -> None:
        """Refuse weights that a stage does not expect, before any of them is read.

        Args:
            stage: may lie on PyTorch's meta device, where it has shapes alone.

        Raises:
            ValueError: if they are missing, damaged, or of another network.
        """
        weights = self.path / "weights.safetensors"
        if not self._files.holds(weights):
            raise ValueError(
                f"{self.path} holds no weights: train the stage {self.path.name!r} first"
            )
        with self._fitting():
            self._files.check_size(weights, MOST_TENSORS)
            learned = frozenset(name for name, _ in stage.named_parameters())
            check_layout(weights, stage.state_dict(), named=self._named, halved=learned)

    def load_weights(self, stage: Stage) -> None:
        """Load what `save_weights` wrote.

        Raises:
            ValueError: if it is missing, damaged, or of another network.
        """
        self.check_weights(stage)
        with self._fitting():
            self._load_state(stage)
            weights = self.path / "weights.safetensors"
            stage.load_state_dict(read_tensors(weights, self._named)[0])

    def _named(self, name: str) -> str:
        return "" if name.partition(".")[0] in self.guests else name

    @property
    def _state_file(self) -> Path:
        return self.path / "transforms.json"

    def _load_state(self, stage: Stage) -> None:
        state = self._state(stage)
        stage.load_state(state)
        check_form(stage.state(), state)

    def _state(self, stage: Stage) -> Any:
        return self._files.json(self._state_file, MOST_JSON)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Whatever goes wrong in here is said of this folder."""
        try:
            yield
        except (SafetensorError, OSError, *MALFORMED) as error:
            # PyTorch lists every weight that is missing: its first two lines say enough
            reason = " ".join(str(error).splitlines()[:2])[:200]
            raise ValueError(f"{self.path} does not fit the stage: {reason}") from error

    def save_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Write all that resuming needs: tensors, and values in JSON's types."""
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        # to memory first: an error of the disk is then one of Python's, not of safetensors
        content = to_bytes(contiguous, metadata={"values": json.dumps(values)})
        self._files.write({self.path / "state.safetensors": content})

    def load_state(
        self, expected: Mapping[str, Tensor], *, optional: frozenset[str] = frozenset()
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What `save_state` wrote, None if there is nothing.

        Args:
            expected: tensors of the names and shapes that there have to be.
            optional: names that may be missing.

        Raises:
            ValueError: if it is damaged, or of another stage.
        """
        path = self.path / "state.safetensors"
        if not self._files.holds(path):
            return None
        try:
            self._files.check_size(path, MOST_TENSORS)
            check_layout(path, expected, optional=optional)
            return read_tensors(path)
        except ValueError as error:
            raise self.damaged_state(error) from error

    def damaged_state(self, reason: object) -> ValueError:
        """The error of a state that cannot be resumed from."""
        return ValueError(
            f"{self.path / 'state.safetensors'} is damaged ({str(reason)[:200]}): remove it to "
            "start this stage again"
        )

    def save_log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the log, a line an epoch."""
        lines, text = list(rows), io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[0]) if lines else [])
        writer.writeheader()
        writer.writerows(lines)
        self._files.write({self.path / "log.csv": text.getvalue()})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Mark the stage as trained and drop what only resuming needs."""
        self._files.write({self.path / "summary.json": json.dumps(summary, indent=1)})
        self._files.remove(self.path / "state.safetensors")

    def summary(self) -> dict[str, Any]:
        """What `finish` wrote: of a stage that learns nothing no epochs.

        Raises:
            ValueError: if it is damaged.
        """
        path = self.path / "summary.json"
        values = self._files.json(path, MOST_JSON)
        found: dict[str, Any] = values if isinstance(values, dict) else {}
        is_fitted_alone = found.keys() <= {"seconds", "changed"}
        numbers = () if is_fitted_alone else ("epochs", "steps", "validation")
        if any(not is_number(found.get(name)) for name in (*numbers, "seconds")):
            raise ValueError(
                f"{path} is damaged: expected the numbers {', '.join((*numbers, 'seconds'))}"
            )
        return found


def _halved(weights: Tensor) -> Tensor:
    """The same in half precision, where it is in single precision and none is too large."""
    half = weights.half()
    fits = weights.dtype is torch.float32 and bool(half.isfinite().all())
    return half if fits else weights


def check_form(own: Any, given: Any) -> None:
    """Refuse loaded values that would be written otherwise: other names or lengths, not finite.

    Raises:
        ValueError: for values of another form.
    """
    if isinstance(own, dict) and isinstance(given, dict) and own.keys() == given.keys():
        for name in own:
            check_form(own[name], given[name])
    elif isinstance(own, list) and isinstance(given, list) and len(own) == len(given):
        for pair in zip(own, given, strict=True):
            check_form(*pair)
    elif not (is_number(own) and is_number(given)) and own != given:
        raise ValueError(f"expected values such as {str(own)[:60]}, got {str(given)[:60]}")


def is_number(value: Any) -> bool:
    """Whether a value that was read is a finite number."""
    return isinstance(value, int | float) and abs(value) < math.inf
