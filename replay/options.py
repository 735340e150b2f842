"""What the command line says: the configuration under other names, and how history is met."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from engine.config_source import load_settings
from engine.errors import ConfigError
from engine.settings import TIMEFRAME_SECONDS, Settings

DEFAULT_FOLDER = "data/replay"
SIZINGS = ("fraction", "risk", "volatility")
# Without a configuration a replay is the plain test of a strategy: these are its terms.
PLAIN = {
    "SERVICES__PORTFOLIO__CASH": "10000",
    "SERVICES__EXECUTION__FEE": "0.002",
    "RISK__MAX_FEE": "0.002",
    "SERVICES__EXECUTION__SLIPPAGE_BPS": "0",
    "SERVICES__MARKET_DATA__SPREAD_BPS": "0",
    "SERVICES__STRATEGY__DEFAULT_STOP_ATR": "0",
    "EXITS__STOP": "",
    "EXITS__TARGET": "",
    "EXITS__TRAILING": "",
    "EXITS__TIME_CANDLES": "0",
}


@dataclass(frozen=True)
class Options:
    """A replay as it was asked for. Times are open times of candles, `to_ms` is left out.

    `is_plain`: without a configuration of its own. `is_enforced` False lifts every rule.
    """

    settings: Settings
    is_plain: bool
    is_enforced: bool
    fill_at_close: bool
    exits_at_touch: bool
    end_at_quote: bool
    lot: Decimal | None
    symbols: tuple[str, ...]
    has_timeframe: bool
    has_currency: bool
    from_ms: int | None
    to_ms: int | None
    out: Path
    as_json: bool


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """The options over the configuration. Raises ConfigError, and SystemExit for bad usage."""
    given = _parser().parse_args(arguments)
    is_plain = given.config is None
    overlay = dict(PLAIN) if is_plain else {}
    overlay |= _overlay(given)
    settings = load_settings({**environ, **overlay}, given.config)
    exits = given.exits or ("touch" if is_plain else "quote")
    return Options(
        settings=settings,
        is_plain=is_plain,
        is_enforced=given.limits == "config",
        fill_at_close=given.fill == "close",
        exits_at_touch=exits == "touch",
        end_at_quote=given.end == "quote",
        lot=given.lot,
        symbols=tuple(part for text in given.symbols for part in text.split(",") if part),
        has_timeframe=not is_plain or given.timeframe is not None,
        has_currency=not is_plain or given.currency is not None,
        from_ms=given.since,
        to_ms=given.to,
        out=Path(given.out),
        as_json=given.json,
    )


def _overlay(given: argparse.Namespace) -> dict[str, str]:
    """Each option that decides as the variable that sets its key."""
    named = {
        "SERVICES__MARKET_DATA__PATH": given.data,
        "SERVICES__MARKET_DATA__SPREAD_BPS": given.spread_bps,
        "SERVICES__PORTFOLIO__CASH": given.cash,
        "SERVICES__EXECUTION__FEE": given.fee,
        "SERVICES__EXECUTION__SLIPPAGE_BPS": given.slippage_bps,
        "RISK__MAX_FEE": given.fee,
        "TRADING_ENGINE__DEFAULT_TIMEFRAME": given.timeframe,
        "TRADING_ENGINE__CANDLES": given.candles,
        "TRADING_ENGINE__ACCOUNT_CURRENCY": given.currency,
        "EXITS__STOP": given.stop,
        "EXITS__TARGET": given.target,
        "EXITS__TRAILING": given.trailing,
        "EXITS__TIME_CANDLES": given.time_candles,
        "SERVICES__STRATEGY__STRATEGIES": _strategies(given),
    }
    overlay = {key: str(value) for key, value in named.items() if value is not None}
    if given.data is not None:
        overlay["SERVICES__MARKET_DATA__FEED"] = "files"
    if given.sizing is not None:
        method, amount = given.sizing
        overlay |= {"SIZING__METHOD": method, f"SIZING__{method.upper()}": amount}
    if given.fee is not None and given.fee > Decimal("0.005"):
        overlay["SERVICES__EXECUTION__LIMITS__MAX_FEE"] = str(given.fee)
    return overlay


def _strategies(given: argparse.Namespace) -> str | None:
    """The one strategy to replay as its entry of the configuration; None for the configured."""
    if given.strategy is None:
        if given.param:
            raise ConfigError(["--param: it needs --strategy"])
        return None
    return json.dumps([{"name": given.strategy, "parameters": dict(given.param)}])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev replay",
        description="Replays candles through the functions that decide in a cycle.",
        epilog="docs/replay.md has examples. With --config alone everything is as in a cycle.",
        allow_abbrev=False,
    )
    _add_data(parser)
    _add_terms(parser)
    _add_exits(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", metavar="PATH", help="a CSV or parquet file of candles, or a folder of them")
    add("--config", metavar="FILE", help="decide as a cycle with this configuration does")
    add("--symbols", nargs="+", default=[], metavar="S", help="only these (default: all)")
    add("--strategy", metavar="NAME", help="the strategy (default: those of the configuration)")
    add("--param", nargs="+", action="extend", default=[], type=_pair, metavar="K=V")
    add("--from", dest="since", type=parse_moment, metavar="TIME", help="first candle to decide on")
    add(
        "--to", type=parse_moment, metavar="TIME", help="candles that open before this are replayed"
    )
    add("--timeframe", choices=list(TIMEFRAME_SECONDS), help="default: as the file has it")
    add("--candles", type=int, metavar="N", help="how many candles a strategy sees")
    add("--currency", help="of the account (default: what most symbols are quoted in)")
    add("--out", default=DEFAULT_FOLDER, metavar="FOLDER", help="default: %(default)s")
    add("--json", action="store_true", help="print the metrics as JSON")


def _add_terms(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cash", type=_amount, metavar="AMOUNT", help="default: 10000")
    add("--fee", type=_amount, metavar="FRACTION", help="of a fill's value (default: 0.002)")
    add("--spread-bps", type=_amount, metavar="BPS", help="around the quote (default: 0)")
    add("--slippage-bps", type=_amount, metavar="BPS", help="default: 0")
    add(
        "--fill",
        choices=("next_open", "close"),
        default="next_open",
        help="the quote after a candle closed: the next open (default), or that close",
    )
    add("--lot", type=_lot, metavar="QUANTITY", help="default: the decimals of the volumes seen")
    add("--sizing", type=_sizing, metavar="METHOD=X", help="fraction=1.0, risk=0.01, volatility=X")
    add(
        "--limits",
        choices=("config", "none"),
        default="config",
        help="none: no rule but cash, holding and lot",
    )


def _add_exits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--stop", type=_distance, metavar="UNIT=X", help="fraction=0.03, atr=2 or none")
    add("--target", type=_distance, metavar="UNIT=X")
    add("--trailing", type=_distance, metavar="UNIT=X")
    add("--time-candles", type=int, metavar="N", help="leave after so many candles")
    add(
        "--exits",
        choices=("touch", "quote"),
        help="protective exits fill where a candle touched them (default without --config), "
        "or at the quote after it, as in a cycle (default with --config)",
    )
    add(
        "--end",
        choices=("close", "quote"),
        default="close",
        help="what is held at the end is sold at the last close (default), "
        "or at the last quote that an order could meet",
    )


def _pair(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _lot(text: str) -> Decimal:
    value = _amount(text)
    if value == 0:
        raise argparse.ArgumentTypeError("a lot is above 0")
    return value


def _sizing(text: str) -> tuple[str, str]:
    method, _, amount = text.partition("=")
    if method not in SIZINGS:
        raise argparse.ArgumentTypeError(f"{text!r}: one of {'= '.join(SIZINGS)}=")
    return method, str(_amount(amount))


def _distance(text: str) -> str:
    """`fraction=0.03` -> `0.03`, `atr=2` -> `2 atr`, `none` -> empty: as the configuration."""
    unit, _, amount = text.partition("=")
    if text in {"", "none"}:
        return ""
    if unit not in {"fraction", "atr"}:
        raise argparse.ArgumentTypeError(f"{text!r}: fraction=X, atr=X or none")
    value = format(_amount(amount), "f")
    return f"{value} atr" if unit == "atr" else value


def parse_moment(text: str) -> int:
    """ISO 8601 (UTC where it names no zone) or epoch milliseconds."""
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time") from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
