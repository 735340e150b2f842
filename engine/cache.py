"""Candles, quotes and the symbol list in Redis: read often, lost at any moment, never trusted.

A value is signed with a key that only the ledger holds, over its own Redis key and its content:
who can write to Redis can cost a fetch, not plant a candle. Whatever goes wrong is a miss.

A series is a long value, written now and then, and a short one of the candles behind it, written
at each new candle. The short one names the long one by its signature, and is nothing without it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import redis

from engine.domain.candle_rows import one_after_another
from engine.domain.messages import SymbolList
from engine.domain.model import Candles, Quote
from engine.domain.packed_candles import packed, unpacked
from engine.redis_link import RedisAway, RedisLink

T = TypeVar("T")
SIGNATURE_BYTES = 32
KEYS_PER_CALL = 100
SERIES_PER_CALL = KEYS_PER_CALL // 2
TAIL_CANDLES = 48
"""A series that goes on from its long value by more than these gets a new long value."""
_FORMAT = b"C1"
_TAIL_FORMAT = b"T1"
_TAIL_HEAD = struct.Struct(f"<{len(_TAIL_FORMAT)}s{SIGNATURE_BYTES}sI")
_SAVED_AT = struct.Struct("<d")
_NEWEST = struct.Struct("<q")


@dataclass(frozen=True)
class _Base:
    """The long value of a series, as it was read."""

    candles: Candles
    signature: bytes


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
        self._bases: dict[str, _Base] = {}  # of what was loaded last: it is saved next

    def load(self, symbols: Sequence[str], timeframe: str) -> dict[str, Candles]:
        """Cached candles of those symbols that have any."""
        found: dict[str, Candles] = {}
        for start in range(0, len(symbols), SERIES_PER_CALL):
            part = symbols[start : start + SERIES_PER_CALL]
            keys = [self._candle_key(symbol, timeframe) for symbol in part]
            values = self._get([*keys, *map(_tail_key, keys)])
            if len(self._bases) + len(keys) > KEYS_PER_CALL:
                self._bases = {}
            for symbol, key, value, tail in zip(
                part, keys, values, values[len(keys) :], strict=False
            ):
                candles = self._series(key, value, tail)
                if candles is not None:
                    found[symbol] = candles
        return found

    def save(self, candles: dict[str, Candles], timeframe: str) -> None:
        """Keep candles, replacing what was kept of the same symbols."""
        bases, self._bases = self._bases, {}
        items = list(candles.items())
        for start in range(0, len(items), KEYS_PER_CALL):
            values: dict[str, bytes] = {}
            going_on: list[str] = []
            for symbol, series in items[start : start + KEYS_PER_CALL]:
                key = self._candle_key(symbol, timeframe)
                tail = _tail_of(bases.get(key), series)
                if tail is None:
                    values[key] = _FORMAT + packed(series)
                else:
                    values[_tail_key(key)] = tail
                    going_on.append(key)
            self._set(values, going_on)

    def _series(self, key: str, value: bytes | None, tail: bytes | None) -> Candles | None:
        """The long value's candles, and those behind it that were written for it."""
        payload = self._opened(key, value)
        base = None if payload is None else _unpacked(payload)
        if base is None or value is None:
            return None
        signature = value[:SIGNATURE_BYTES]
        self._bases[key] = _Base(base, signature)
        behind = self._opened(_tail_key(key), tail)
        return base if behind is None else _extended(base, signature, behind)

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

    def _set(self, payloads: dict[str, bytes], also_stay: Collection[str] = ()) -> None:
        if not payloads:
            return
        signed = {key: self._signature(key, body) + body for key, body in payloads.items()}
        try:
            self._link.run(lambda client: _write(client, signed, also_stay, self._ttl_ms))
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


def _write(
    client: redis.Redis, values: dict[str, bytes], also_stay: Collection[str], ttl_ms: int
) -> None:
    pipeline = client.pipeline(transaction=False)
    for key, value in values.items():
        pipeline.set(key, value, px=ttl_ms)
    for key in also_stay:
        pipeline.pexpire(key, ttl_ms)
    pipeline.execute()


def _tail_key(key: str) -> str:
    return f"{key}:tail"


def _tail_of(base: _Base | None, series: Candles) -> bytes | None:
    """What `series` has behind the long value; None where it does not just go on from it."""
    if base is None or not len(base.candles) or len(series) < len(base.candles):
        return None
    shared = int(np.searchsorted(series.time, base.candles.time[-1], side="right"))
    tail = series.between(shared, len(series))
    if not 0 < shared <= len(base.candles) or len(tail) > TAIL_CANDLES:
        return None
    known = base.candles.tail(shared)
    if any(
        not np.array_equal(mine, theirs[:shared])
        for mine, theirs in zip(vars(known).values(), vars(series).values(), strict=True)
    ):
        return None
    return _TAIL_HEAD.pack(_TAIL_FORMAT, base.signature, len(series)) + packed(tail)


def _extended(base: Candles, signature: bytes, payload: bytes) -> Candles:
    """The base's candles and those behind it, as many as were kept; the base's for another one."""
    if len(payload) < _TAIL_HEAD.size:
        return base
    kind, of, count = _TAIL_HEAD.unpack_from(payload)
    if kind != _TAIL_FORMAT or of != signature:
        return base
    try:
        return one_after_another(base, unpacked(payload[_TAIL_HEAD.size :])).tail(count)
    except ValueError:
        return base


def _decoded(payload: bytes | None, kind: type[T]) -> T | None:
    """The value, or None where there is none or another version wrote it."""
    if payload is None:
        return None
    try:
        return msgspec.json.decode(payload, type=kind)
    except ValueError:
        return None


def _unpacked(payload: bytes) -> Candles | None:
    if not payload.startswith(_FORMAT):
        return None
    try:
        return unpacked(payload[len(_FORMAT) :])
    except ValueError:
        return None
