"""Candles, quotes and the symbol list in Redis: read often, lost at any moment, never trusted.

A value is signed with a key that only the ledger holds, over its own Redis key and its content:
who can write to Redis can cost a fetch, not plant a candle. Whatever goes wrong is a miss.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import redis

from engine.domain.messages import SymbolList
from engine.domain.model import Candles, Quote
from engine.domain.packed_candles import packed, unpacked
from engine.redis_link import RedisAway, RedisLink

T = TypeVar("T")
SIGNATURE_BYTES = 32
KEYS_PER_CALL = 100
_FORMAT = b"C1"
_SAVED_AT = struct.Struct("<d")
_NEWEST = struct.Struct("<q")


class RedisCandleCache:
    """Port CandleCache. `namespace` names the feed: two feeds or replays share no key.

    `wall` gives epoch seconds, for the age of the symbol list.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        secret: bytes,
        namespace: str,
        ttl_s: float = 86_400,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._secret = secret[:64]
        feed = hashlib.blake2b(namespace.encode(), digest_size=8).hexdigest()
        self._prefix = f"trading:cache:{feed}:"
        self._ttl_ms = max(int(ttl_s * 1000), 1)
        self._wall = wall

    def load(self, symbols: Sequence[str], timeframe: str) -> dict[str, Candles]:
        """Cached candles of those symbols that have any."""
        found: dict[str, Candles] = {}
        for start in range(0, len(symbols), KEYS_PER_CALL):
            part = symbols[start : start + KEYS_PER_CALL]
            keys = [self._candle_key(symbol, timeframe) for symbol in part]
            for symbol, key, value in zip(part, keys, self._get(keys), strict=False):
                payload = self._opened(key, value)
                candles = None if payload is None else _unpacked(payload)
                if candles is not None:
                    found[symbol] = candles
        return found

    def save(self, candles: dict[str, Candles], timeframe: str) -> None:
        """Keep candles, replacing what was kept of the same symbols."""
        items = list(candles.items())
        for start in range(0, len(items), KEYS_PER_CALL):
            part = items[start : start + KEYS_PER_CALL]
            self._set(
                {self._candle_key(symbol, timeframe): _packed(value) for symbol, value in part}
            )

    def load_quiet(self, symbols: Sequence[str], about: str) -> dict[str, int]:
        """Newest candle (open time, ms) of the symbols that were kept as quiet `about` the same."""
        keys = [self._quiet_key(symbol, about) for symbol in symbols]
        found: dict[str, int] = {}
        for symbol, key, value in zip(symbols, keys, self._get(keys), strict=False):
            payload = self._opened(key, value)
            if payload is not None and len(payload) == _NEWEST.size:
                (found[symbol],) = _NEWEST.unpack(payload)
        return found

    def save_quiet(self, newest: dict[str, int], about: str) -> None:
        """Keep that nobody has anything to say of these symbols up to their newest candle."""
        self._set(
            {self._quiet_key(symbol, about): _NEWEST.pack(at) for symbol, at in newest.items()}
        )

    def load_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last good quotes of those symbols that have any, of whatever age."""
        keys = [self._prefix + f"quote:{symbol}" for symbol in symbols]
        found: dict[str, Quote] = {}
        for symbol, key, value in zip(symbols, keys, self._get(keys), strict=False):
            quote = _decoded(self._opened(key, value), Quote)
            if quote is not None:
                found[symbol] = quote
        return found

    def save_quotes(self, quotes: dict[str, Quote]) -> None:
        """Keep good quotes."""
        self._set(
            {
                self._prefix + f"quote:{symbol}": msgspec.json.encode(quote)
                for symbol, quote in quotes.items()
            }
        )

    def load_symbols(self) -> SymbolList | None:
        """The last good symbol list."""
        found = self.load_aged_symbols()
        return None if found is None else found[0]

    def load_aged_symbols(self) -> tuple[SymbolList, float] | None:
        """The last good symbol list and its age in seconds."""
        key = self._prefix + "symbols"
        payload = self._opened(key, next(iter(self._get([key])), None))
        if payload is None or len(payload) < _SAVED_AT.size:
            return None
        (saved_at,) = _SAVED_AT.unpack(payload[: _SAVED_AT.size])
        symbols = _decoded(payload[_SAVED_AT.size :], SymbolList)
        return None if symbols is None else (symbols, max(self._wall() - saved_at, 0.0))

    def save_symbols(self, symbols: SymbolList) -> None:
        """Keep the symbol list."""
        payload = _SAVED_AT.pack(self._wall()) + msgspec.json.encode(symbols)
        self._set({self._prefix + "symbols": payload})

    def _candle_key(self, symbol: str, timeframe: str) -> str:
        return f"{self._prefix}{timeframe}:{symbol}"

    def _quiet_key(self, symbol: str, about: str) -> str:
        return f"{self._prefix}quiet:{about}:{symbol}"

    def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        try:
            values: list[Any] = self._link.run(lambda client: list(client.mget(list(keys))))
        except RedisAway:
            return []
        return values

    def _set(self, payloads: dict[str, bytes]) -> None:
        if not payloads:
            return
        signed = {key: self._signature(key, body) + body for key, body in payloads.items()}
        try:
            self._link.run(lambda client: _write(client, signed, self._ttl_ms))
        except RedisAway:
            return

    def _signature(self, key: str, payload: bytes) -> bytes:
        name = key.encode()
        content = len(name).to_bytes(4, "little") + name + payload
        return hmac.digest(self._secret, content, "sha256")  # processors have instructions for it

    def _opened(self, key: str, value: bytes | None) -> bytes | None:
        """The payload when its signature holds, else None."""
        if value is None or len(value) < SIGNATURE_BYTES:
            return None
        signature, payload = value[:SIGNATURE_BYTES], value[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(key, payload)):
            return None
        return payload


def _write(client: redis.Redis, values: dict[str, bytes], ttl_ms: int) -> None:
    pipeline = client.pipeline(transaction=False)
    for key, value in values.items():
        pipeline.set(key, value, px=ttl_ms)
    pipeline.execute()


def _decoded(payload: bytes | None, kind: type[T]) -> T | None:
    """The value, or None where there is none or another version wrote it."""
    if payload is None:
        return None
    try:
        return msgspec.json.decode(payload, type=kind)
    except ValueError:
        return None


def _packed(candles: Candles) -> bytes:
    """Two bytes of format, then the columns."""
    return _FORMAT + packed(candles)


def _unpacked(payload: bytes) -> Candles | None:
    if not payload.startswith(_FORMAT):
        return None
    try:
        return unpacked(payload[len(_FORMAT) :])
    except ValueError:
        return None
