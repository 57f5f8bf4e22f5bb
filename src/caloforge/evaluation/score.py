"""One value of one candidate with its floor and its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from caloforge.evaluation.digits import MISSING, format_limits, format_value
from caloforge.evaluation.quantities import Quantity, quantity

__all__ = ["AT_FLOOR", "FAR", "Mark", "Score"]

AT_FLOOR, FAR = 2.0, 5.0  # spreads off the floor at which a difference counts as seen, as gross

Mark = Literal["floor", "seen", "far", "unknown"]


@dataclass(frozen=True)
class Score:
    """One value of one candidate, and the floor to read it against.

    Args:
        metric: name of the metric.
        observable: what is compared; for layers the mean over them.
        candidate: name of the generated sample.
        value: mean over the subsamples.
        error: standard deviation over the subsamples.
        floor: the same between the reference and as many other Geant4 showers.
        floor_error: its standard deviation over the subsamples.
        n_showers: showers of each set that was compared.
        comparable: whether it may be compared with published values of this metric.
        layers: value of each layer, empty if the observable has no layers.
        floor_layers: floor of each layer.
        layer_errors: standard deviation of each layer over the subsamples, empty for a single one.
        floor_layer_errors: the same of the floor.
        low: lower limit of a value whose errors differ upwards and downwards, see `Estimate`.
        high: its upper limit, infinite where the value is out of sight.
        condition: of which showers it is, in words, empty for all of them.
        reason: why a value, a floor or an error is missing, and in which layers.
        remark: the metric's remark on the value, in words.
    """

    metric: str
    observable: str
    candidate: str
    value: float
    error: float
    floor: float
    floor_error: float
    n_showers: int
    comparable: bool = False
    layers: tuple[float, ...] = ()
    floor_layers: tuple[float, ...] = ()
    layer_errors: tuple[float, ...] = ()
    floor_layer_errors: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan
    condition: str = ""
    reason: str = ""
    remark: str = ""

    @property
    def quantity(self) -> Quantity:
        """What the value is."""
        return quantity(self.metric, self.observable)

    @property
    def title(self) -> str:
        """What a person calls the value."""
        return self.quantity.label

    @property
    def scale(self) -> float:
        """Factor that the value is shown with."""
        return self.quantity.scale

    @property
    def excess(self) -> float:
        """Distance from the floor on the bad side in units of both spreads, NaN where unknown.

        Negative on the good side; where a value on either side is bad, both count as bad. A p-value
        needs no floor: the standard deviations beyond which a normal distribution has it.
        """
        distance = self.quantity.badness(self.value, self.floor)
        if self.quantity.toward == "chance":
            return distance
        spread = math.hypot(self.error, self.floor_error)
        if not math.isnan(self.low):  # of the inverse, towards no difference
            spread = 1 / self.low if math.isinf(self.high) else 1 / self.value - 1 / self.high
        if spread == 0 and not math.isnan(distance):  # all subsamples agree: any difference is one
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / spread

    @property
    def mark(self) -> Mark:
        """How far off its floor the score is, in a word."""
        if math.isnan(self.excess):
            return "unknown"
        is_at_floor = self.excess < AT_FLOOR if math.isnan(self.low) else math.isinf(self.high)
        return "floor" if is_at_floor else "seen" if self.excess < FAR else "far"

    @property
    def verdict(self) -> str:
        """How far off its floor the score is and on which side, in a few words."""
        if math.isnan(self.excess):
            return "no value" if math.isnan(self.value) else "not known"
        if self.quantity.toward == "chance":
            return "no difference seen" if self.mark == "floor" else "different"
        if self.mark == "floor" and self.excess > -AT_FLOOR:
            return "at the floor"
        side = "above" if self.value > self.floor else "below"
        return f"far {side}" if self.mark == "far" else side

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the words that go with them; null where none is finite.

        `from_dict` is the inverse.
        """
        known = {name: _plain(value) for name, value in vars(self).items() if value != ()}
        words = {
            "title": self.quantity.title,
            "better": self.quantity.better,
            "verdict": self.verdict,
        }
        said = {"reason": self.reason or None, "remark": self.remark or None}
        return {**known, **words, **said}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Score:
        """A score from what `to_dict` gave: null is infinite above a limit, else not known.

        Raises:
            ValueError: if a value is missing or of another kind.
        """
        beyond = math.nan if values.get("low") is None else math.inf
        missing = {"value": beyond, "floor": beyond, "high": beyond, "reason": "", "remark": ""}
        given = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        known = {
            name: missing.get(name, math.nan) if value is None else _read(value)
            for name, value in given.items()
        }
        try:
            return TypeAdapter(cls).validate_python(known)
        except ValidationError as error:
            raise ValueError(f"expected a score, got {str(values)[:200]} ({error})") from error

    def text(self, *, of_floor: bool = False) -> str:
        """The value, or its floor if there is one, with the error, as it is shown."""
        if of_floor and math.isinf(self.floor):
            return MISSING
        if not (of_floor or math.isnan(self.low)):
            return format_limits(self.value, self.low, self.high)
        value, error = (self.floor, self.floor_error) if of_floor else (self.value, self.error)
        return format_value(value * self.scale, error * self.scale)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(value: Any) -> Any:
    return tuple(math.nan if x is None else x for x in value) if isinstance(value, list) else value
