"""How a value and its error are printed: the error with two digits, the value to its last one."""

from __future__ import annotations

import math

__all__ = ["format_limits", "format_number", "format_value"]

MISSING = "–"
LARGEST, SMALLEST = 1e6, 1e-4  # beyond which a power of ten is written after the number
MOST_DIGITS = 9  # of a value: an error beyond them is rounding


def format_value(value: float, error: float | None) -> str:
    """A value with its error: two digits of the error, and the value to the same decimal place.

    Both have the same power of ten where they are large or small. An error below the ninth digit of
    its value is written with a power of its own; one that is not known is None or NaN.

    Example:
        >>> format_value(0.123456, 0.0456)
        '0.123 ± 0.046'
        >>> format_value(1.9e46, 3.2e44)
        '1.900e+46 ± 0.032e+46'
    """
    if math.isnan(value):
        return MISSING
    if error is None or math.isnan(error) or math.isinf(value):
        return format_number(value)
    if error <= 0 or math.isinf(error):
        return f"{format_number(value)} ± {format_number(error)}"
    error = float(f"{error:.1e}")  # so that its two digits are those after rounding: 0.0996 is 0.10
    last = math.floor(math.log10(error)) - 1  # decimal place of its second digit
    if value and math.floor(math.log10(abs(value))) - last >= MOST_DIGITS:
        return f"{value:.{MOST_DIGITS}g} ± {error:.1e}"
    if _is_plain(size := max(abs(value), error)):
        return f"{_decimals(value, last)} ± {_decimals(error, last)}"
    power = math.floor(math.log10(size))
    numbers = (_decimals(x / 10.0**power, last - power) for x in (value, error))
    return " ± ".join(f"{number}e{power:+03d}" for number in numbers)


def format_limits(value: float, low: float, high: float) -> str:
    """A value with limits that are not at equal distances, of which the upper one may be missing.

    Example:
        >>> format_limits(1126.3, 904.2, 1475.0), format_limits(math.inf, 9123.4, math.inf)
        ('1,130 +350 −220', '> 9,100')
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(high):
        return f"> {_grouped(low, math.floor(math.log10(low)) - 1)}"
    errors = high - value, value - low
    last = math.floor(math.log10(float(f"{min(errors):.1e}"))) - 1
    of_value, up, down = (_grouped(number, last) for number in (value, *errors))
    return f"{of_value} +{up} −{down}"


def format_number(value: float) -> str:
    """A number without error: to three digits, and to the unit where it has more before the point.

    Example:
        >>> format_number(0.123456), format_number(12345.6), format_number(1.9e46)
        ('0.123', '12346', '1.9e+46')
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.0f}" if 999.5 <= abs(value) < LARGEST else f"{value:.3g}"


def _is_plain(size: float) -> bool:
    return size == 0 or SMALLEST <= size < LARGEST


def _decimals(value: float, place: int) -> str:
    """A number rounded to a decimal place: -2 to hundredths, 2 to hundreds."""
    return f"{round(value, -place):.{max(0, -place)}f}"


def _grouped(value: float, place: int) -> str:
    """A number rounded to a decimal place, with a comma between thousands."""
    return f"{round(value, -place):,.{max(0, -place)}f}"
