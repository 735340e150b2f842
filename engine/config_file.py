"""Reading config.yaml: its text as a tree, or one line that says where it is no YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from engine.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key stands once and a date stays a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    """Keys are texts as written: YAML would read `on` as true."""
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _at(key, "a key must be a plain text")
        if key.value in seen:
            raise _at(key, f"the key {key.value} stands twice")
        seen.add(key.value)
    loader.flatten_mapping(node)
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


def _at(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_config_file(file: str, *, required: bool) -> dict[str, Any]:
    """The file's tree; empty when it is missing and not required. Raises ConfigError."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        if not required:
            return {}
        raise ConfigError([f"{file}: no such configuration file (CONFIG_FILE names it)"]) from None
    except OSError as exc:
        raise ConfigError([f"{file}: cannot be read: {exc.strerror or exc}"]) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError([f"{file}: cannot be read: not UTF-8"]) from exc
    return _parse(text, file)


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError([f"{file}, line {line}: not valid YAML: {exc.problem}"]) from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        # Its own message may quote the text; the first line never does.
        raise ConfigError([f"{file}: not valid YAML: {str(exc).splitlines()[0]}"]) from exc
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError([f"{file}: must hold sections such as `trading_engine:`"])
    return data
