"""The invariants I1 to I12 at the end of a run: ledger, execution and portfolio against each other.

Written on the rows themselves and apart from the product's own audit, so that a fault of one of
the two is not hidden by the other.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from engine.domain.model import FillEvent, OrderStatus, Side
from engine.ledger.column_types import EPOCH
from tests.faults.simulation.account_book import CASH
from tests.faults.simulation.history import VARYING
from tests.faults.simulation.venue import OPEN

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

ZERO = Decimal(0)
RANKS = {"RESERVED": 0, "SENDING": 1, "UNKNOWN": 2, "ACCEPTED": 3, "PARTIAL": 4}
LAST_RANK = 5
PATIENCE_S = 30.0
PATIENCE_US = int(PATIENCE_S * 1_000_000)
RETURNING = frozenset({"market_data", "portfolio_returned"})  # until two cycles went well
OPEN_TEXT = "('RESERVED','SENDING','UNKNOWN','ACCEPTED','PARTIAL')"


def check(world: World, clean_cycles: int) -> list[str]:
    """Every breach, in words that begin with the invariant's name."""
    raw = world.connections.raw
    return [
        *_decisions(world, raw),
        *_log(world, raw),
        *_fences(world),
        *_fills(world, raw),
        *_account(world),
        *_overdue(raw),
        *_cycles(world, raw, clean_cycles),
        *_ranks(raw),
        *_bodies(world, raw),
        *_halts(world),
        *_alarms(world, raw),
    ]


def check_settled(world: World) -> list[str]:
    """I7, soon after the healing: every order from before it has been settled."""
    healed = (world.healed_at - EPOCH) // timedelta(microseconds=1)
    rows = world.connections.raw.execute(
        f"select client_order_id, status from orders where status in {OPEN_TEXT}"  # noqa: S608
        " and created_at < ?",
        (healed,),
    )
    now = world.clock.true().isoformat()
    return [f"I7 order {each} is {status} still, at {now}" for each, status in rows]


def check_returned(world: World, clean_cycles: int) -> list[str]:
    """After the clean cycles no cause is left, those of services that were away included.

    A process that froze before the healing writes what it saw when it thaws, and may open its
    cycle between the clean ones: caution has not had its two good cycles in a row then.
    """
    last = "select status, started_at from cycles order by number desc limit ?"
    rows = world.connections.raw.execute(last, (clean_cycles,)).fetchall()
    all_good = all(status == "COMPLETED" for status, _ in rows)
    begun = min(started_at for _, started_at in rows)
    return [
        line
        for cause, since, line in _lowering(world)
        if cause not in RETURNING or (all_good and since < begun)
    ]


def _lowering(world: World) -> Iterator[tuple[str, int, str]]:
    """Causes that hold the state down, since when, and a line for each."""
    now = (world.clock.true() - EPOCH) // timedelta(microseconds=1)
    rows = world.connections.raw.execute("select kind, cause, detail, since from causes")
    for kind, cause, detail, since in rows:
        # A process that thaws writes what it saw; the next reconciliation corrects it.
        if kind == "latched" or since < now - PATIENCE_US:
            yield cause, since, f"the trading state stays below ACTIVE: {cause}: {detail}"


def check_healed(world: World) -> list[str]:
    """I7, some time after the healing: nothing is open, and only caution lowers the state."""
    raw = world.connections.raw
    open_now = f"select client_order_id, cycle_id, status from orders where status in {OPEN_TEXT}"  # noqa: S608
    # A start that thaws just now opens its cycle late; what it leaves is the next round's work.
    recent = {
        cycle_id
        for cycle_id, opened_s in world.history.opened_s.items()
        if opened_s > world.scheduler.now_s - PATIENCE_S
    }
    found = [
        f"I7 order {identity} is {status} long after the healing"
        for identity, cycle_id, status in raw.execute(open_now)
        if cycle_id not in recent
    ]
    for cycle_id, deadline in raw.execute(
        "select cycle_id, deadline_at from cycles where status='RUNNING'"
    ):
        if cycle_id in recent:
            continue
        found.append(f"I7 cycle {cycle_id} is RUNNING after its deadline {deadline}")
    found += [line for cause, _, line in _lowering(world) if cause not in RETURNING]
    (operator,) = raw.execute("select operator from account").fetchone()
    if operator != "ACTIVE" or world.venue.halted:
        found.append(f"not resumed: the ledger is {operator}, venue halted {world.venue.halted}")
    return found


