"""Strict decoding of bodies and query strings: what is wrong is named, field by field."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from web.problems import FieldError, Problem, unprocessable

T = TypeVar("T")

_AT = re.compile(r" - at `\$\.?(?P<path>.*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>.*)`")
# Far beyond any price or quantity, and small enough that arithmetic on it stays cheap.
_MAX_EXPONENT = 30
_MAX_DIGITS = 60
_CHECKED_BY_DECODER = (
    inspect.BoolType,
    inspect.BytesType,
    inspect.EnumType,
    inspect.IntType,
    inspect.LiteralType,
    inspect.NoneType,
    inspect.RawType,  # decoded later, by who knows its shape
    inspect.StrType,
)
_hints: Callable[[Any], dict[str, Any]] = functools.cache(get_type_hints)


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The body or query of a route that takes none."""


def decode_body(raw: bytes, shape: type[T]) -> T:
    """JSON -> `shape`. Raises Problem 400 (not JSON) or 422 (JSON of another shape).

    An empty body is read as `{}`, so that a request whose fields are all optional needs none.
    """
    raw = raw.strip() or b"{}"
    try:
        value = msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as exc:
        _require_json(raw)
        raise unprocessable((field_error(str(exc)),)) from exc
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise _malformed(exc) from exc
    _require_sound(value)
    return value


def _require_json(raw: bytes) -> None:
    """A body may have the wrong shape before the place where it stops being JSON."""
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise _malformed(exc) from exc


def _malformed(exc: Exception) -> Problem:
    reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
    return Problem(
        400, "Malformed JSON", f"the body is not valid JSON: {reason}", kind="malformed-json"
    )


def decode_query(arguments: Mapping[str, list[str]], shape: type[T]) -> T:
    """Query parameters -> `shape`; texts are converted. Raises Problem 422."""
    hints = _hints(shape)
    plain: dict[str, object] = {}
    for name, values in arguments.items():
        if get_origin(hints.get(name)) in {list, tuple, set, frozenset}:
            plain[name] = values
        elif len(values) > 1:
            raise unprocessable((FieldError(name, "given more than once"),))
        else:
            plain[name] = values[0]
    try:
        value = msgspec.convert(plain, shape, strict=False)
    except msgspec.ValidationError as exc:
        raise unprocessable((field_error(str(exc)),)) from exc
    _require_sound(value)
    return value


def field_error(message: str) -> FieldError:
    """A decoder's message as {field, detail}; a missing or unknown field is itself the field."""
    found = _AT.search(message)
    path = found["path"] if found else ""
    detail = message[: found.start()] if found else message
    named = _NAMED.search(detail)
    if named:
        path = f"{path}.{named['name']}".lstrip(".")
        detail = "unknown field" if "unknown" in detail[: named.start() + 8] else "missing field"
    return FieldError(path, detail)


def _require_sound(value: object) -> None:
    """Refuse values that decode and yet cannot be computed with."""
    errors = tuple(_unsound(value, ""))
    if errors:
        raise unprocessable(errors)


def _unsound(value: object, path: str) -> Iterator[FieldError]:
    fault = _scalar_fault(value)
    if fault:
        yield FieldError(path, fault)
    for step, part in _parts(value):
        yield from _unsound(part, f"{path}{step}".lstrip("."))


def _scalar_fault(value: object) -> str:
    match value:
        case Decimal() if not _is_computable(value):
            return "not a finite number of a usable size"
        case float() if not math.isfinite(value):
            return "not a finite number"
        case datetime() if value.tzinfo is None:
            return "a time needs its offset from UTC, such as Z"
    return ""


def _parts(value: object) -> Iterator[tuple[str, object]]:
    match value:
        case msgspec.Struct():
            yield from ((f".{name}", getattr(value, name)) for name in _doubtful(type(value)))
        case dict():
            yield from ((f".{name}", item) for name, item in value.items())
        # JSON has no infinite numbers and columns of candles are long: they are not walked.
        case [float() | int(), *_]:
            return
        case list() | tuple():
            yield from ((f"[{index}]", item) for index, item in enumerate(value))


@functools.cache
def _doubtful(shape: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields that can hold what decodes and yet is unsound, such as numbers with fractions."""
    return tuple(
        field.name
        for field in msgspec.structs.fields(shape)
        if not _is_safe(inspect.type_info(field.type))
    )


def _is_safe(found: inspect.Type) -> bool:
    match found:
        case inspect.UnionType(types=parts) | inspect.TupleType(item_types=parts):
            return all(_is_safe(part) for part in parts)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return _is_safe(item)
        case inspect.DictType(key_type=key, value_type=value):
            return _is_safe(key) and _is_safe(value)
    return isinstance(found, _CHECKED_BY_DECODER)


def _is_computable(value: Decimal) -> bool:
    if not value.is_finite():
        return False
    digits = value.as_tuple()
    return abs(value.adjusted()) <= _MAX_EXPONENT and len(digits.digits) <= _MAX_DIGITS
