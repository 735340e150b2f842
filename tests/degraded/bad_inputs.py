"""Fixed answers that no order may follow from: each one thing that was seen to go wrong somewhere.

Each changes what a service says about the symbols that have a buy signal and are not held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HOUR_MS = 3_600_000
Change = Callable[[Any], Any]
NEW = ("ETH/USD", "SOL/USD", "XRP/USD")


def _each(part: str, change: Callable[[dict[str, Any]], Any]) -> Change:
    """Apply a change to what is said about each of these symbols."""

    def spoil(answer: Any) -> Any:
        found = answer.get(part) if isinstance(answer, dict) else None
        if not isinstance(found, dict):
            return answer
        kept = {name: value for name, value in found.items() if name not in NEW}
        for name in found.keys() & set(NEW):
            changed = change(dict(found[name]))
            if changed is not None:
                kept[name] = changed
        return {**answer, part: kept}

    return spoil


def _columns(**columns: Callable[[list[Any]], Any]) -> Change:
    def change(candles: dict[str, Any]) -> Any:
        return {**candles, **{name: make(candles[name]) for name, make in columns.items()}}

    return _each("candles", change)


def _all(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda column: [value for _ in column]


def _moved(by_ms: int) -> Callable[[list[Any]], list[Any]]:
    return lambda times: [at + by_ms for at in times]


def _times(factor: float) -> Callable[[list[Any]], list[Any]]:
    return lambda column: [value * factor for value in column]


ALL_PRICES = ("open", "high", "low", "close")
CANDLES: dict[str, Change] = {
    "no candles": _each("candles", lambda _candles: None),
    "null": _each("candles", lambda _candles: "null"),
    "a list": _each("candles", lambda _candles: [1, 2, 3]),
    "a text": _each("candles", lambda _candles: "BTC"),
    "no columns": _each("candles", lambda _candles: {}),
    "no close": _each("candles", lambda c: {k: v for k, v in c.items() if k != "close"}),
    "short close": _columns(close=lambda column: column[:-1]),
    "long volume": _columns(volume=lambda column: [*column, 1.0]),
    "nested close": _columns(close=lambda column: [column]),
    "text prices": _columns(close=lambda column: ["x" for _ in column]),
    "null prices": _columns(close=_all(None)),
    "true prices": _columns(close=_all(True)),
    "NaN close": _columns(close=_all(float("nan"))),
    "infinite high": _columns(high=_all(float("inf"))),
    "minus infinity": _columns(low=_all(float("-inf"))),
    "huge numbers": _columns(close=_all(1e308), high=_all(1e308)),
    "zero prices": _columns(**{name: _all(0.0) for name in ALL_PRICES}),
    "negative prices": _columns(**{name: _times(-1.0) for name in ALL_PRICES}),
    "negative volume": _columns(volume=_all(-1.0)),
    "high below low": _columns(high=_times(0.5)),
    "low above close": _columns(low=_times(2.0)),
    "close above high": _columns(close=_times(1.4)),
    "a spike": _columns(**{name: _times(3.0) for name in ALL_PRICES}),
    "a crash": _columns(**{name: _times(0.1) for name in ALL_PRICES}),
    "cents for dollars": _columns(**{name: _times(100.0) for name in ALL_PRICES}),
    "from the future": _columns(time=_moved(3 * HOUR_MS)),
    "a century ahead": _columns(time=_moved(100 * 365 * 24 * HOUR_MS)),
    "off the grid": _columns(time=_moved(17)),
    "half an hour off": _columns(time=_moved(HOUR_MS // 2)),
    "a gap": _columns(time=_moved(HOUR_MS)),
    "seconds for milliseconds": _columns(time=lambda times: [at // 1000 for at in times]),
    "negative times": _columns(time=lambda times: [-at for at in times]),
    "fractional times": _columns(time=lambda times: [at + 0.5 for at in times]),
    "text times": _columns(time=lambda times: [str(at) for at in times]),
    "times beyond 64 bits": _columns(time=_all(2**70)),
}


def _quotes(**fields: Any) -> Change:
    return _each("quotes", lambda quote: {**quote, **fields})


QUOTES: dict[str, Change] = {
    "no quote": _each("quotes", lambda _quote: None),
    "a number": _each("quotes", lambda _quote: 1),
    "no bid": _each("quotes", lambda q: {k: v for k, v in q.items() if k != "bid"}),
    "crossed": _quotes(bid="1000000000"),
    "zero ask": _quotes(ask="0"),
    "negative bid": _quotes(bid="-1"),
    "NaN ask": _quotes(ask="NaN"),
    "infinite ask": _quotes(ask="Infinity", last="1"),
    "an exponent": _quotes(ask="1e400"),
    "a comma": _quotes(ask="1,5"),
    "an empty text": _quotes(ask=""),
    "another century": _quotes(as_of="1925-11-22T12:00:00Z"),
    "from tomorrow": _quotes(as_of="2999-11-22T12:00:00Z"),
    "no time zone": _quotes(as_of="2025-11-22T12:00:00"),
    "no time": _quotes(as_of="soon"),
    "far from the candles": _each(
        "quotes",
        lambda q: {**q, **{k: str(float(q[k]) * 3) for k in ("bid", "ask", "last")}},
    ),
}


def _signals(**fields: Any) -> Change:
    def spoil(answer: Any) -> Any:
        if not isinstance(answer, dict) or "signals" not in answer:
            return answer
        changed = [{**signal, **fields} for signal in answer["signals"]]
        return {**answer, "signals": changed}

    return spoil


SIGNALS: dict[str, Change] = {
    "another input": lambda answer: {**answer, "input_id": "another"},
    "another strategy": _signals(strategy="unknown"),
    "another symbol": _signals(symbol="NOPE/USD"),
    "confidence above one": _signals(confidence=1.5),
    "negative confidence": _signals(confidence=-0.1),
    "weak": _signals(confidence=0.1),
    "NaN confidence": _signals(confidence=float("nan")),
    "text confidence": _signals(confidence="high"),
    "zero price": _signals(price="0"),
    "negative price": _signals(price="-5"),
    "NaN price": _signals(price="NaN"),
    "stop above the price": _signals(stop_loss="1000000000"),
    "target below the price": _signals(take_profit="0.00001"),
    "a candle to come": _signals(candle_time=2**53),
    "an old candle": _signals(candle_time=HOUR_MS),
    "another action": _signals(action="yolo"),
    "a sale of nothing": _signals(action="sell"),
}
KINDS = (("market_data", CANDLES), ("market_data", QUOTES), ("strategy", SIGNALS))
INPUTS: tuple[tuple[str, str, Change], ...] = tuple(
    (service, name, change) for service, changes in KINDS for name, change in changes.items()
)