def _decisions(world: World, raw: sqlite3.Connection) -> Iterator[str]:
    """I1 and half of I2: the venue's effective orders, by the decision that they are of."""
    keys = dict(raw.execute("select client_order_id, decision_key from orders"))
    effective: Counter[str] = Counter()
    for identity, held in world.venue.orders.items():
        if held.filled <= 0 and held.state not in OPEN:
            if identity not in keys:
                yield f"I6 {identity} is {held.state} at the venue and not in the ledger"
            continue
        if identity not in keys:
            yield f"I6 {identity} trades at the venue and is not in the ledger"
            continue
        effective[keys[identity]] += 1
    for key, count in effective.items():
        if count > 1:
            yield f"I1 {count} effective orders of {key}"


def _log(world: World, raw: sqlite3.Connection) -> Iterator[str]:
    """I2: each event once, without a hole, and each fill of the venue in the ledger."""
    (count, highest) = raw.execute("select count(*), coalesce(max(seq), 0) from events").fetchone()
    (cursor,) = raw.execute("select contiguous_seq from account").fetchone()
    if not count == highest == cursor == len(world.venue.log):
        yield f"I2 {count} events to {highest}, cursor {cursor}, log {len(world.venue.log)}"
    stored = dict(raw.execute("select fill_id, quantity from fills"))
    made = {e.fill_id: e.quantity for e in world.venue.log if isinstance(e, FillEvent)}
    if {name: Decimal(quantity) for name, quantity in stored.items()} != made:
        yield f"I2 {len(stored)} fills in the ledger, {len(made)} at the venue"


def _fences(world: World) -> Iterator[str]:
    """I3."""
    for taken in world.venue.record.acceptances:
        if taken.epoch < taken.fence and not _is_foreign(world, taken.client_order_id):
            yield f"I3 {taken.client_order_id}: epoch {taken.epoch}, fence {taken.fence}"
        if taken.is_late and not _is_foreign(world, taken.client_order_id):
            yield f"I3 {taken.client_order_id} is accepted after its valid_until"
        if taken.halted and not _is_foreign(world, taken.client_order_id):
            yield f"I12 {taken.client_order_id} is accepted while the venue is halted"


def _is_foreign(world: World, identity: str) -> bool:
    return identity in world.history.foreign


def _fills(world: World, raw: sqlite3.Connection) -> Iterator[str]:
    """I4 and I8: within quantity, limit and fee; the ledger knows as much as the venue."""
    rows = raw.execute(
        "select client_order_id, quantity, limit_price, filled_quantity, status, body from orders"
    )
    for identity, quantity, limit, filled, status, body in rows:
        held = world.venue.orders.get(identity)
        if held is None:
            yield f"I8 {identity} is {status} in the ledger, and the venue never heard of it"
            continue
        if held.filled > Decimal(quantity):
            yield f"I4 {identity}: {held.filled} filled of {quantity}"
        if Decimal(filled) != held.filled or status != held.state:
            theirs = f"{held.state} {held.filled}"
            yield f"I8 {identity}: {status} {filled} in the ledger, {theirs} at the venue"
        if body and held.body is not None and held.body.limit_price != Decimal(limit):
            yield f"I4 {identity}: limit {held.body.limit_price} was sent, {limit} is in the ledger"


def _account(world: World) -> Iterator[str]:
    """I5: the account is what the fills make, in their order, and never below zero."""
    cash, held = CASH, dict[str, Decimal]()
    for event in world.venue.log:
        if not isinstance(event, FillEvent):
            continue
        sign = 1 if event.side is Side.BUY else -1
        cash -= sign * event.quantity * event.price + event.fee
        held[event.symbol] = held.get(event.symbol, ZERO) + sign * event.quantity
        if held[event.symbol] < 0:
            yield f"I5 {event.symbol} is oversold at seq {event.seq}: {held[event.symbol]}"
        if cash < 0:
            yield f"I5 cash is {cash} at seq {event.seq}"
    account = world.book.account
    theirs = {symbol: holding.quantity for symbol, holding in account.holdings.items()}
    if {symbol: quantity for symbol, quantity in held.items() if quantity} != theirs:
        yield f"I5 the portfolio holds {theirs}, the fills make {held}"
    if account.cash != cash:
        yield f"I5 the portfolio has {account.cash}, the fills make {cash}"
    yield from (f"I5 the portfolio refused fills: {why}" for why in world.book.refusals)


def _overdue(raw: sqlite3.Connection) -> Iterator[str]:
    """I7 at the very end."""
    for table, name in (("orders", "client_order_id"), ("cycles", "cycle_id")):
        is_open = "status='RUNNING'" if table == "cycles" else f"status in {OPEN_TEXT}"
        for (identity,) in raw.execute(f"select {name} from {table} where {is_open}"):  # noqa: S608
            yield f"I7 {table[:-1]} {identity} is still open at the end"


