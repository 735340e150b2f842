"""Candles, quotes and the symbol list in Redis: read often, lost at any moment, never trusted.

A value is signed with a key that only the ledger holds, over its own Redis key and its content:
who can write to Redis can cost a fetch, not plant a candle. Whatever goes wrong is a miss.

A series is a long value, written now and then, and a short one of the candles behind it, written
at each new candle. The short one names the long one by its signature, and is nothing without it; it
also says of a quiet symbol that it is one.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import msgspec
import redis

from engine.domain.candles import Candles, joined
from engine.domain.messages import SymbolList
from engine.domain.model import Quote
from engine.domain.packed_candles import packed, unpacked
from engine.ports import SeriesEnd
from engine.redis_link import RedisAway, RedisLink

T = TypeVar("T")
Payload = bytes | memoryview  # of a value that was read: a view, for it is long
SIGNATURE_BYTES = 32
KEYS_PER_CALL = 100
SERIES_PER_CALL = KEYS_PER_CALL // 2
TAIL_CANDLES = 32
"""The most candles behind a long value; some series get a new one earlier. A long value of 24 kB
each n candles and short ones of 48 bytes to 48 n: least is written where n is some 32."""
_FORMAT = b"C2".ljust(8, b"\0")  # what follows lies at a multiple of 8 and is read in place
LONG_LIVES = 3
"""How many times longer a long value is kept than the short ones that are written behind it."""
_TAIL_FORMAT = b"T2"
_ABOUT_BYTES = 8
_NOT_QUIET = bytes(_ABOUT_BYTES)
_NOTHING: Mapping[str, bytes] = MappingProxyType({})
_TAIL_HEAD = struct.Struct(f"<{len(_TAIL_FORMAT)}s{SIGNATURE_BYTES}sI{_ABOUT_BYTES}sq")
_SAVED_AT = struct.Struct("<d")


@dataclass(frozen=True)
class _Base:
    """The long value of a series, as it was read or is written."""

    candles: Candles
    signature: bytes


class _Tail(NamedTuple):
    """A short value: behind which long one, of how many candles in all, and what is quiet."""

    base: bytes
    length: int
    about: bytes
    newest: int
    packed: Payload

    def payload(self) -> bytes:
        """As it is kept."""
        return _TAIL_HEAD.pack(_TAIL_FORMAT, *self[:-1]) + self.packed

    @classmethod
    def of(cls, payload: Payload) -> _Tail | None:
        """What `payload` made; None where another version did, or nobody."""
        if len(payload) < _TAIL_HEAD.size or payload[: len(_TAIL_FORMAT)] != _TAIL_FORMAT:
            return None
        _, base, length, about, newest = _TAIL_HEAD.unpack_from(payload)
        return cls(base, length, about, newest, payload[_TAIL_HEAD.size :])


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
        self._keyed = hmac.new(secret[:64], digestmod="sha256")  # processors have it built in
        feed = hashlib.blake2b(namespace.encode(), digest_size=8).hexdigest()
        self._prefix = f"trading:cache:{feed}:"
        self._ttl_ms = max(int(ttl_s * 1000), 1)
        self._wall = wall
        self._bases: dict[str, _Base] = {}  # of what was loaded last: it is saved next
        # Read for where series end, which are loaded next; an old one costs a fetch.
        self._tails: dict[str, _Tail | None] = {}

    def load(self, symbols: Sequence[str], timeframe: str) -> dict[str, Candles]:
        """Cached candles of those symbols that have any."""
        found: dict[str, Candles] = {}
        for start in range(0, len(symbols), SERIES_PER_CALL):
            part = symbols[start : start + SERIES_PER_CALL]
            keys = [self._candle_key(symbol, timeframe) for symbol in part]
            unread = [_tail_key(key) for key in keys if key not in self._tails]
            names = [*keys, *unread]
            values = dict(zip(names, self._get(names), strict=False))
            if len(self._bases) + len(keys) > KEYS_PER_CALL:
                self._bases = {}
            for symbol, key in zip(part, keys, strict=True):
                tail = self._tails.pop(key, None) or self._tail(key, values.get(_tail_key(key)))
                candles = self._series(key, values.get(key), tail)
                if candles is not None:
                    found[symbol] = candles
        return found

    def save(
        self,
        candles: Mapping[str, Candles],
        timeframe: str,
        quiet: Collection[str] = (),
        about: str = "",
    ) -> None:
        """Keep candles, replacing what was kept of the same symbols.

        Of the `quiet` ones also that nobody has anything to say of them up to their newest
        candle, which holds for who asks `about` the same.
        """
        bases, self._bases = self._bases, {}
        items = list(candles.items())
        for start in range(0, len(items), KEYS_PER_CALL):
            long: dict[str, bytes] = {}
            short: dict[str, bytes] = {}
            for symbol, series in items[start : start + KEYS_PER_CALL]:
                key = self._candle_key(symbol, timeframe)
                base = bases.get(key)
                behind = None if base is None else _behind(base.candles, series, _most_behind(key))
                if base is None or behind is None:
                    long[key] = self._signed(key, _FORMAT + packed(series))
                    base, behind = _Base(series, long[key][:SIGNATURE_BYTES]), series.tail(0)
                mark = _mark(about) if symbol in quiet and len(series) else _NOT_QUIET
                if key not in long or mark != _NOT_QUIET:
                    name, newest = _tail_key(key), int(series.time[-1])
                    tail = _Tail(base.signature, len(series), mark, newest, packed(behind))
                    short[name] = self._signed(name, tail.payload())
            self._set(short, long)

    def _series(self, key: str, value: bytes | None, behind: _Tail | None) -> Candles | None:
        """The long value's candles, and those behind it that were written for it."""
        payload = self._opened(key, value)
        base = None if payload is None else _unpacked(payload)
        if base is None or value is None:
            return None
        signature = value[:SIGNATURE_BYTES]
        self._bases[key] = _Base(base, signature)
        if behind is None or behind.base != signature:
            return base
        return _extended(base, behind)

    def load_ends(self, symbols: Sequence[str], timeframe: str, about: str) -> dict[str, SeriesEnd]:
        """Where cached series end, by their short values, and which are quiet `about` the same."""
        mark = _mark(about)
        keys = [self._candle_key(symbol, timeframe) for symbol in symbols]
        values = self._get([_tail_key(key) for key in keys])
        read = zip(keys, values, strict=False)
        self._tails = {key: self._tail(key, value) for key, value in read}
        found: dict[str, SeriesEnd] = {}
        for symbol, key in zip(symbols, keys, strict=True):
            tail = self._tails.get(key)
            if tail is not None:
                found[symbol] = SeriesEnd(tail.newest, tail.about == mark)
        return found

    def _tail(self, key: str, value: bytes | None) -> _Tail | None:
        payload = self._opened(_tail_key(key), value)
        return None if payload is None else _Tail.of(payload)

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
        names = {f"{self._prefix}quote:{symbol}": quote for symbol, quote in quotes.items()}
        self._set({key: self._signed(key, msgspec.json.encode(q)) for key, q in names.items()})

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
        key = self._prefix + "symbols"
        self._set({key: self._signed(key, payload)})

    def _candle_key(self, symbol: str, timeframe: str) -> str:
        return f"{self._prefix}{timeframe}:{symbol}"

    def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        try:
            values: list[Any] = self._link.run(lambda client: list(client.mget(list(keys))))
        except RedisAway:
            return []
        return values

    def _set(self, values: Mapping[str, bytes], long: Mapping[str, bytes] = _NOTHING) -> None:
        """Write values, the long ones first and for longer."""
        lives = [(long, LONG_LIVES * self._ttl_ms), (values, self._ttl_ms)]
        if not values and not long:
            return
        try:
            self._link.run(lambda client: _write(client, lives))
        except RedisAway:
            return

    def _signed(self, key: str, payload: bytes) -> bytes:
        return self._signature(key, payload) + payload

    def _signature(self, key: str, payload: Payload) -> bytes:
        name = key.encode()
        signing = self._keyed.copy()
        signing.update(len(name).to_bytes(4, "little") + name)
        signing.update(payload)
        return signing.digest()

    def _opened(self, key: str, value: bytes | None) -> memoryview | None:
        """The payload when its signature holds, else None."""
        if value is None or len(value) < SIGNATURE_BYTES:
            return None
        signature, payload = value[:SIGNATURE_BYTES], memoryview(value)[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(key, payload)):
            return None
        return payload


