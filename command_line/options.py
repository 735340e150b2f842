"""The verbs and their options; a wrong one is said in one line, with exit status 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

MAX_WAIT_S = 3600
MAX_REASON = 500  # also the most that a page holds
EPILOG = (
    "Exit status: 0 done, 1 refused, 2 wrong usage, 3 no answer, 4 degraded or halted. "
    "The key comes from TRADING_ENGINE_API_KEY, TRADING_ENGINE_API_KEY_FILE or --key-file; "
    "the address from --url or TRADING_ENGINE_URL (http://127.0.0.1:8001)."
)

Add = Callable[..., argparse.ArgumentParser]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for. Prints help or a fault and raises SystemExit, as argparse does."""
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    common = _common(argparse.ArgumentParser(add_help=False))
    parser = argparse.ArgumentParser(
        prog="trading-engine",
        description="Looks after a running trading engine.",
        epilog=EPILOG,
        parents=[common],
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common]
        )

    _add_controls(add)
    _add_reads(add)
    _add_actions(add)
    return parser


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options that may stand before the verb or after it."""
    left_out: Any = argparse.SUPPRESS
    parser.add_argument(
        "--json", action="store_true", default=left_out, help="the API's document instead of text"
    )
    parser.add_argument("--url", metavar="URL", default=left_out, help="where the API is")
    parser.add_argument(
        "--key-file", metavar="FILE", default=left_out, help="a file that holds the key"
    )
    return parser


def _add_controls(add: Add) -> None:
    add("start", "schedule cycles, the first one at once")
    add("stop", "schedule no further cycle; one in progress finishes")
    cycle = add("cycle", "run one cycle now")
    cycle.add_argument(
        "--wait",
        nargs="?",
        type=_seconds,
        const=110.0,
        default=0.0,
        metavar="SECONDS",
        help="for its report (110 s without a number)",
    )
    cycle.add_argument("--symbols", metavar="A,B", type=_names, help="instead of the universe")
    cycle.add_argument("--dry-run", action="store_true", help="decide, and send nothing")
    halt = add("halt", "the kill switch: no order leaves after this")
    _reason(halt, "halted from the command line")
    halt.add_argument("--keep-open", action="store_true", help="do not cancel open orders")
    reduce = add("reduce", "only orders that shrink a position")
    _reason(reduce, "reduced from the command line")
    resume = add("resume", "raise the trading state once reconciliation is clean")
    resume.add_argument("--reason", type=_text, required=True, help="why it is safe again")
    resume.add_argument("--to", choices=("ACTIVE", "REDUCING"), default="ACTIVE", help="the state")
    resume.add_argument("--account", help="its name; required when it trades live")


def _reason(parser: argparse.ArgumentParser, usual: str) -> None:
    parser.add_argument("--reason", type=_text, default=usual, help="kept in the ledger")


def _add_reads(add: Add) -> None:
    add("status", "is it trading, and is anything wrong")
    orders = add("orders", "orders, newest first, each with why")
    orders.add_argument("--symbol", help="of this symbol")
    orders.add_argument("--state", type=str.upper, help="in this state, such as UNKNOWN")
    orders.add_argument("--limit", type=_count, default=20, metavar="N", help="at most (20)")
    explain = add("explain", "one order: signal, size, rules, what became of it")
    explain.add_argument("order", metavar="ORDER", help="its id, or how the id begins")
    add("positions", "what is held")
    alerts = add("alerts", "what wants attention")
    alerts.add_argument("--all", action="store_true", help="those that are over too")
    alerts.add_argument("--ack", metavar="ID", help="say that you have seen it")
    config = add("config", "check the configuration of this machine, without the API")
    config.add_argument("action", choices=("check",), help="read it as a start would")
    config.add_argument("--file", metavar="FILE", help="instead of config.yaml")


def _add_actions(add: Add) -> None:
    close = add("close", "ask for the exit of a position; the next cycle sends it")
    close.add_argument("symbol", metavar="SYMBOL")
    _reason(close, "closed from the command line")
    adopt = add("adopt", "give a foreign position to a strategy")
    adopt.add_argument("symbol", metavar="SYMBOL")
    adopt.add_argument("strategy", metavar="STRATEGY")
    enable = add("enable", "let a throttled strategy trade again")
    enable.add_argument("strategy", metavar="STRATEGY")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MAX_WAIT_S:
        raise argparse.ArgumentTypeError(f"0 to {MAX_WAIT_S} seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_REASON:
        raise argparse.ArgumentTypeError(f"1 to {MAX_REASON}")
    return value


def _text(text: str) -> str:
    if not text.strip() or len(text) > MAX_REASON or not text.isprintable():
        raise argparse.ArgumentTypeError(f"1 to {MAX_REASON} printable characters")
    return text.strip()


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("symbols with commas between: BTC/USD,ETH/USD")
    return names
