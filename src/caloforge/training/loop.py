"""The one training loop: of any stage, without anything of one paper."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from caloforge.cascade.limits import changed_shares
from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.stage import Batch, Learned, Stage
from caloforge.training.average import MovingAverage
from caloforge.training.progress import TrainingProgress
from caloforge.training.schedule import follow_schedule, learning_rate
from caloforge.training.split import split_numbers
from caloforge.training.stagefolder import MALFORMED, StageFolder, check_form

__all__ = ["StageTraining"]

SAVE_EVERY = 30.0  # seconds between two saved states
REPORT_EVERY = 0.5  # seconds between two reports
LOOK_EVERY = 50  # steps of an accelerator between two checks of its results
ROW = ("epoch", "step", "learning_rate", "loss", "validation", "seconds")  # of the log


class StageTraining:
    """The training of one stage, which can be stopped and resumed at any step.

    All randomness of a step follows from (seed, stage, step), and the order of the showers from
    (seed, stage, epoch), so that a resumed training gives what an uninterrupted one gives.

    Args:
        name: name of the stage.
        stage: the stage; its weights are those of the last step, the best ones lie in `folder`.
        sample: the training sample; the recipe's fraction of it is kept for validation.
        upstream: the frozen stages that it needs.
        folder: where it is kept.
        seed: of the split, the order and the noise.
        device: where to compute.
        report: called with the progress now and then.
    """

    def __init__(
        self,
        name: str,
        stage: Learned,
        sample: ShowerQuantities,
        upstream: Mapping[str, Stage],
        folder: StageFolder,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        report: Callable[[TrainingProgress], None] | None = None,
    ) -> None:
        self.name, self.stage, self.folder, self.seed = name, stage, folder, seed
        self.recipe = stage.recipe
        self.upstream, self.report = upstream, report
        self.device = torch.device(device)
        there = sample.to(self.device)
        self.training, self.validation = split(there, self.recipe.validation, seed)
        self.batch_size = min(self.recipe.batch_size, len(self.training))
        self.steps_per_epoch = len(self.training) // self.batch_size
        self.steps = self.recipe.epochs * self.steps_per_epoch
        self.fabric = Fabric(
            accelerator=self.device.type,
            devices=[self.device.index or 0] if self.device.type == "cuda" else 1,
            precision=_precision(self.recipe, self.device),
        )
        self.rng = torch.Generator(self.device)
        stage.to(self.device).train()
        for needed in upstream.values():
            needed.to(self.device).eval().requires_grad_(False)
        self.step, self.best, self.stale, self.seconds = 0, math.inf, 0, 0.0
        self.rows: list[dict[str, Any]] = []
        self.changed: dict[str, float] = {}
        self.epoch_loss = torch.zeros((), device=self.device)
        self.unseen: list[tuple[int, Tensor]] = []  # steps, each with its loss and gradient norm
        saved = self._saved()
        if saved is None:
            self._seed(-1)
            if stage.is_fitted:
                raise ValueError(
                    f"the stage {name!r} is trained already: build a new system for a new run, or "
                    "resume the run that it belongs to"
                )
            stage.fit(self.training, upstream, self.rng)
            stage.is_fitted = True
            self.changed = changed_shares(name, stage, self.training, upstream, self.rng)
        self.optimizer = torch.optim.AdamW(
            stage.parameters(), lr=1.0, weight_decay=self.recipe.weight_decay, fused=True
        )
        self.average = None if self.recipe.ema is None else MovingAverage(stage, self.recipe.ema)
        if saved is not None:
            try:
                self._restore(*saved)
            except MALFORMED as error:
                raise folder.damaged_state(error) from error

    def run(self, *, until: int | None = None) -> None:
        """Train to the end, or until a step, where the state is saved.

        Raises:
            FloatingPointError: if a loss is not finite; the state before it is kept. An accelerator
                is asked for losses now and then, and before anything is saved; a step whose loss is
                not finite changes no weight.
        """
        last = self.steps if until is None else min(until, self.steps)
        begin, saved_at, reported_at = time.monotonic(), time.monotonic(), 0.0
        first, before = self.step, self.seconds
        order = self._order(self.step // self.steps_per_epoch)
        while self.step < last and not self._is_stale():
            epoch, number = divmod(self.step, self.steps_per_epoch)
            if number == 0:
                order = self._order(epoch)
                self.epoch_loss.zero_()
            start = number * self.batch_size
            self._train_step(order[start : start + self.batch_size])
            now = time.monotonic()
            self.seconds = before + now - begin
            if self.device.type == "cpu" or len(self.unseen) == LOOK_EVERY:
                self._look()
            if number == self.steps_per_epoch - 1:
                self._end_epoch(epoch)
            if now - saved_at > SAVE_EVERY:
                self._save()
                saved_at = now
            if self.report is not None and now - reported_at > REPORT_EVERY:
                self._look()
                rate = (self.step - first) * self.batch_size / max(1e-9, now - begin)
                self.report(self._progress(rate))
                reported_at = now
        if self.step == self.steps or self._is_stale():
            self._finish()
        else:
            self._save()

    # ------------------------------------------------------------ one step

    def _train_step(self, showers: Tensor) -> None:
        self._seed(self.step)
        with self.fabric.autocast():
            batch = self.stage.batch(self.training.take(showers), self.upstream, self.rng)
            if _is_empty(batch):
                self.step += 1
                return
            loss = self.stage.loss(batch, self.rng)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        precision = self.fabric._precision
        precision.unscale_gradients(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            self.stage.parameters(), self.recipe.gradient_clip or math.inf
        )
        # in half precision the gradient's scale is found by overflows, whose steps are left out
        overflow = self.recipe.precision == "16-mixed" and self.device.type == "cuda"
        decisive = loss if overflow else norm
        self.unseen.append((self.step, torch.stack([decisive, loss, norm]).detach()))
        if not overflow:
            # what the optimizer asks before it changes weights, without the host's knowing
            self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        follow_schedule(self.optimizer, self.recipe, self.step, self.steps)
        precision.optimizer_step(self.optimizer)
        self.epoch_loss += loss.detach()
        self.step += 1
        if self.average is not None:
            self.average.update(self.stage, self.step)

    def _look(self) -> None:
        """Look at the steps since the last look, which an accelerator is waited for."""
        steps, self.unseen = self.unseen, []
        found = torch.stack([values for _, values in steps]).tolist() if steps else []
        for (step, _), (decisive, loss, norm) in zip(steps, found, strict=True):
            if not math.isfinite(decisive):
                raise FloatingPointError(
                    f"{self.name}: loss {loss} with gradient norm {norm} at step {step}; start "
                    "again with a lower learning rate or gradient_clip"
                )

    def _seed(self, *key: int | str) -> None:
        """Restart the generator from (seed, stage, key)."""
        text = repr((self.seed, self.name, *key)).encode()
        number = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
        self.rng.manual_seed(number & (2**63 - 1))

    def _order(self, epoch: int) -> Tensor:
        text = np.random.SeedSequence([self.seed, *self.name.encode(), epoch])
        return torch.from_numpy(np.random.default_rng(text).permutation(len(self.training)))

    # ------------------------------------------------------------ one epoch

    def _end_epoch(self, epoch: int) -> None:
        self._look()
        if self.average is not None:
            self.average.swap(self.stage)
        validation = self._validate()
        self.stale += 1
        if validation < self.best:
            self.best, self.stale = validation, 0
            self.folder.save_weights(self.stage)
        if self.average is not None:
            self.average.swap(self.stage)
        self.rows.append(
            {
                "epoch": epoch + 1,
                "step": self.step,
                "learning_rate": learning_rate(self.recipe, self.step - 1, self.steps),
                "loss": self.epoch_loss.item() / self.steps_per_epoch,
                "validation": validation,
                "seconds": round(self.seconds, 2),
            }
        )
        self.folder.save_log(self.rows)

    @torch.no_grad()
    def _validate(self) -> float:
        self.stage.eval()
        self._seed("validation")  # the same noise every time, so that epochs compare
        losses, sizes = [], []
        for start in range(0, len(self.validation), self.batch_size):
            showers = torch.arange(start, min(start + self.batch_size, len(self.validation)))
            batch = self.stage.batch(self.validation.take(showers), self.upstream, self.rng)
            if not _is_empty(batch):
                losses.append(self.stage.loss(batch, self.rng))
                sizes.append(len(showers))
        self.stage.train()
        if not losses:
            return math.nan
        total = 0.0
        for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True):
            total += loss * size
        return total / sum(sizes)

    def _is_stale(self) -> bool:
        return self.recipe.patience is not None and self.stale >= self.recipe.patience

    # ------------------------------------------------------------ keeping

    def _finish(self) -> None:
        if not math.isfinite(self.best):
            raise FloatingPointError(
                f"{self.name}: no epoch had a finite validation loss; lower the learning rate"
            )
        self.folder.load_weights(self.stage)
        self.stage.eval()
        summary = {
            "epochs": len(self.rows),
            "steps": self.step,
            "validation": self.best,
            "seconds": round(self.seconds, 2),
            "changed": self.changed,
        }
        self.folder.finish(summary)
        if self.report is not None:
            speed = self.step * self.batch_size / max(1e-9, self.seconds)
            self.report(self._progress(speed))

    def _progress(self, showers_per_second: float) -> TrainingProgress:
        in_epoch = (self.step - 1) % self.steps_per_epoch + 1
        return TrainingProgress(
            stage=self.name,
            step=self.step,
            steps=self.steps,
            loss=self.epoch_loss.item() / in_epoch,
            validation=self.rows[-1]["validation"] if self.rows else math.nan,
            showers_per_second=showers_per_second,
            finished=self.folder.is_trained,
        )

    def _save(self) -> None:
        self._look()
        tensors = {f"stage.{name}": value for name, value in self.stage.state_dict().items()}
        tensors["epoch_loss"] = self.epoch_loss
        for name, weights in self.stage.named_parameters():
            for key, value in self.optimizer.state.get(weights, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        if self.average is not None:
            tensors.update({f"average.{name}": v for name, v in self.average.values.items()})
        values = {
            "step": self.step,
            "best": self.best if math.isfinite(self.best) else None,
            "stale": self.stale,
            "seconds": self.seconds,
            "rows": self.rows,
            "changed": self.changed,
            "transforms": self.stage.state(),
            "precision": self.fabric._precision.state_dict(),
        }
        self.folder.save_state(tensors, values)

    def _saved(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The saved state, of the tensors that `_save` writes; None if there is none."""
        weights, kept = dict(self.stage.named_parameters()), self.stage.state_dict()
        expected = {f"stage.{name}": value for name, value in kept.items()}
        expected["epoch_loss"] = self.epoch_loss
        if self.recipe.ema is not None:
            averaged = MovingAverage(self.stage, self.recipe.ema).values
            expected.update({f"average.{name}": value for name, value in averaged.items()})
        moments: dict[str, Tensor] = {}  # of the weights that had a gradient
        for name, value in weights.items():
            moments[f"optimizer.step.{name}"] = self.epoch_loss
            moments |= {f"optimizer.{key}.{name}": value for key in ("exp_avg", "exp_avg_sq")}
        return self.folder.load_state({**expected, **moments}, optional=frozenset(moments))

    def _restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        def under(prefix: str) -> dict[str, Tensor]:
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            return {name: value.to(self.device) for name, value in found.items()}

        self.stage.load_state(values["transforms"])
        check_form(self.stage.state(), values["transforms"])
        self.stage.load_state_dict(under("stage."))
        weights = dict(self.stage.named_parameters())
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in under(f"optimizer.{key}.").items():
                self.optimizer.state[weights[name]][key] = value
        if self.average is not None:
            self.average.values = under("average.")
        self.fabric._precision.load_state_dict(values["precision"])
        self.epoch_loss = tensors["epoch_loss"].to(self.device)
        self.step, self.stale = int(values["step"]), int(values["stale"])
        self.seconds = float(values["seconds"])
        self.best = math.inf if values["best"] is None else float(values["best"])
        self.changed = dict(values.get("changed", {}))  # older states do not know
        self.rows = [{name: row[name] for name in ROW} for row in values["rows"]]
        epochs = self.step // self.steps_per_epoch
        if not (0 <= self.step <= self.steps and len(self.rows) == epochs):
            raise ValueError(
                f"step {self.step} of {self.steps} does not go with {len(self.rows)} epochs"
            )


def _is_empty(batch: Batch) -> bool:
    """Whether there is nothing to learn from, as in a batch of showers without energy."""
    return min(map(len, batch.values())) == 0


def _precision(
    recipe: Recipe, device: torch.device
) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """That of the recipe where the device computes in it, else 32 bits."""
    mixed = recipe.precision
    if mixed == "32":
        return "32-true"
    if device.type == "cuda":
        return mixed
    # other processors have bfloat16 as well, but in software
    has_matrices = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return mixed if mixed == "bf16-mixed" and has_matrices() else "32-true"


def split(
    sample: ShowerQuantities, validation: float, seed: int
) -> tuple[ShowerQuantities, ShowerQuantities]:
    """Training and validation part of a sample; the same for every stage of a run.

    Raises:
        ValueError: if the sample is too small for both.
    """
    training, kept = map(torch.from_numpy, split_numbers(len(sample), validation, seed))
    return sample.split(training), sample.split(kept)
