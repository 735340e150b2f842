"""The rig's own judgement over the three files and what the proxies saw; one line a breach.

It stands beside the product's audit and shares no code with it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from itertools import pairwise
from pathlib import Path

from tests.faults.rig.ledger_view import ENDED, LEDGER, MICROS, Row, reading
from tests.faults.rig.proxy import SentOrder

EXACT = Context(prec=80)
ZERO = Decimal(0)
LEGAL_LATCHES = frozenset({"operator"})
STATE_MARGIN_S = 8.0  # a change may wait so long for the lock of a process that is frozen
TRIES = 3


@dataclass(frozen=True)
class Halt:
    """A `POST /halt`: when it was sent, answered, and when it was undone (epoch seconds)."""

    asked_at: float
    answered_at: float
    resumed_at: float


@dataclass(frozen=True)
class Limits:
    """What the configuration allows, as far as the rig counts it anew."""

    max_open_positions: int
    max_fee: Decimal = Decimal("0.002")


@dataclass(frozen=True)
class Files:
    """Everything stored, at rest."""

    ledger: dict[str, list[Row]]
    execution: dict[str, list[Row]]
    portfolio: dict[str, list[Row]]

    @classmethod
    def read(cls, data: Path) -> Files:
        """All three, the portfolio first: what it applied the others must have."""
        portfolio = _tables(data / "portfolio.sqlite", "account", "positions", "fills")
        execution = _tables(data / "execution.sqlite", "orders", "fills", "events", "switches")
        ledger = _tables(
            data / LEDGER,
            *("orders", "fills", "events", "transitions", "cycles", "batches"),
            *("causes", "alerts", "state_changes"),
        )
        return cls(ledger, execution, portfolio)


def _tables(path: Path, *names: str) -> dict[str, list[Row]]:
    with reading(path) as ask:
        order = " ORDER BY 1" if path.name == LEDGER else ""
        return {name: list(ask(f"SELECT * FROM {name}{order}")) for name in names}  # noqa: S608


def breaches(
    files: Files, sent: Iterable[SentOrder], halts: Iterable[Halt], limits: Limits, now: float
) -> list[str]:
    """Every breach, `kind: detail`. The product must be at rest for at least a moment."""
    return [
        *_identity(files),
        *_same_orders(files),
        *_duplicates(files),
        *_epochs(files),
        *_fills(files, limits),
        *_account(files),
        *_prefixes(files, limits),
        *_unfinished(files, now),
        *_halted(files, halts),
        *_sending(files, halts),
        *_tries(files, sent),
        *_causes(files),
    ]


def _bodies(files: Files) -> dict[str, Row]:
    return {row["client_order_id"]: row for row in files.execution["orders"] if row["body"]}


def _identity(files: Files) -> Iterator[str]:
    """Each order at the service has exactly one intent, with the same bytes."""
    intents = {row["client_order_id"]: row for row in files.ledger["orders"]}
    for client_order_id, order in _bodies(files).items():
        intent = intents.get(client_order_id)
        if intent is None:
            yield f"lost: order {client_order_id} exists and has no intent"
        elif intent["body"] != order["body"]:
            yield f"body: order {client_order_id} was sent with other bytes than were frozen"


def _same_orders(files: Files) -> Iterator[str]:
    """What the ledger says of an order is what the service has."""
    known = {row["client_order_id"]: row for row in files.execution["orders"]}
    for intent in files.ledger["orders"]:
        identity, order = intent["client_order_id"], known.get(intent["client_order_id"])
        filled = Decimal(intent["filled_quantity"])
        real = ZERO if order is None else Decimal(order["filled_quantity"])
        if filled != real:
            yield f"budget: order {identity} filled {real}, the ledger says {filled}"
        if intent["status"] in ENDED:
            state = None if order is None else order["state"]
            if state != intent["status"]:
                yield f"end: order {identity} is {state}, the ledger says {intent['status']}"


def _duplicates(files: Files) -> Iterator[str]:
    """One decision trades at most once."""
    keys = {row["client_order_id"]: row["decision_key"] for row in files.ledger["orders"]}
    effective = Counter(
        keys.get(row["client_order_id"], row["client_order_id"])
        for row in files.execution["orders"]
        if Decimal(row["filled_quantity"]) > 0 or row["state"] in {"ACCEPTED", "PARTIAL"}
    )
    for key, count in effective.items():
        if count > 1:
            yield f"duplicate: {count} effective orders of {key}"


def _epochs(files: Files) -> Iterator[str]:
    """Nothing is accepted below the epoch of what was accepted before; cycles' epochs rise."""
    first: dict[str, int] = {}
    for event in files.execution["events"]:
        first.setdefault(event["client_order_id"], event["seq"])
    taken = [(first[key], row) for key, row in _bodies(files).items() if row["state"] != "REJECTED"]
    highest = 0
    for _, row in sorted(taken, key=lambda each: each[0]):
        epoch = json.loads(row["body"])["epoch"]
        if epoch < highest:
            yield f"fence: order {row['client_order_id']} of epoch {epoch} after {highest}"
        highest = max(highest, epoch)
    epochs = [row["epoch"] for row in files.ledger["cycles"] if row["epoch"] is not None]
    if any(later <= earlier for earlier, later in pairwise(epochs)):
        yield f"epochs: {epochs} do not rise"