def _cycles(world: World, raw: sqlite3.Connection, clean: int) -> Iterator[str]:
    """I10: epochs rise, one scheduled cycle a slot; and clean cycles are complete."""
    chosen = "select cycle_id, key, epoch, status, started_at from cycles order by number"
    rows = raw.execute(chosen).fetchall()
    for before, after in pairwise([row for row in rows if row[2] is not None]):
        if after[2] <= before[2]:
            yield f"I10 cycle {after[0]} has epoch {after[2]} after {before[2]}"
    for key, count in Counter(row[1] for row in rows).items():
        if count > 1:
            yield f"I10 {count} cycles of {key}"
    most = world.settings.timing.batch_tries
    for cycle_id, batch, tries in raw.execute("select cycle_id, batch, tries from batches"):
        if tries > most:
            yield f"batch {batch} of {cycle_id} was claimed {tries} times, {most} allowed"
    # A start that froze before the healing opens its cycle late, with the instant it read then.
    healed = (world.healed_at - EPOCH) // timedelta(microseconds=1)
    fresh = [row for row in rows if row[4] > healed]
    if len(fresh) < clean:
        yield f"{len(fresh)} cycles began after the healing, {clean} were asked for"
    for cycle_id, _, _, status, _ in fresh[-clean:]:
        if status not in {"COMPLETED", "DEGRADED"}:
            yield f"the clean cycle {cycle_id} is {status}"


def _ranks(raw: sqlite3.Connection) -> Iterator[str]:
    """I10: no transition lowers the rank, but for the repeat of the same bytes."""
    rows = raw.execute("select client_order_id, from_status, to_status from transitions")
    for identity, old, new in rows:
        allowed = not old or RANKS.get(new, LAST_RANK) > RANKS.get(old, LAST_RANK)
        if not allowed and (old, new) not in {("UNKNOWN", "SENDING"), ("SENDING", "SENDING")}:
            yield f"I10 {identity} went from {old} to {new}"


def _bodies(world: World, raw: sqlite3.Connection) -> Iterator[str]:
    """I11: what was sent is what was frozen; nothing was sent that was never granted."""
    frozen = dict(raw.execute("select client_order_id, body from orders"))
    for identity, bodies in world.venue.record.bodies.items():
        if identity not in frozen:
            yield f"I11 {identity} was sent and is not in the ledger"
        elif bodies != {frozen[identity]}:
            yield f"I11 {identity} was sent with {len(bodies)} bodies, or not the frozen one"
        asked, sends = world.venue.record.requests[identity], world.history.sends.get(identity, 0)
        if asked > sends:
            yield f"I11 {identity}: {asked} requests in {sends} sends"
    for identity, body in world.history.first_bodies.items():
        if frozen.get(identity) != body:
            yield f"I11 the body of {identity} changed in the ledger"


def _halts(world: World) -> Iterator[str]:
    """I12: nothing is accepted between a halt that the venue confirmed and the next resume."""
    for period in world.history.halts:
        until = float("inf") if period.until is None else period.until
        for taken in world.venue.record.acceptances:
            inside = period.since < taken.step <= until and period.execution
            if inside and not _is_foreign(world, taken.client_order_id):
                yield f"I12 {taken.client_order_id} is accepted after the halt was answered"


def _alarms(world: World, raw: sqlite3.Connection) -> Iterator[str]:
    """No alarm without a reason: a false one stops the trading."""
    allowed = {"foreign_order"} if world.history.seen["foreign order"] else set()
    for (what,) in raw.execute("select distinct what from state_changes"):
        cause = what.removeprefix("latched ")
        if cause != what and cause not in allowed:
            yield f"false alarm: {cause}"


def occurred(world: World) -> None:
    """Count what came to pass, for the coverage over all runs."""
    raw, seen = world.connections.raw, world.history.seen
    for old, new, count in raw.execute(
        "select from_status, to_status, count(*) from transitions group by 1, 2"
    ):
        seen[f"{old or 'nothing'} -> {new}"] += count
    for status, count in raw.execute("select status, count(*) from cycles group by 1"):
        seen[f"cycle {status}"] += count
    for verdict, rule, count in raw.execute(
        "select verdict, binding_rule, count(*) from decisions group by 1, 2"
    ):
        seen[f"{verdict} by {rule}"] += count
        world.history.limits_bound |= verdict in {"RESIZED", "DENIED"}
    for what, count in raw.execute("select what, count(*) from state_changes group by 1"):
        if what.startswith("latched "):
            seen[what] += count
    for refusal in world.venue.record.refusals:
        seen[f"venue refuses: {VARYING.sub('#', refusal)}"] += 1
    for status in OrderStatus:
        seen[f"venue {status}"] += sum(o.state is status for o in world.venue.orders.values())
