"""The contract of a stage: a trainable network with its preprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from caloforge.nets import Preparable
from caloforge.preprocessing import Transform
from caloforge.systems.arguments import SamplingOptions
from caloforge.systems.likelihood import Noise
from caloforge.systems.quantities import Quantities, ShowerQuantities
from caloforge.systems.recipe import Recipe

__all__ = ["Batch", "Stage", "Upstream"]

Batch = dict[str, Tensor]
Upstream = Mapping[str, "Stage"]


class Stage(Preparable, ABC):
    """One trainable network and the preprocessing it was fitted with.

    A stage never owns another: the frozen stages of `needs` are handed in as `upstream`.

    Attributes:
        needs: stages that must be trained, and are then frozen, before this one.
        reads: physical quantities that it is conditioned on.
        writes: physical quantities that it samples.
        learns: physical quantities of showers that it is trained on; by default all that it reads
            and writes, which are all of showers then.
        recipe: how it is trained.
        settings: what to change where a kind of transform moves too much of a training sample, by
            the name of its class.
        is_fitted: whether `fit` was called or a checkpoint loaded.
    """

    needs: tuple[str, ...] = ()
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    learns: tuple[str, ...] = ()
    recipe: Recipe
    settings: Mapping[str, str] = {}
    is_fitted: bool = False

    @abstractmethod
    def fit(self, sample: ShowerQuantities, upstream: Upstream, rng: torch.Generator) -> None:
        """Fit the transforms, and what else depends on data, on the training split; once."""

    @abstractmethod
    def context(self, quantities: Quantities) -> Tensor:
        """Conditioning of the network: the only place it is built, in training and in sampling."""

    @abstractmethod
    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        """What `loss` needs of a batch of showers, noise and augmentation included."""

    @abstractmethod
    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """The scalar to minimise."""

    @abstractmethod
    def sample(
        self,
        quantities: Quantities,
        upstream: Upstream,
        rng: torch.Generator,
        options: SamplingOptions,
    ) -> Quantities:
        """Draw: the given quantities and the stage's own `writes`."""

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        """What of training showers lies beyond a limit that drawn ones keep; by default nothing.

        Limits of transforms need no word here: they are found by what does not come back.

        Returns:
            By the name of the setting, a truth value for each shower, hit or point, shape (m,).
        """
        return {}

    def prepare(self) -> None:
        """Into eval mode, with what sampling needs of the weights computed, see `Preparable`."""
        self.eval()
        for module in self.modules():
            if isinstance(module, Preparable) and module is not self:
                module.prepare()
        self._prepared = True

    @property
    @abstractmethod
    def sequential_passes(self) -> int:
        """Passes through networks, one after the other, that a draw takes.

        A batch shares them, so that they rule the time of small batches.
        """

    def add_noise(self, quantities: Quantities, rng: torch.Generator) -> Quantities:
        """With the noise that gives what the stage writes a density; by default none."""
        return quantities

    def noise(self) -> Noise | None:
        """What an empty entry of `writes` holds after `add_noise`; by default nothing known."""
        return None

    def log_prob(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        """Log-density of what the stage writes, given what it reads; only flows have one.

        Args:
            quantities: with the noise of all stages, in MeV.
            upstream: the stages of `needs`.
            rng: for what a network sees beside them, such as padding.

        Returns:
            In double precision and MeV^-1 for each entry of `writes`, shape (n,); minus infinity
            for what the stage cannot draw.

        Raises:
            NotImplementedError: for stages that have none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no density: only flows have one")

    def transforms(self) -> dict[str, Any]:
        """State of every fitted transform, by attribute, in JSON's types."""
        return {
            name: module.state()
            for name, module in self.named_children()
            if isinstance(module, Transform)
        }

    def load_transforms(self, states: Mapping[str, Any]) -> None:
        """Inverse of `transforms`.

        Raises:
            ValueError: if the states are of other transforms.
        """
        own = {n: module for n, module in self.named_children() if isinstance(module, Transform)}
        if own.keys() != states.keys():
            raise ValueError(
                f"expected the transforms {', '.join(own)}, got {', '.join(states)}: "
                "the checkpoint is of another stage or version"
            )
        for name, module in own.items():
            module.load_state(states[name])
        self.is_fitted = True
