"""The contract of a stage: a fitted map from random numbers and known quantities to new ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import POSTPROCESS, Choice, chosen
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.recipe import Recipe, validation_size
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.nets import Preparable
from caloforge.preprocessing import Transform
from caloforge.showers import ShowerSource

__all__ = ["Batch", "Conditions", "Correction", "Learned", "Stage", "Upstream"]

Batch = dict[str, Tensor]
Upstream = Mapping[str, "Stage"]


class Stage(Preparable, ABC):
    """A map that is fitted to showers, and then a pure function of noise and of what is given.

    A stage never owns another: the frozen stages of `needs` are passed as `upstream`. It may
    write a quantity that it reads: those after it read the new values, those before it the old.

    Attributes:
        needs: stages that must be trained, and are then frozen, before this one; they may come
            after it in sampling.
        reads: physical quantities that it is conditioned on; by default none.
        optional: others that it takes into account where there are any.
        writes: physical quantities that it samples, or resamples; by default none.
        learns: physical quantities of showers that it is trained on; by default all that it reads
            and writes, which are all of showers then.
        seeded: branches from the random numbers of a shower to its own; by default its name.
        settings: what to change where a kind of transform moves too much of a training sample, by
            the name of its class.
        is_fitted: whether `fit` was called or a checkpoint loaded.
    """

    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    learns: tuple[str, ...] = ()
    seeded: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}
    is_fitted: bool = False

    @classmethod
    def of(cls, upstream: Upstream, name: str) -> Self:
        """The stage of this kind that another needs by this name."""
        stage = upstream[name]
        assert isinstance(stage, cls)
        return stage

    @property
    def choices(self) -> Mapping[str, Choice]:
        """Choices of the user at generation, by name; by default none."""
        return {}

    def chosen(self, options: Mapping[str, Any]) -> SamplingOptions:
        """All of its own choices: those of the options, or by default.

        Raises:
            ValueError: for what a choice does not take.
        """
        return chosen(self.choices, options)

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse a training sample that the stage cannot learn from.

        All stages of a system are asked before the first of them is trained.

        Raises:
            ValueError: saying what is wrong, and which setting of the system allows it.
        """

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        """Fit the transforms, and what else depends on data, once; by default there is nothing.

        Args:
            sample: what the stage learns, of networks and their conditions the training split.
            upstream: the stages of `needs`.
            rng: source of randomness.
            draw: what the system samples as it stands, for stages that are fitted and not trained;
                the stages that are sampled belong to `needs`.
        """

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """Shape of the standard normal numbers "z" that a shower is decoded from; by default none.

        They depend on nothing, so that those of many stages are made at once.
        """
        return None

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """The random numbers besides "z" that a shower is decoded from; by default none.

        Args:
            given: what the stage reads, n showers.
            seeds: of the showers, for this stage alone.
        """
        return {}

    def sample(
        self,
        given: Quantities,
        upstream: Upstream,
        seeds: Seeds,
        options: Mapping[str, Any],
        z: Tensor | None = None,
    ) -> Quantities:
        """Decode random numbers, those of the seeds.

        Args:
            given: what the stage reads, n showers.
            upstream: the stages of `needs`.
            seeds: of the showers, for this stage alone.
            options: what a user chooses at generation, of this stage and of others.
            z: standard normal numbers, shape (n, *latent_shape), in place of those of the seeds.
        """
        noise = self.noise(given, seeds)
        if self.latent_shape is not None:
            noise["z"] = seeds.branch("z").normal(*self.latent_shape) if z is None else z
        return self.decode(noise, given, upstream, self.chosen(options))

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        """What the stage writes, a pure function of the noise and of what is given.

        By default that is nothing: other stages make use of this one.

        Args:
            noise: as `noise` makes it.
            given: what the stage reads, n showers; left as it is.
            upstream: the stages of `needs`.
            options: what was chosen of its `choices`, as `chosen` gives it.
        """
        return {}

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        """What of training showers lies beyond a limit that sampled ones keep; by default nothing.

        Limits of transforms need nothing here: they are found by what does not come back.

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
    def sequential_passes(self) -> int:
        """Passes through networks, one after the other, that sampling takes; by default none.

        A batch shares them, so that they rule the time of small batches.
        """
        return 0

    def passes(self, options: SamplingOptions) -> int:
        """`sequential_passes` with what was chosen; by default the same."""
        return self.sequential_passes

    def state(self) -> dict[str, Any]:
        """What was fitted besides tensors, in JSON's types: by default the state of transforms."""
        return {
            name: module.state()
            for name, module in self.named_children()
            if isinstance(module, Transform)
        }

    def load_state(self, states: Mapping[str, Any]) -> None:
        """Inverse of `state`; the stage counts as fitted then.

        Raises:
            ValueError: for values that no fit of the configuration gives.
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


class Correction(Stage, ABC):
    """Post-processing: a stage that corrects what those before it sampled.

    It is left out while it is not fitted, and where a user wants no post-processing. A density is
    that of the quantities before they are corrected.
    """

    choices: Mapping[str, Choice] = {"postprocess": POSTPROCESS}


class Conditions(Stage, ABC):
    """What the networks of a system are conditioned on: fitted once, on the training split.

    Networks that name it in `needs` build their `context` with it; it samples nothing itself.
    """

    @abstractmethod
    def both(self, quantities: Quantities) -> Tensor:
        """The incident particle, and what is known about its shower, shape (n, size)."""


class Learned(Stage, ABC):
    """A stage with weights, which are trained after it is fitted.

    Attributes:
        recipe: how it is trained.
    """

    recipe: Recipe

    def check(self, sample: ShowerSource[Any]) -> None:
        super().check(sample)
        validation_size(len(sample), self.recipe.validation)

    @abstractmethod
    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Conditioning of the network: the only place it is built, in training and in sampling."""

    @abstractmethod
    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        """What `loss` needs of a batch of showers, noise and augmentation included."""

    @abstractmethod
    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """The scalar to minimise."""

    @property
    @abstractmethod
    def sequential_passes(self) -> int:
        """Passes through networks, one after the other, that sampling takes."""