def _fills(files: Files, limits: Limits) -> Iterator[str]:
    """Fills within quantity, limit and fee; known alike in all three files; the log whole."""
    bodies = _bodies(files)
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in files.execution["fills"]:
        identity = fill["client_order_id"]
        body = json.loads(bodies[identity]["body"])
        quantity, price, fee = (Decimal(fill[name]) for name in ("quantity", "price", "fee"))
        sums[identity] = EXACT.add(sums[identity], quantity)
        worse = price > Decimal(body["limit_price"]) if body["side"] == "buy" else None
        worse = price < Decimal(body["limit_price"]) if worse is None else worse
        if sums[identity] > Decimal(body["quantity"]) or worse:
            yield f"fill: {fill['fill_id']} of {identity} is beyond quantity or limit"
        if fee > EXACT.multiply(EXACT.multiply(quantity, price), limits.max_fee):
            yield f"fill: fee {fee} of {fill['fill_id']}"
    ids = [{row["fill_id"] for row in part["fills"]} for part in _parts(files)]
    if not ids[0] == ids[1] == ids[2]:
        counts = [len(each) for each in ids]
        yield f"lost: fills at execution, in the ledger, in the portfolio: {counts}"
    for name in ("execution", "ledger"):
        seqs = sorted(row["seq"] for row in getattr(files, name)["events"])
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"log: the events of {name} have a hole"


def _parts(files: Files) -> tuple[dict[str, list[Row]], ...]:
    return files.execution, files.ledger, files.portfolio


def _account(files: Files) -> Iterator[str]:
    """Cash and positions are the sum of fills, exactly."""
    account = files.portfolio["account"][0]
    cash = Decimal(account["starting_cash"])
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in files.portfolio["fills"]:
        cash = EXACT.add(cash, _cash(fill))
        held[fill["symbol"]] = EXACT.add(held[fill["symbol"]], _signed(fill))
    if cash != Decimal(account["cash"]):
        yield f"account: cash {account['cash']}, the fills make {cash}"
    positions = {row["symbol"]: Decimal(row["quantity"]) for row in files.portfolio["positions"]}
    for symbol in held.keys() | positions.keys():
        if held[symbol] != positions.get(symbol, ZERO):
            yield f"account: {positions.get(symbol)} {symbol}, the fills make {held[symbol]}"


def _signed(fill: Row) -> Decimal:
    return Decimal(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)


def _cash(fill: Row) -> Decimal:
    value = EXACT.multiply(Decimal(fill["quantity"]), Decimal(fill["price"]))
    change = -value if fill["side"] == "buy" else value
    return EXACT.subtract(change, Decimal(fill["fee"]))


def _prefixes(files: Files, limits: Limits) -> Iterator[str]:
    """After each fill: nothing oversold, cash not below zero, not too many positions."""
    cash = Decimal(files.portfolio["account"][0]["starting_cash"])
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in sorted(files.portfolio["fills"], key=lambda row: int(row["seq"])):
        symbol = fill["symbol"]
        cash = EXACT.add(cash, _cash(fill))
        held[symbol] = EXACT.add(held[symbol], _signed(fill))
        if held[symbol] < 0:
            yield f"oversell: {held[symbol]} {symbol} at seq {fill['seq']}"
        if cash < 0:
            yield f"limit: cash {cash} at seq {fill['seq']}"
        count = sum(1 for quantity in held.values() if quantity > 0)
        if fill["side"] == "buy" and count > limits.max_open_positions:
            yield f"limit: {count} positions at seq {fill['seq']}, {limits} allowed"


def _unfinished(files: Files, now: float) -> Iterator[str]:
    """No cycle and no order is open 30 s after its deadline."""
    for cycle in files.ledger["cycles"]:
        if cycle["status"] == "RUNNING" and cycle["deadline_at"] / MICROS + 30 < now:
            yield f"unfinished: cycle {cycle['cycle_id']}"
    for intent in files.ledger["orders"]:
        overdue = intent["valid_until"] / MICROS + 30 < now
        if overdue and intent["status"] not in ENDED:
            yield f"unresolved: order {intent['client_order_id']} is {intent['status']}"


