"""Identity, price, need and life of an order."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

import msgspec

from engine.domain.amounts import EXACT, ONE, ceil_to, floor_to, plain, text
from engine.domain.model import Action, OrderBody, OrderStatus, Quote, Side

# Fixed for ever: another namespace would give every known decision a new order.
NAMESPACE = uuid.UUID("6f2f7a5e-3c41-4d0b-9a1e-52c7b8d0e6f4")
KEY_VERSION = "v1"
PLAIN_EXIT_ATTEMPTS = 3
HALF = Decimal("0.5")
_json = msgspec.json.Encoder()

RANKS: Mapping[OrderStatus, int] = MappingProxyType(
    {
        OrderStatus.RESERVED: 0,
        OrderStatus.SENDING: 1,
        OrderStatus.UNKNOWN: 2,
        OrderStatus.ACCEPTED: 3,
        OrderStatus.PARTIAL: 4,
        OrderStatus.FILLED: 5,
        OrderStatus.CANCELED: 5,
        OrderStatus.EXPIRED: 5,
        OrderStatus.REJECTED: 5,
        OrderStatus.VOIDED: 5,
    }
)
TERMINAL: frozenset[OrderStatus] = frozenset(
    status for status, rank in RANKS.items() if rank == max(RANKS.values())
)
NEVER_TRADED: frozenset[OrderStatus] = frozenset({OrderStatus.REJECTED, OrderStatus.VOIDED})


def is_terminal(status: OrderStatus) -> bool:
    """True when nothing can happen to the order any more."""
    return status in TERMINAL


def may_move(old: OrderStatus, new: OrderStatus) -> bool:
    """True when the transition raises the rank, or repeats the send of an UNKNOWN order."""
    if (old, new) == (OrderStatus.UNKNOWN, OrderStatus.SENDING):
        return True
    return RANKS[new] > RANKS[old]


def contradicts(old_status: OrderStatus, new_status: OrderStatus) -> bool:
    """True when both cannot be true of one order: news that must stop the trading.

    Two different ends; or an order that traded in part and is then said never to have traded;
    or an accepted one that is then void, since a void of an existing order cancels it.
    """
    if is_terminal(old_status) and is_terminal(new_status):
        return old_status is not new_status
    if old_status is OrderStatus.PARTIAL:
        return new_status in NEVER_TRADED
    return old_status is OrderStatus.ACCEPTED and new_status is OrderStatus.VOIDED


def entry_key(
    account: str,
    *,
    strategy: str,
    version: str,
    symbol: str,
    timeframe: str,
    candle_time: int,
    action: Action = Action.BUY,
) -> str:
    """`v1|account|strategy id|version|symbol|timeframe|candle_time|action`."""
    return _key(account, strategy, version, symbol, timeframe, str(candle_time), action.value)


def exit_key(account: str, *, symbol: str, reason: str, position_version: str) -> str:
    """`v1|account|symbol|exit|reason|position_version`.

    `position_version` is the fill_id of the position's last fill: unlike a counter, it does not
    depend on the order in which the fills of other symbols arrive.
    """
    return _key(account, symbol, "exit", reason, position_version)


def client_order_id(decision_key: str, attempt: int) -> str:
    """The one id of this attempt at this decision, whoever computes it and whenever."""
    return str(uuid.uuid5(NAMESPACE, f"{decision_key}|{attempt}"))


def limit_price(
    side: Side, quote: Quote, collar: Decimal, tick: Decimal, widen: int = 0
) -> Decimal:
    """The worst price to accept: half a collar beyond the quote, plus `widen` whole collars.

    The ask for a buy, the bid for a sell; rounded to the tick away from the quote, at least one
    tick.
    """
    distance = EXACT.multiply(collar, EXACT.add(HALF, Decimal(widen)))
    if side is Side.BUY:
        return plain(ceil_to(EXACT.multiply(quote.ask, EXACT.add(ONE, distance)), tick))
    worst = floor_to(EXACT.multiply(quote.bid, EXACT.subtract(ONE, distance)), tick)
    return plain(max(worst, tick))


def exit_widening(attempt: int) -> int:
    """Whole collars that an exit's limit is widened by: one for each attempt after the third."""
    return max(0, attempt + 1 - PLAIN_EXIT_ATTEMPTS)


def need(quantity: Decimal, limit_price: Decimal, max_fee: Decimal) -> Decimal:
    """The most that buying `quantity` may cost: at the limit price, with the highest fee."""
    return EXACT.multiply(EXACT.multiply(quantity, limit_price), EXACT.add(ONE, max_fee))


def freeze(body: OrderBody) -> str:
    """The JSON that is stored and sent, byte for byte; decimals as text without exponents."""
    fields: dict[str, object] = {}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if value is not None:
            fields[name] = text(value) if isinstance(value, Decimal) else value
    return _json.encode(fields).decode()


def _key(*parts: str) -> str:
    key = "|".join((KEY_VERSION, *parts))
    # A separator inside a part must not make two different decisions look alike.
    if "%" in key or key.count("|") > len(parts):
        safe = (part.replace("%", "%25").replace("|", "%7C") for part in parts)
        key = "|".join((KEY_VERSION, *safe))
    return key
