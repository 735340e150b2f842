"""Bearer keys and their scopes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self, get_args

import yaml

from engine.errors import ConfigError

Scope = Literal["read", "cycle", "control", "halt", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_ENTRY_KEYS = {"name", "scopes", "key", "key_sha256"}
_SHA256_LENGTH = 64


@dataclass(frozen=True)
class Key:
    """A key by its digest. `admin` has every scope; the others only what they name."""

    name: str
    scopes: frozenset[Scope]
    digest: str

    def may(self, scope: Scope) -> bool:
        """Whether the key opens routes of this scope."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True)
class KeyRing:
    """The keys of one server. Without any, the server answers on loopback only."""

    keys: tuple[Key, ...] = ()

    @classmethod
    def single(cls, key: str, name: str = "key") -> Self:
        """One key with every scope; no keys when `key` is empty."""
        if not key:
            return cls()
        return cls((Key(name, frozenset(SCOPES), _digest(key)),))

    @classmethod
    def from_settings(cls, key: str, keys_file: str = "", read_key: str = "") -> Self:
        """The single key, if any, and those of a YAML list of {name, scopes, key | key_sha256}.

        `read_key` is one more that may only read. Raises ConfigError with one line per fault of
        the file, and where there is a read key alone: nobody could halt such a server.
        """
        known = cls.single(key).keys + (read_keys(keys_file) if keys_file else ())
        if not read_key:
            return cls(known)
        if not known:
            raise ConfigError(["api.read_key: set api.key or api.keys_file too: it may only read"])
        return cls((*known, Key("read_key", frozenset[Scope]({"read"}), _digest(read_key))))

    def __bool__(self) -> bool:
        return bool(self.keys)

    def identify(self, token: str) -> Key | None:
        """The key that this token is. Compares with all of them, in constant time."""
        digest = _digest(token)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address reaches this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def read_keys(path: str) -> tuple[Key, ...]:
    """The keys of a keys file. Raises ConfigError; no line shows a key."""
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError([f"keys file {path}: cannot be read: {_reason(exc)}"]) from exc
    except yaml.YAMLError as exc:
        # The parser's message quotes the line, which may hold a key.
        raise ConfigError([f"keys file {path}: not valid YAML"]) from exc
    if not isinstance(entries, list) or not entries:
        raise ConfigError([f"keys file {path}: must be a list of {{name, scopes, key}}"])
    faults: list[str] = []
    keys = [
        _read_entry(entry, f"keys file {path}, entry {number}", faults)
        for number, entry in enumerate(entries, 1)
    ]
    names = [key.name for key in keys if key is not None]
    faults += [
        f"keys file {path}: name {name} is used twice"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if faults:
        raise ConfigError(faults)
    return tuple(key for key in keys if key is not None)


def _reason(exc: OSError | UnicodeDecodeError) -> str:
    return exc.strerror or "no reason given" if isinstance(exc, OSError) else "not UTF-8"


def _read_entry(entry: object, where: str, faults: list[str]) -> Key | None:
    """One entry as a Key, or None with its faults added."""
    if not isinstance(entry, dict):
        faults.append(f"{where}: must be {{name, scopes, key or key_sha256}}")
        return None
    found = [
        f"{where}: unknown key {name}; allowed: {' '.join(sorted(_ENTRY_KEYS))}"
        for name in entry
        if name not in _ENTRY_KEYS
    ]
    name, scopes = entry.get("name"), entry.get("scopes")
    if not isinstance(name, str) or not name:
        found.append(f"{where}: name must be a text")
    if not isinstance(scopes, list) or not scopes or any(scope not in SCOPES for scope in scopes):
        found.append(f"{where}: scopes must be a list out of {' '.join(SCOPES)}")
    digest = _entry_digest(entry)
    if digest is None:
        found.append(f"{where}: give either key (a text) or key_sha256 (64 hexadecimal digits)")
    faults += found
    if found or digest is None or not isinstance(scopes, list):
        return None
    return Key(str(name), frozenset(scopes), digest)


def _entry_digest(entry: dict[object, object]) -> str | None:
    key, digest = entry.get("key"), entry.get("key_sha256")
    if isinstance(key, str) and key and digest is None:
        return _digest(key)
    if isinstance(digest, str) and key is None and _is_sha256(digest):
        return digest.lower()
    return None


def _is_sha256(text: str) -> bool:
    return len(text) == _SHA256_LENGTH and all(char in "0123456789abcdefABCDEF" for char in text)
