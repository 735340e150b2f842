"""Values to request bodies: decimals as plain text, times with `Z`, columns as numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import orjson

from engine.domain.decimals import decimal_text


def instant(value: datetime) -> str:
    """ISO 8601 in UTC with `Z`. `value` must be aware."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def encode(value: object) -> bytes:
    """JSON of structs, mappings, sequences, decimals, times and numpy columns."""
    return orjson.dumps(value, default=_foreign, option=_OPTIONS)


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATETIME


def _foreign(value: object) -> object:
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    raise TypeError(f"{type(value).__name__} has no place on the wire")
