"""Decimal text: what is taken and what is given."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.domain.decimals import decimal_text, parse_amount, parse_decimal, parse_positive


@pytest.mark.parametrize(
    ("value", "written"),
    [("0.00000050", "0.0000005"), ("1E+5", "100000"), ("120.00", "120"), ("0E-8", "0")],
)
def test_text_has_no_exponent_and_no_trailing_zeros(value: str, written: str) -> None:
    assert decimal_text(Decimal(value)) == written


@pytest.mark.parametrize("written", ["0.0150", "6.9E-7", "123456789012345.5"])
def test_a_number_within_bounds_keeps_its_value(written: str) -> None:
    assert parse_decimal(written) == Decimal(written)


@pytest.mark.parametrize(
    "written",
    ["NaN", "Infinity", "1E400", "1E-400", "1E15", "", "abc", "1,5", "0.1234567890123456789"],
)
def test_what_is_no_tradable_number_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"number|places|digits"):
        parse_decimal(written)


def test_an_amount_may_be_zero_but_not_negative() -> None:
    assert parse_amount("0.00", "fee") == 0
    with pytest.raises(ValueError, match="fee: must not be negative"):
        parse_amount("-0.01", "fee")


def test_a_positive_number_is_not_zero() -> None:
    with pytest.raises(ValueError, match="price: must be above 0"):
        parse_positive("0", "price")
