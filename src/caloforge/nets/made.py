"""Masked autoencoder for distribution estimation (MADE, arXiv:1502.03509)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.nets.folded import pick

__all__ = ["MADE", "StepwiseMADE"]


class MaskedLinear(nn.Linear):
    """A linear layer whose weights are masked.

    Args:
        mask: which input reaches which output, shape (outputs, inputs).
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        # follows from the sizes, so it is not saved
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """A fully connected network whose outputs for feature i see the features before i only.

    First layer with the context added, `hidden_layers` layers of equal width, output layer; ReLU
    between them. The output starts at zero, so that a flow starts as the identity.

    Args:
        features: number of features D.
        multiplier: outputs a feature.
        hidden: width of the hidden layers.
        hidden_layers: number of hidden layers after the first.
        context: number of context features, 0 for none; every output sees all of them.
    """

    degrees: Tensor

    def __init__(
        self, features: int, multiplier: int, hidden: int, hidden_layers: int, context: int = 0
    ) -> None:
        super().__init__()
        self.multiplier = multiplier
        order = torch.arange(1, features + 1)
        # from 0: a unit of degree 0 sees the context alone, and is all that the first feature sees
        units = torch.arange(hidden)
        # a narrow network spreads them, else the last features would reach no unit at all
        narrow = units * (features - 1) // max(1, hidden - 1)
        degrees = units % features if hidden >= features else narrow
        # follows from the sizes, so it is not saved
        self.register_buffer("degrees", degrees, persistent=False)
        self.first = MaskedLinear(degrees[:, None] >= order)
        self.context = nn.Linear(context, hidden) if context else None
        self.hidden = nn.ModuleList(
            MaskedLinear(degrees[:, None] >= degrees) for _ in range(hidden_layers)
        )
        # rows are (output, feature), feature fastest: the order in which splines run fastest
        self.last = MaskedLinear(order.repeat(multiplier)[:, None] > degrees)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Outputs of all features.

        Args:
            x: features, shape (n, D).
            context: shape (n, context).

        Returns:
            Shape (n, multiplier, D).
        """
        h = self.first(x)
        if self.context is not None:
            h = h + self.context(context)
        for layer in self.hidden:
            h = layer(torch.relu(h))
        out: Tensor = self.last(torch.relu(h))
        outputs: Tensor = out.unflatten(1, (self.multiplier, -1))
        return outputs

    def stepwise(self, outputs: Tensor | None = None) -> StepwiseMADE:
        """The same network, for features that are known one after the other.

        Args:
            outputs: which outputs of a feature are wanted, in which order, -1 for zeros; all by
                default.
        """
        return StepwiseMADE(self, outputs)


class StepwiseMADE:
    """A MADE, with its present weights, that computes each of its units once.

    A unit of degree d is final when the first d features are known. Sorted by degree, the units of
    each layer are thus found group by group, and all that a group depends on lies before it: what
    the masks leave of the weights are slices.

    Args:
        made: the network.
        outputs: which outputs of a feature are wanted, in which order, -1 for zeros.
    """

    def __init__(self, made: MADE, outputs: Tensor | None) -> None:
        n_features = made.first.in_features
        order = made.degrees.argsort(stable=True)
        ends = torch.bincount(made.degrees, minlength=n_features).cumsum(0).tolist()
        groups = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        first, last = made.first.weight[order], made.last.weight[:, order]
        self.context = None if made.context is None else made.context.weight[order]
        bias = made.first.bias if made.context is None else made.first.bias + made.context.bias
        self.start = bias[order][:, None]
        self.n_units = [group.stop - group.start for group in groups]
        self.first = [first[group, :i] for i, group in enumerate(groups)]
        self.hidden = [
            [(bias[group], weight[group, : group.stop]) for group in groups]
            for bias, weight in (_sorted(layer, order) for layer in made.hidden)
        ]
        weights = last.view(made.multiplier, n_features, -1)
        biases = made.last.bias.view(made.multiplier, n_features, 1)
        if outputs is not None:
            weights, biases = (pick(values, outputs) for values in (weights, biases))
        weights = weights.transpose(0, 1).contiguous()
        self.last = [
            (bias, weight[:, : group.stop])
            for bias, weight, group in zip(biases.unbind(1), weights, groups, strict=True)
        ]

    def begin(self, n: int, context: Tensor | None) -> Steps:
        """Begin with n points of which no feature is known, context of shape (n, context)."""
        if self.context is None or context is None:
            return Steps(self, self.start.expand(-1, n))
        return Steps(self, torch.addmm(self.start, self.context, context.t()))


def _sorted(layer: nn.Module, order: Tensor) -> tuple[Tensor, Tensor]:
    """Bias (units, 1) and weight (units, units) of a layer with its units in an order."""
    assert isinstance(layer, nn.Linear)
    return layer.bias[order][:, None], layer.weight[order][:, order]


class Steps:
    """One pass through a `StepwiseMADE`, with points along the columns.

    Args:
        net: the network.
        start: of the units of the first layer, what they have of the context, shape (hidden, n).
    """

    def __init__(self, net: StepwiseMADE, start: Tensor) -> None:
        self.net = net
        self.start = start.split(net.n_units)
        self.known = start[:0]
        self.units = [start[:0]] * (1 + len(net.hidden))

    def outputs(self) -> Tensor:
        """Outputs for the first feature that is not known, shape (multiplier, n)."""
        net, i = self.net, len(self.known)
        if net.n_units[i]:
            h = torch.addmm(self.start[i], net.first[i], self.known) if i else self.start[0]
            for layer, groups in enumerate(net.hidden):
                h = torch.addmm(groups[i][0], groups[i][1], self._join(layer, h))
            self._join(len(net.hidden), h)
        return torch.addmm(*net.last[i], self.units[-1])

    def _join(self, layer: int, h: Tensor) -> Tensor:
        self.units[layer] = torch.cat([self.units[layer], torch.relu(h)])
        return self.units[layer]

    def append(self, feature: Tensor) -> None:
        """The next feature is known, shape (n,)."""
        self.known = torch.cat([self.known, feature[None]])
