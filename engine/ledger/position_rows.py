"""What an operator decided of single positions: whose a foreign one is, and which to leave.

A position is known by its symbol and the time at which the portfolio says it was opened, so that
a decision never outlives the position that it was about.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, select

from engine.domain.amounts import EXACT
from engine.domain.ledger_values import Adoption, ExitRequest
from engine.domain.model import Position
from engine.errors import Refused
from engine.ledger.account_rows import lock_account
from engine.ledger.connections import Connections
from engine.ledger.event_rows import nothing_held
from engine.ledger.records import insert_new, upsert
from engine.ledger.schema import holdings
from engine.ledger.schema_operator import adoptions, exit_requests


class PositionRows:
    """PositionLedger over SQL."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def adopt(
        self, position: Position, strategy: str, applied_seq: int, actor: str, now: datetime
    ) -> bool:
        """Give a foreign position to a strategy; False when it has it already.

        What it holds beyond the stored fills joins the ledger's holdings, so that its sale is no
        contradiction. `applied_seq` is the snapshot's that shows the position. Raises Refused
        when the ledger knows other fills, or the position belongs to another strategy.
        """
        with self._connections.write() as connection:
            account = lock_account(connection)
            if account.contiguous_seq != applied_seq:
                raise Refused("the account is being brought up to date; ask again")
            known = _adoption(connection, position)
            if known is not None:
                if known.strategy != strategy:
                    raise Refused(f"{position.symbol} was given to {known.strategy}")
                return False
            beyond = _join(connection, position)
            row = {
                "symbol": position.symbol,
                "opened_at": position.opened_at,
                "strategy": strategy,
                "quantity": beyond,
                "after_seq": applied_seq,
                "at": now,
                "actor": actor,
            }
            connection.execute(adoptions.insert(), row)
            return True

    def adoptions(self) -> tuple[Adoption, ...]:
        """Every adoption, oldest first."""
        with self._connections.read() as connection:
            return adoptions_of(connection)

    def request_exit(self, position: Position, reason: str, actor: str, now: datetime) -> bool:
        """Ask the next cycles to leave a position; False when that was asked before."""
        row = {
            "symbol": position.symbol,
            "opened_at": position.opened_at,
            "reason": reason,
            "at": now,
            "actor": actor,
        }
        with self._connections.write() as connection:
            return insert_new(connection, exit_requests, row)

    def exit_requests(self) -> tuple[ExitRequest, ...]:
        """Every request, oldest first; one whose position is gone asks for nothing."""
        chosen = select(exit_requests).order_by(exit_requests.c.number)
        names = ExitRequest.__struct_fields__
        with self._connections.read() as connection:
            rows = connection.execute(chosen).all()
        return tuple(ExitRequest(**{name: getattr(row, name) for name in names}) for row in rows)


def adoptions_of(connection: Connection) -> tuple[Adoption, ...]:
    """Every adoption, oldest first."""
    names = Adoption.__struct_fields__
    rows = connection.execute(select(adoptions).order_by(adoptions.c.number))
    return tuple(Adoption(**{name: getattr(row, name) for name in names}) for row in rows)


def _adoption(connection: Connection, position: Position) -> Adoption | None:
    found = adoptions_of(connection)
    same = (each for each in found if each.is_of(position))
    return next(same, None)


def _join(connection: Connection, position: Position) -> Decimal:
    """Raise the holding to the position; by how much."""
    chosen = select(holdings).where(holdings.c.symbol == position.symbol).with_for_update()
    row = connection.execute(chosen).one_or_none()
    held = nothing_held(position.symbol) if row is None else dict(row._mapping)  # noqa: SLF001
    beyond = EXACT.subtract(position.quantity, held["quantity"])
    upsert(connection, holdings, {**held, "quantity": position.quantity}, "symbol")
    return beyond
