"""Settings that are one of several configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from caloforge.names import did_you_mean

__all__ = ["Variant"]


@dataclass(frozen=True, eq=False)
class Variant:
    """Marks a setting as one of the configurations of a union, the one that has its `kind`.

    Errors of a value are those of that configuration alone. A value without a kind, as run
    folders hold that are older than the others, is of the first.

    Args:
        named: configurations that can be chosen by name.
    """

    named: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(self, union: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        first, *_ = classes = get_args(union)
        of_kind: dict[Any, Any] = {kind: each for each in classes for kind in _kinds(each)}

        def validated(value: Any) -> Any:
            if isinstance(value, classes):
                return value
            if not isinstance(value, Mapping):
                return self._of_name(str(value))
            kind = value.get("kind")
            if kind not in (*of_kind, None):
                raise ValueError(f"kind must be {' or '.join(of_kind)}")
            return TypeAdapter(of_kind.get(kind, first)).validate_python(value)

        return core_schema.no_info_before_validator_function(validated, handler(union))

    def _of_name(self, name: str) -> Any:
        if name not in self.named:
            expected = " or ".join(("settings by name", *self.named))
            raise ValueError(f"expected {expected}{did_you_mean(name, self.named)}")
        return self.named[name]


def _kinds(config: type[Any]) -> tuple[str, ...]:
    """The kinds that a configuration may have; none where there are no others."""
    return get_args(get_type_hints(config).get("kind"))
