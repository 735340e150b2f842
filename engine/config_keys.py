"""The tree of known keys, as the Settings models declare it: what a key takes, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from decimal import Decimal
from types import NoneType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from engine.service_settings import Section
from engine.settings import Distance, Settings

Path = tuple[str, ...]

_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    bool: "true or false",
    str: "a text",
    SecretStr: "a text",
    Distance: 'a distance such as "2 atr" or "0.03", or ""',
}


def _leaves(model: type[Section], above: Path) -> Iterator[tuple[Path, FieldInfo]]:
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is None:
            yield (*above, name), field
        else:
            yield from _leaves(section, (*above, name))


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds; None for a leaf."""
    kind = field.annotation
    return kind if _is_section(kind) else None


def _is_section(kind: Any) -> TypeGuard[type[Section]]:
    return isinstance(kind, type) and issubclass(kind, Section)


LEAVES: dict[Path, FieldInfo] = dict(_leaves(Settings, ()))
"""Every key that takes a value."""
SECTIONS: dict[Path, tuple[str, ...]] = {}
"""The keys of every section; () is the whole file."""
for _path in LEAVES:
    for _depth, _name in enumerate(_path):
        _known = SECTIONS.get(_path[:_depth], ())
        if _name not in _known:
            SECTIONS[_path[:_depth]] = (*_known, _name)


def types_of(annotation: Any) -> set[Any]:
    """The plain types that an annotation allows, without None."""
    origin = get_origin(annotation)
    if origin is Literal:
        return {type(value) for value in get_args(annotation)}
    if origin is Union or type(annotation).__name__ == "UnionType":
        members = [types_of(member) for member in get_args(annotation)]
        return set().union(*members) - {NoneType}
    return {origin or annotation}


def takes_text(path: Path) -> bool:
    """Whether the key's value is taken from a text as it stands, without reading it as YAML."""
    field = LEAVES.get(path)
    kinds = types_of(field.annotation) if field is not None else set()
    return bool(kinds & {str, Decimal, SecretStr, Distance})


def takes_texts(path: Path) -> bool:
    """Whether the key takes a list of texts."""
    field = LEAVES.get(path)
    return field is not None and field.annotation == tuple[str, ...]


def is_secret(path: Path) -> bool:
    """Whether the key's value must never be shown."""
    field = LEAVES.get(path)
    return field is not None and field.annotation is SecretStr


def allowed(path: Path) -> str:
    """What a key takes, in words; empty where nothing is known of it."""
    if path in SECTIONS:
        return f"a section with {' '.join(SECTIONS[path])}"
    field = LEAVES.get(path)
    if field is None:
        return ""
    if get_origin(field.annotation) is Literal:
        return f"one of {' '.join(str(value) for value in get_args(field.annotation))}"
    if get_origin(field.annotation) is tuple:
        return "a list of texts" if takes_texts(path) else "a list"
    kinds = types_of(field.annotation)
    named = [name for kind, name in _NAMES.items() if kind in kinds]
    return f"{named[0] if named else 'a value'}{_bounds(field)}"


def _bounds(field: FieldInfo) -> str:
    """The limits of a value, as they are written in the models."""
    words: list[str] = []
    for rule in field.metadata:
        match rule:
            case annotated_types.Ge(ge=limit):
                words.append(f"at least {limit}")
            case annotated_types.Gt(gt=limit):
                words.append(f"above {limit}")
            case annotated_types.Le(le=limit):
                words.append(f"at most {limit}")
            case annotated_types.Lt(lt=limit):
                words.append(f"below {limit}")
            case annotated_types.MinLen(min_length=length):
                words.append(f"{length} characters or more")
            case annotated_types.MaxLen(max_length=length):
                words.append(f"{length} characters or fewer")
            case _ if getattr(rule, "pattern", None):
                words.append(f"of the form {rule.pattern}")
    return f", {', '.join(words)}" if words else ""


def keys_beside(path: Path) -> tuple[str, ...]:
    """The keys that are known where `path` stands; of a list's entry too."""
    field = LEAVES.get(path[:-2])
    entries = [kind for kind in get_args(field.annotation) if _is_section(kind)] if field else []
    if entries:
        return tuple(entries[0].model_fields)
    return SECTIONS.get(path[:-1], ())


def nearest(path: Path) -> Path | None:
    """The known key that an unknown one was probably meant to be."""
    siblings = keys_beside(path)
    close = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6)
    if close:
        return (*path[:-1], close[0])
    if any(path[:length] in LEAVES for length in range(1, len(path))):
        return None
    elsewhere = [known for known in (*LEAVES, *SECTIONS) if known != path[: len(known)]]
    dotted = {".".join(known): known for known in elsewhere}
    same_name = [known for known in dotted.values() if known[-1] == path[-1]]
    if same_name:
        return same_name[0]
    close = difflib.get_close_matches(".".join(path), list(dotted), n=1, cutoff=0.6)
    return dotted[close[0]] if close else None
