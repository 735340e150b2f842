"""Whatever stands in the file or the environment: settings, or one line for each fault."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config_keys import LEAVES
from engine.config_source import config_hash, load_settings, redacted
from engine.errors import ConfigError

FILE = Path(tempfile.mkdtemp()) / "config.yaml"

plain = st.text(st.characters(min_codepoint=1, blacklist_categories=["Cs"]), max_size=12)
texts = plain | st.builds("{}://{}".format, st.sampled_from(["http", "redis", "sqlite"]), plain)
numbers = st.integers() | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
known_variables = st.sampled_from(["__".join(path).upper() for path in LEAVES])
other_variables = st.sampled_from(
    ["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "DATABASE_URL", "RISK__", "LOG__X"]
)


def faults(environ: dict[str, str]) -> list[str] | None:
    try:
        loaded = load_settings(environ, str(FILE))
    except ConfigError as exc:
        return exc.faults
    assert len(config_hash(loaded)) == 12
    assert redacted(loaded)
    return None


def check(environ: dict[str, str]) -> None:
    found = faults(environ)
    assert found is None or found
    assert all(fault and len(fault.splitlines()) == 1 for fault in found or ())


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(known_variables | other_variables, texts, max_size=4))
def test_no_environment_makes_loading_fail_otherwise(environ: dict[str, str]) -> None:
    FILE.write_text("")
    check(environ)


def placed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    return dict(value)


@settings(max_examples=150, deadline=None)
@given(st.builds(placed, st.sampled_from(list(LEAVES)), values) | values)
def test_no_tree_makes_loading_fail_otherwise(tree: Any) -> None:
    FILE.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    check({})


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_loading_fail_otherwise(raw: bytes) -> None:
    FILE.write_bytes(raw)
    check({})
