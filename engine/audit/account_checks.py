"""Invariants of the account: what it holds, what is held against it, what was granted on it."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from engine.audit.books import AccountBook, Books, Decided, Result
from engine.audit.grants import Grant, broken_limits
from engine.domain.amounts import EXACT, ZERO
from engine.domain.model import Fill, Order, Side
from engine.domain.orders import is_terminal
from engine.ledger.audit import Finding


def account_is_its_fills(books: Books) -> Result:
    """I5: each fill applied once; cash and positions are exactly what the fills make of them.

    The cash at the beginning is the account's own record of it; where that cannot be read, that
    of the first decision of the ledger. Every decision's snapshot has to fit the same beginning.
    """
    account, venue = books.account, books.venue
    found: list[tuple[str, str]] = []
    if account.applied_seq > venue.head:
        detail = f"applied through {account.applied_seq}, the log ends at {venue.head}"
        found.append(("portfolio", detail))
    fills = venue.fills()
    adopted = books.ledger.adopted
    found += _oversold(fills, account.foreign, adopted)
    running = _Running(fills, adopted)
    start = account.starting_cash
    for decided in sorted(books.ledger.decided, key=lambda d: d.basis.snapshot.applied_seq):
        picture = decided.basis.snapshot
        held = {each.symbol: each.quantity for each in picture.positions}
        foreign = frozenset(each.symbol for each in picture.positions if each.strategy is None)
        book = AccountBook(
            cash=picture.cash,
            quantities=held,
            applied_seq=picture.applied_seq,
            foreign=foreign,
        )
        running.advance(picture.applied_seq)
        start = running.begin(book) if start is None else start
        found += running.faults(book, start, f"cycle {decided.cycle_id}")
    running = _Running(fills, adopted)
    running.advance(account.applied_seq)
    start = running.begin(account) if start is None else start
    found += running.faults(account, start, "portfolio")
    found += _applied_otherwise(account, fills)
    applied = len(venue.fills(account.applied_seq))
    text = f"{applied:,} fills applied once, cash and {len(account.quantities)} positions exact"
    return Result(looked_at=text, findings=_findings("I5", found))


class _Running:
    """Cash flow and quantities that the fills make up to a seq that only rises."""

    def __init__(self, fills: tuple[Fill, ...], adopted: Mapping[str, Decimal]) -> None:
        self._fills = fills
        self._adopted = adopted
        self._next = 0
        self._flow = ZERO
        self._held: dict[str, Decimal] = defaultdict(lambda: ZERO)

    def advance(self, seq: int) -> None:
        """Take in every fill up to `seq`."""
        while self._next < len(self._fills) and self._fills[self._next].seq <= seq:
            fill = self._fills[self._next]
            self._next += 1
            signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
            self._held[fill.symbol] = EXACT.add(self._held[fill.symbol], signed)
            value = EXACT.multiply(signed, fill.price)
            self._flow = EXACT.subtract(EXACT.subtract(self._flow, value), fill.fee)

    def begin(self, account: AccountBook) -> Decimal:
        """The cash that the account must have begun with."""
        return EXACT.subtract(account.cash, self._flow)

    def faults(self, account: AccountBook, start: Decimal, where: str) -> list[tuple[str, str]]:
        """How the account differs from a beginning of `start` and the fills so far."""
        found = []
        cash = EXACT.add(start, self._flow)
        if cash != account.cash:
            detail = f"cash {account.cash:f}, the fills up to {account.applied_seq} make {cash:f}"
            found.append((where, detail))
        for symbol in sorted(self._held.keys() | account.quantities.keys()):
            made = self._held.get(symbol, ZERO)
            has = account.quantities.get(symbol, ZERO)
            if has in {made, EXACT.add(made, self._adopted.get(symbol, ZERO))}:
                continue
            if not (symbol in account.foreign and symbol not in self._held):
                found.append((where, f"{has:f} {symbol} held, the fills make {made:f}"))
        return found


def _oversold(
    fills: Iterable[Fill], foreign: frozenset[str], adopted: Mapping[str, Decimal]
) -> Iterator[tuple[str, str]]:
    held: dict[str, Decimal] = defaultdict(lambda: ZERO, adopted)
    for fill in fills:
        signed = fill.quantity if fill.side is Side.BUY else -fill.quantity
        held[fill.symbol] = EXACT.add(held[fill.symbol], signed)
        if held[fill.symbol] < 0 and fill.symbol not in foreign:
            yield f"fill {fill.fill_id}", f"sells {-held[fill.symbol]:f} {fill.symbol} too much"


def _applied_otherwise(account: AccountBook, fills: tuple[Fill, ...]) -> Iterator[tuple[str, str]]:
    if account.fills is None:
        return
    told = {fill.fill_id: _content(fill) for fill in fills if fill.seq <= account.applied_seq}
    applied = {fill.fill_id: _content(fill) for fill in account.fills}
    for fill_id in sorted(told.keys() | applied.keys()):
        if fill_id not in applied:
            yield f"fill {fill_id}", "told by the log, never applied"
        elif fill_id not in told:
            yield f"fill {fill_id}", "applied, and the log does not tell of it"
        elif told[fill_id] != applied[fill_id]:
            yield f"fill {fill_id}", "applied with another content"


def _content(fill: Fill) -> tuple[object, ...]:
    return tuple(getattr(fill, name) for name in Fill.__struct_fields__)


def needs_cover_what_exists(books: Books) -> Result:
    """I8: for each order the ledger holds at least what the execution service's rows imply.

    Now, and at each decision: an order needs its unfilled quantity until its end is proved, and
    every fill that the snapshot did not contain.
    """
    fills: dict[str, list[Fill]] = defaultdict(list)
    for fill in books.venue.fills():
        fills[fill.client_order_id].append(fill)
    found = [*_needs_now(books, fills), *_needs_then(books, fills)]
    text = (
        f"{len(books.ledger.orders):,} orders hold what they may need, "
        f"now and at {len(books.ledger.decided):,} decisions"
    )
    return Result(looked_at=text, findings=_findings("I8", found))


def _needs_now(books: Books, fills: dict[str, list[Fill]]) -> Iterator[tuple[str, str]]:
    through = books.account.applied_seq
    stored: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for fill in books.ledger.fills:
        stored[fill.client_order_id] = EXACT.add(stored[fill.client_order_id], fill.quantity)
    for client_order_id, order in books.ledger.orders.items():
        row = books.venue.rows.get(client_order_id)
        mine = fills.get(client_order_id, [])
        if row is None:
            continue
        implied = _sum(fill for fill in mine if fill.seq > through)
        if not is_terminal(row.state) and row.quantity is not None:
            implied += row.quantity - row.filled_quantity
        known = max(order.filled_quantity, stored[client_order_id])
        unfilled = ZERO if is_terminal(order.status) else order.quantity - order.filled_quantity
        held = unfilled + known - _sum(fill for fill in mine if fill.seq <= through)
        if held < implied:
            detail = f"holds {held:f} ({order.status}), what exists implies {implied:f}"
            yield client_order_id, detail


def _needs_then(books: Books, fills: dict[str, list[Fill]]) -> Iterator[tuple[str, str]]:
    lives = _lives(books)
    moments = sorted(
        ((number, decided) for decided, number in _moments(books, lives)),
        key=lambda moment: moment[0],
    )
    numbers = [number for number, _ in moments]
    for client_order_id, order in books.ledger.orders.items():
        if not order.body:
            continue  # adopted: what was known of it then is not what is known now
        reserved, ended = lives.get(client_order_id, (0, None))
        mine = fills.get(client_order_id, [])
        last = mine[-1].seq if mine else 0
        for number, decided in moments[bisect_right(numbers, reserved) :]:
            is_open = ended is None or number < ended
            through = decided.basis.snapshot.applied_seq
            if not is_open and through >= last:
                break
            implied = _sum(fill for fill in mine if fill.seq > through)
            if is_open:
                implied = order.quantity - _sum(fill for fill in mine if fill.seq <= through)
            held = _committed(decided, client_order_id)
            if held < implied:
                detail = f"held {held:f} in cycle {decided.cycle_id}, needed {implied:f}"
                yield client_order_id, detail


def _lives(books: Books) -> dict[str, tuple[int, int | None]]:
    """The steps at which each order came into the ledger and came to its end."""
    lives: dict[str, tuple[int, int | None]] = {}
    for step in books.ledger.steps:
        first, ended = lives.get(step.client_order_id, (step.number, None))
        if ended is None and is_terminal(step.to_status):
            ended = step.number
        lives[step.client_order_id] = (first, ended)
    return lives


def _moments(
    books: Books, lives: dict[str, tuple[int, int | None]]
) -> Iterator[tuple[Decided, int]]:
    """Each decision with the step at which its first order was reserved."""
    first: dict[str, int] = {}
    for client_order_id, order in books.ledger.orders.items():
        if client_order_id in lives:
            number = lives[client_order_id][0]
            first[order.cycle_id] = min(number, first.get(order.cycle_id, number))
    for decided in books.ledger.decided:
        if decided.cycle_id in first:
            yield decided, first[decided.cycle_id]


def _committed(decided: Decided, client_order_id: str) -> Decimal:
    mine = (c for c in decided.basis.commitments if c.client_order_id == client_order_id)
    return sum((each.quantity for each in mine), ZERO)


def _sum(fills: Iterable[Fill]) -> Decimal:
    total = ZERO
    for fill in fills:
        total = EXACT.add(total, fill.quantity)
    return total


def grants_within_limits(books: Books) -> Result:
    """I9: at each approval the snapshot, the needs and what was granted were within every limit.

    An adopted order was granted by nobody, and of a cycle from before the basis was kept it is
    not known on what it was decided: neither is judged.
    """
    by_cycle: dict[str, list[Order]] = defaultdict(list)
    for order in books.ledger.orders.values():
        if order.body:
            by_cycle[order.cycle_id].append(order)
    found: list[tuple[str, str]] = []
    judged = 0
    for decided in books.ledger.decided:
        orders = by_cycle.pop(decided.cycle_id, [])
        judged += len(orders)
        faults = broken_limits(Grant(decided.basis, tuple(orders)))
        found += [(f"cycle {decided.cycle_id}", fault) for fault in faults]
    unjudged = sum(len(orders) for orders in by_cycle.values())
    older = f"; {unjudged:,} of cycles whose basis is not kept" if unjudged else ""
    text = f"{judged:,} approvals within every limit{older}"
    return Result(looked_at=text, findings=_findings("I9", found))


def _findings(invariant: str, found: list[tuple[str, str]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(invariant=invariant, subject=subject, detail=detail) for subject, detail in found
    )
