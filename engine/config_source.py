"""Where settings come from: config.yaml, then the environment, checked as one.

Every fault is one line: the key's full path, what it was, what is allowed, and for an unknown key
the nearest one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr, ValidationError

from engine.config_checks import address_faults, live_faults, port_faults, split_address
from engine.config_environment import Overlay, merge, read_environment, read_secret_file
from engine.config_faults import boolean_faults, fault_lines, named, one_line
from engine.config_file import read_config_file
from engine.config_keys import SECTIONS, Path
from engine.errors import ConfigError
from engine.service_settings import SERVICES, Section
from engine.settings import Settings
from engine.telemetry import MASK, redact, redact_text

DEFAULT_FILE = "config.yaml"
_HASH_LENGTH = 12


def load_settings(environ: Mapping[str, str] | None = None, path: str | None = None) -> Settings:
    """The effective settings. Raises ConfigError with every fault that was found.

    The file is `path`, or what CONFIG_FILE names, or config.yaml in the working directory; only
    the last may be missing, and stands for the defaults.
    """
    try:
        return _load(os.environ if environ is None else environ, path)
    except ConfigError as exc:
        raise ConfigError([one_line(fault) for fault in exc.faults]) from None


def _load(environ: Mapping[str, str], path: str | None) -> Settings:
    named_file = path if path is not None else environ.get("CONFIG_FILE") or None
    data = read_config_file(named_file or DEFAULT_FILE, required=named_file is not None)
    overlay = read_environment(environ)
    data = _fill_sections(merge(data, overlay), ())
    faults = overlay.faults + boolean_faults(data, overlay.origins)
    faults += _read_key_files(data, overlay)
    _add_redis_password(data)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as exc:
        raise ConfigError(faults + fault_lines(exc, data, overlay.origins)) from None
    faults += port_faults(settings) + address_faults(settings, overlay.origins)
    if settings.trading_engine.mode == "live":
        faults += live_faults(settings, data, environ)
    if faults:
        raise ConfigError(faults)
    return settings


def _fill_sections(data: dict[str, Any], above: Path) -> dict[str, Any]:
    """A section whose keys are all commented out is an empty one."""
    filled: dict[str, Any] = {}
    for name, value in data.items():
        path = (*above, str(name))
        if path in SECTIONS and (value is None or isinstance(value, dict)):
            filled[name] = _fill_sections(value or {}, path)
        else:
            filled[name] = value
    return filled


def _read_key_files(data: dict[str, Any], overlay: Overlay) -> list[str]:
    """`services.*.key_file` -> `services.*.key`; the faults."""
    faults = []
    services = data.get("services")
    for name in SERVICES:
        section = services.get(name) if isinstance(services, dict) else None
        file = section.get("key_file") if isinstance(section, dict) else None
        if not isinstance(section, dict) or not isinstance(file, str) or not file:
            continue
        where = named(("services", name, "key_file"), overlay.origins)
        if section.get("key"):
            faults.append(f"{where}: set key or key_file, not both")
            continue
        try:
            section["key"] = read_secret_file(file)
        except ValueError as exc:
            faults.append(f"{where}: {exc}")
    return faults


def _add_redis_password(data: dict[str, Any]) -> None:
    """Put the password into an address that has none, so that the address alone is enough."""
    redis = data.get("redis")
    if not isinstance(redis, dict):
        return
    url, password = redis.get("url"), redis.get("password")
    if not isinstance(url, str) or not isinstance(password, str) or not url or not password:
        return
    parts = split_address(url)
    if parts is not None and "@" not in parts.netloc:
        netloc = f":{quote(password, safe='')}@{parts.netloc}"
        redis["url"] = urlunsplit(parts._replace(netloc=netloc))


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as plain JSON values, without any secret."""
    shown: dict[str, Any] = redact(settings.model_dump(mode="json"))
    monitoring = shown["services"]["monitoring"]
    monitoring["webhooks"] = [_without_path(hook["url"]) for hook in monitoring["webhooks"]]
    return shown


def _without_path(url: str) -> str:
    """A webhook's path is its key."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{MASK}" if parts.path.strip("/") else url


def config_hash(settings: Settings) -> str:
    """Twelve hexadecimal digits: equal for equal settings, whatever the secrets."""
    plain = json.dumps(_canonical(settings.model_dump()), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:_HASH_LENGTH]


def _canonical(value: Any) -> Any:
    """The value with one form for each number, and without secrets."""
    match value:
        case dict():
            return {key: _canonical(item) for key, item in value.items()}
        case list() | tuple():
            return [_canonical(item) for item in value]
        case SecretStr():
            return ""
        case str():
            return redact_text(value)
        case Decimal() | int() | float() if not isinstance(value, bool):
            return f"{Decimal(str(value)).normalize():f}"
    return value


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Every secret in the settings, for a log that must never show one."""
    urls = (settings.redis.url, settings.ledger.url)
    passwords = [password for url in urls for password in _passwords(url)]
    return tuple(sorted({*_secrets(settings), *passwords} - {""}))


def _secrets(section: Section) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, Section):
            yield from _secrets(value)


def _passwords(url: str) -> tuple[str, ...]:
    user = urlsplit(url).netloc.rpartition("@")[0]
    password = user.partition(":")[2]
    return (password, unquote(password))
