"""The portfolio service over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from engine.clients.answers import decoder_of, shortened
from engine.clients.transport import Transport
from engine.clients.wire import encode, instant
from engine.domain.messages import EquityPoint, FillsApplied
from engine.domain.model import Fill, PortfolioSnapshot, Position
from engine.errors import BadPayload

CENT = Decimal("0.01")
CONTRADICTION = "contradiction: "
MAX_FILLS_PER_CALL = 2000


class _Equity(msgspec.Struct):
    points: tuple[EquityPoint, ...]


_decode_snapshot = decoder_of(PortfolioSnapshot)
_decode_applied = decoder_of(FillsApplied)


class HttpPortfolio:
    """Port Portfolio, of one account.

    An answer that parses but contradicts itself is a BadPayload whose detail begins with
    `contradiction:`; the caller latches it.
    """

    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account
        self._highest_seq = 0

    def snapshot(self) -> PortfolioSnapshot:
        """The account, read in one transaction. Raises ServiceError."""
        floor = self._highest_seq

        def decode(body: bytes) -> PortfolioSnapshot:
            snapshot = _decode_snapshot(body)
            if snapshot.account != self._account:
                other = shortened(snapshot.account)
                raise ValueError(f"account {other!r} instead of {self._account!r}")
            found = contradiction(snapshot)
            if found:
                raise ValueError(CONTRADICTION + found)
            return snapshot

        snapshot = self._transport.fetch("GET", "/portfolio", decode=decode, idempotent=True)
        if snapshot.applied_seq < floor:
            # Said once: what follows is measured from where the portfolio now stands.
            self._highest_seq = snapshot.applied_seq
            detail = f"{CONTRADICTION}applied_seq back from {floor} to {snapshot.applied_seq}"
            raise BadPayload(self._transport.service, detail)
        self._highest_seq = max(self._highest_seq, snapshot.applied_seq)
        return snapshot

    def apply_fills(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        """Relay every fill up to `through_seq`, in calls of at most 2000. Raises ServiceError."""
        ordered = sorted(fills, key=lambda fill: fill.seq)
        applied: list[str] = []
        duplicates: list[str] = []
        while len(ordered) > MAX_FILLS_PER_CALL:
            part, ordered = ordered[:MAX_FILLS_PER_CALL], ordered[MAX_FILLS_PER_CALL:]
            answer = self._apply(part[-1].seq, part)
            applied += answer.applied
            duplicates += answer.duplicates
        answer = self._apply(through_seq, ordered)
        return FillsApplied(
            applied_seq=answer.applied_seq,
            applied=(*applied, *answer.applied),
            duplicates=(*duplicates, *answer.duplicates),
        )

    def _apply(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        sent = {fill.fill_id for fill in fills}

        def decode(body: bytes) -> FillsApplied:
            answer = _decode_applied(body)
            missing = sent.difference(answer.applied, answer.duplicates)
            if missing or answer.applied_seq < through_seq:
                raise ValueError(
                    f"applied through {answer.applied_seq} instead of {through_seq}, "
                    f"{len(missing)} fills unconfirmed"
                )
            return answer

        return self._transport.fetch(
            "POST",
            "/fills",
            body=encode({"through_seq": through_seq, "fills": fills}),
            decode=decode,
            idempotent=True,
            priority=True,
        )

    def post_marks(self, prices: dict[str, str], as_of: datetime) -> None:
        """Tell market prices. Raises ServiceError."""
        body = encode({"prices": prices, "as_of": as_of})
        self._transport.send("POST", "/marks", body=body, idempotent=True)

    def equity(self, since: datetime | None) -> tuple[EquityPoint, ...]:
        """The equity curve. Raises ServiceError."""
        query = None if since is None else {"since": instant(since)}
        answer = self._transport.call(
            "GET", "/equity", query=query, answer=_Equity, idempotent=True
        )
        return answer.points


def contradiction(snapshot: PortfolioSnapshot) -> str:
    """What in the account cannot be true at once, or nothing."""
    symbols = [held.symbol for held in snapshot.positions]
    total = snapshot.cash + sum((held.value for held in snapshot.positions), Decimal(0))
    if len(set(symbols)) != len(symbols):
        return "a symbol is held twice"
    if abs(total - snapshot.equity) > CENT:
        return f"equity {snapshot.equity} is not cash and positions, {total}"
    if snapshot.applied_seq < 0:
        return "negative applied_seq"
    faults = (_fault(held, snapshot.applied_seq) for held in snapshot.positions)
    return next(filter(None, faults), "")


def _fault(held: Position, applied_seq: int) -> str:
    if held.quantity < 0:
        return f"negative quantity of {held.symbol}"
    if held.average_price < 0 or held.market_price < 0:
        return f"negative price of {held.symbol}"
    if held.version > applied_seq:
        return f"{held.symbol} has a fill above applied_seq"
    return ""
