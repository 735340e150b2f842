"""What the environment sets: `SECTION__KEY`, a few well-known names, and secrets from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from engine.config_keys import LEAVES, SECTIONS, Path, is_secret, takes_text, takes_texts

_WELL_KNOWN: dict[str, Path] = {
    "TRADING_ENGINE_API_KEY": ("api", "key"),
    "TRADING_ENGINE_API_KEYS_FILE": ("api", "keys_file"),
    "REDIS_URL": ("redis", "url"),
    "REDIS_PASSWORD": ("redis", "password"),
    "DATABASE_URL": ("ledger", "url"),
}
# These hold passwords as often as not, so that they too may stand in a file.
_IN_FILES = ("TRADING_ENGINE_API_KEY", "REDIS_URL", "REDIS_PASSWORD", "DATABASE_URL")
_DEFAULT_REDIS_PORT = "6379"


@dataclass
class Overlay:
    """Values by path, the variable that each came from, and the faults met on the way."""

    values: dict[Path, object] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def set(self, path: Path, value: object, origin: str) -> None:
        """Set one key; a later call wins."""
        self.values[path] = value
        self.origins[path] = origin

    def set_from_file(self, path: Path, file: str, origin: str) -> None:
        """Set one key to what a file holds."""
        try:
            self.set(path, read_secret_file(file), origin)
        except ValueError as exc:
            self.faults.append(f"{origin}: {exc}")


def read_secret_file(file: str) -> str:
    """The file's text without the line's end. Raises ValueError with a line that names the file."""
    try:
        text = FilePath(file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as exc:
        raise ValueError(f"{file} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ValueError(f"{file} cannot be read: not UTF-8") from exc
    if not text:
        raise ValueError(f"{file} is empty")
    return text


def read_environment(environ: Mapping[str, str]) -> Overlay:
    """Everything that the environment sets. Variables that name no section are not ours."""
    overlay = Overlay()
    for variable, text in sorted(environ.items()):
        path = _path_of(variable)
        if path is None:
            continue
        secret = (*path[:-1], path[-1].removesuffix("_file"))
        if path not in LEAVES and path != secret and is_secret(secret):
            overlay.set_from_file(secret, text, variable)
        else:
            overlay.set(path, parse_text(path, text), variable)
    _read_well_known(environ, overlay)
    _read_redis_host(environ, overlay)
    return overlay


def _path_of(variable: str) -> Path | None:
    """The key that a variable names; None when it is none of ours."""
    if variable != variable.upper():
        return None
    path = tuple(part.lower() for part in variable.split("__"))
    if len(path) == 1:
        return path if path in LEAVES else None
    return path if path[:1] in SECTIONS else None


def parse_text(path: Path, text: str) -> object:
    """A variable's text as the key takes it: texts and decimals stay exactly as they are."""
    if takes_text(path):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if takes_texts(path) and not isinstance(value, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return value


def _read_well_known(environ: Mapping[str, str], overlay: Overlay) -> None:
    for variable, path in _WELL_KNOWN.items():
        text = environ.get(variable, "")
        file = environ.get(f"{variable}_FILE", "") if variable in _IN_FILES else ""
        if text and file:
            overlay.faults.append(f"{variable}: set it or {variable}_FILE, not both")
        elif text:
            overlay.set(path, text, variable)
        elif file:
            overlay.set_from_file(path, file, f"{variable}_FILE")


def _read_redis_host(environ: Mapping[str, str], overlay: Overlay) -> None:
    host = environ.get("REDIS_HOST", "")
    if not host:
        return
    port = environ.get("REDIS_PORT", "")
    # A container platform may set REDIS_PORT to an address, such as tcp://10.0.0.1:6379.
    if port.startswith("tcp://"):
        port = port.rpartition(":")[2]
    port = port or _DEFAULT_REDIS_PORT
    if not port.isdecimal():
        overlay.faults.append(f"REDIS_PORT: was {port!r}; allowed: a port number")
        return
    name = f"[{host}]" if ":" in host else host
    overlay.set(("redis", "url"), f"redis://{name}:{port}/0", "REDIS_HOST")


def merge(data: dict[str, Any], overlay: Overlay) -> dict[str, Any]:
    """The file's tree with the environment's values on top, in a new tree."""
    merged = {key: _copy(value) for key, value in data.items()}
    for path, value in overlay.values.items():
        place = merged
        for part in path[:-1]:
            below = place.get(part)
            if not isinstance(below, dict):
                below = place[part] = {}
            place = below
        place[path[-1]] = value
    return merged


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value
