"""What cannot be computed with is refused at the edge, and named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest

from engine.clients.checks import require_sound


class Inner(msgspec.Struct):
    """A part."""

    amounts: dict[str, Decimal]


class Outer(msgspec.Struct):
    """A whole."""

    inner: tuple[Inner, ...]
    at: datetime | None = None


SOUND = Decimal("0.000001")


@pytest.mark.parametrize(
    "value",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        Decimal("1E+25"),
        Decimal("1E-25"),
        float("nan"),
        float("inf"),
        2**63,
        -(2**63),
        datetime(2025, 11, 22),  # noqa: DTZ001
        datetime(2025, 11, 22, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=repr,
)
def test_a_value_that_cannot_be_computed_with_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="answer"):
        require_sound(value)


@pytest.mark.parametrize(
    "value",
    [SOUND, Decimal("1E+24"), 1.5, 2**63 - 1, datetime(2025, 11, 22, tzinfo=UTC), None, True, "a"],
    ids=repr,
)
def test_a_value_in_range_is_sound(value: object) -> None:
    require_sound(value)


def test_the_field_is_named_however_deep_it_lies() -> None:
    value = Outer((Inner({"a": SOUND}), Inner({"b": Decimal("NaN")})))
    with pytest.raises(ValueError, match=r"answer\.inner\[1\]\.amounts\[b\] is not finite"):
        require_sound(value)
