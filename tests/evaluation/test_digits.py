"""An error has two digits, and its value ends where it ends."""

from __future__ import annotations

import math

import pytest

from caloforge.evaluation.digits import format_number, format_value

NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.123456, 0.0123, "0.123 ± 0.012"),
        (0.123456, 0.0456, "0.123 ± 0.046"),
        (12.3, 1.0, "12.3 ± 1.0"),
        (1234.5, 40, "1234 ± 40"),
        (1234.5, 123, "1230 ± 120"),
        (0.5, 0.0996, "0.50 ± 0.10"),
        (-0.00012, 0.00034, "-0.00012 ± 0.00034"),
        (0.0, 0.012, "0.000 ± 0.012"),
        (3.2e-7, 4e-8, "3.20e-07 ± 0.40e-07"),
        (5.32e52, 1.1e51, "5.32e+52 ± 0.11e+52"),
        (1.0, 1e-16, "1 ± 1.0e-16"),
        (0.5, 0.0, "0.5 ± 0"),
        (0.5, NAN, "0.5"),
        (0.5, None, "0.5"),
        (0.5, INFINITY, "0.5 ± ∞"),
        (INFINITY, 0.1, "∞"),
        (NAN, 0.1, "–"),
    ],
)
def test_values_end_where_the_two_digits_of_their_errors_do(value, error, text):
    assert format_value(value, error) == text


@pytest.mark.parametrize("power", range(-320, 301, 20))
def test_no_number_is_longer_than_a_person_can_read(power):
    value = 1.2345 * 10.0**power
    for error in (value / 7, 1.0, 1e-12 * value, 1e5 * value):
        assert len(format_value(value, error)) < 30
    assert len(format_number(value)) < 10


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.123"),
        (99.96, "100"),
        (999.7, "1000"),
        (12345.6, "12346"),
        (0.0, "0"),
        (NAN, "–"),
        (-INFINITY, "−∞"),
    ],
)
def test_a_number_without_error_has_three_digits(value, text):
    assert format_number(value) == text