def _write(client: redis.Redis, lives: Sequence[tuple[Mapping[str, bytes], int]]) -> None:
    pipeline = client.pipeline(transaction=False)
    for values, ttl_ms in lives:
        for key, value in values.items():
            # Past `set`, which goes through a dozen options that are not meant each time.
            pipeline.execute_command("SET", key, value, "PX", ttl_ms)  # type: ignore[no-untyped-call]
    pipeline.execute()


def _mark(about: str) -> bytes:
    return hashlib.blake2b(about.encode(), digest_size=_ABOUT_BYTES).digest()


def _tail_key(key: str) -> str:
    return f"{key}:tail"


def _most_behind(key: str) -> int:
    """Not alike for all: series first kept in one cycle are not written whole in one again."""
    return TAIL_CANDLES - zlib.crc32(key.encode()) % (TAIL_CANDLES // 2)


def _behind(base: Candles, series: Candles, most: int) -> Candles | None:
    """The few candles behind the long value; None where the series does not just go on from it."""
    if not len(base) or len(series) < len(base):
        return None
    shared = int(series.time.searchsorted(base.time[-1], side="right"))
    if not 0 < shared <= len(base) or len(series) - shared > most:
        return None
    if not (base.tail(shared).block == series.between(0, shared).block).all():
        return None
    return series.between(shared, len(series))


def _extended(base: Candles, tail: _Tail) -> Candles:
    """The base's candles and those behind it, as many as were kept; the base's for garbage."""
    try:
        return joined([base, unpacked(tail.packed)]).tail(tail.length)
    except ValueError:
        return base


def _decoded(payload: Payload | None, kind: type[T]) -> T | None:
    """The value, or None where there is none or another version wrote it."""
    if payload is None:
        return None
    try:
        return msgspec.json.decode(payload, type=kind)
    except ValueError:
        return None


def _unpacked(payload: Payload) -> Candles | None:
    if payload[: len(_FORMAT)] != _FORMAT:
        return None
    try:
        return unpacked(payload[len(_FORMAT) :])
    except ValueError:
        return None