def _halted(files: Files, halts: Iterable[Halt]) -> Iterator[str]:
    """Nothing that adds risk is accepted between the answer to a halt and its release."""
    for halt in halts:
        for row in _bodies(files).values():
            inside = halt.answered_at < row["created_at"] < halt.resumed_at
            if inside and row["state"] != "REJECTED":
                yield f"halt: order {row['client_order_id']} was accepted while halted"


def _sending(files: Files, halts: Iterable[Halt]) -> Iterator[str]:
    """No order is set SENDING under a state that forbids it, or once a newer epoch is fenced.

    The instant of a send is taken before its transaction: one after an acknowledged fence or a
    halt's answer belongs to a transaction that should have seen it.
    """
    fences = [(instant(row["at"]), row["epoch"]) for row in files.execution["switches"]]
    changes = [(row["at"] / MICROS, row["effective"]) for row in files.ledger["state_changes"]]
    intents = {row["client_order_id"]: row for row in files.ledger["orders"]}
    for step in files.ledger["transitions"]:
        if step["to_status"] != "SENDING":
            continue
        intent, at = intents[step["client_order_id"]], step["at"] / MICROS
        newest = max((epoch for when, epoch in fences if when < at), default=0)
        if intent["epoch"] < newest:
            yield f"fence: order {intent['client_order_id']} was sent under epoch {newest}"
        yield from _forbidden(intent, at, changes, halts)


def _forbidden(
    intent: Row, at: float, changes: list[tuple[float, str]], halts: Iterable[Halt]
) -> Iterator[str]:
    """What forbids a send at `at`."""
    if any(halt.answered_at < at < halt.resumed_at for halt in halts):
        yield f"state: order {intent['client_order_id']} was set SENDING after a halt's answer"
    state = next((level for when, level in reversed(changes) if when <= at), "ACTIVE")
    recent = any(at - STATE_MARGIN_S < when <= at for when, _ in changes)
    forbidden = state == "HALTED" or (state == "REDUCING" and not intent["reduce_only"])
    if forbidden and not recent:
        yield f"state: order {intent['client_order_id']} was sent while {state}"


def _tries(files: Files, sent: Iterable[SentOrder]) -> Iterator[str]:
    """Claims and sends are bounded, and each send is one request with the frozen bytes."""
    for batch in files.ledger["batches"]:
        if batch["tries"] > TRIES:
            yield f"tries: batch {batch['batch']} of {batch['cycle_id']}: {batch['tries']}"
    requests = Counter(order.client_order_id for order in sent)
    for intent in files.ledger["orders"]:
        identity, sends = intent["client_order_id"], intent["sends"]
        if sends > TRIES:
            yield f"tries: order {identity} was sent {sends} times"
        if requests[identity] > sends:
            yield f"tries: {requests[identity]} requests of order {identity}, {sends} sends"
    frozen = {row["client_order_id"]: row["body"] for row in files.ledger["orders"]}
    for order in sent:
        if frozen.get(order.client_order_id) != order.body:
            yield f"body: order {order.client_order_id} was sent with other bytes than frozen"


def _causes(files: Files) -> Iterator[str]:
    """Nothing latched that only a broken promise explains."""
    for cause in files.ledger["causes"]:
        if cause["kind"] == "latched" and cause["cause"] not in LEGAL_LATCHES:
            yield f"latched: {cause['cause']}: {cause['detail']}"
    for alert in files.ledger["alerts"]:
        if alert["name"] in {"contradiction", "foreign_order"}:
            yield f"alert: {alert['name']}: {alert['detail']}"


def last_accepted_after(files: Files, halt: Halt) -> float:
    """Seconds from asking for a halt to the last order that was accepted after that; 0: none."""
    times = [
        row["created_at"]
        for row in _bodies(files).values()
        if row["state"] != "REJECTED" and halt.asked_at < row["created_at"] < halt.resumed_at
    ]
    return max((at - halt.asked_at for at in times), default=0.0)


def instant(text: str) -> float:
    """Epoch seconds of an ISO time."""
    return datetime.fromisoformat(text).timestamp()


def decisions(data: Path) -> tuple[Counter[str], int, int]:
    """Refusals by rule; cycles that decided; of these, how many where a limit bound."""
    with reading(data / LEDGER) as ask:
        found = ask("SELECT cycle_id, stage, verdict, binding_rule FROM decisions")
    rules = Counter(row["binding_rule"] for row in found if row["verdict"] != "APPROVED")
    decided = {row["cycle_id"] for row in found if row["stage"] == "allocate"}
    bound = {row["cycle_id"] for row in found if row["verdict"] != "APPROVED"}
    return rules, len(decided), len(decided & bound)
