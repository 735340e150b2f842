"""The audit's books of a stopped deployment, straight from the files of the reference services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from sqlalchemy import Connection, create_engine, exc, inspect, select
from sqlalchemy.pool import NullPool

from engine.audit.books import AccountBook, VenueBook
from engine.domain.messages import SwitchChange
from engine.domain.model import Fill, FillEvent, OrderEvent, Side, VenueOrder
from engine.errors import ServiceUnavailable
from services.execution import records
from services.execution import schema as execution
from services.execution.store import fence, head, switches
from services.portfolio import schema as portfolio

EXECUTION_FILE = "execution.sqlite"
PORTFOLIO_FILE = "portfolio.sqlite"

_decode_event = msgspec.json.Decoder(FillEvent | OrderEvent).decode


def read_account(folder: Path) -> AccountBook:
    """The portfolio's file. Raises ServiceUnavailable where there is none that can be read."""
    with _reading("portfolio", folder / PORTFOLIO_FILE) as connection:
        account = connection.execute(select(portfolio.account)).one()
        held = connection.execute(select(portfolio.positions)).all()
        applied = connection.execute(select(portfolio.fills).order_by(portfolio.fills.c.seq))
        return AccountBook(
            cash=Decimal(account.cash),
            quantities={row.symbol: Decimal(row.quantity) for row in held},
            applied_seq=account.applied_seq,
            foreign=frozenset(row.symbol for row in held if row.strategy is None),
            fills=tuple(
                Fill(
                    seq=row.seq,
                    fill_id=row.fill_id,
                    client_order_id=row.client_order_id,
                    symbol=row.symbol,
                    side=Side(row.side),
                    quantity=Decimal(row.quantity),
                    price=Decimal(row.price),
                    fee=Decimal(row.fee),
                    filled_at=datetime.fromisoformat(row.filled_at),
                    strategy=row.strategy,
                )
                for row in applied
            ),
            starting_cash=Decimal(account.starting_cash),
        )


def read_venue(folder: Path) -> VenueBook:
    """The execution service's file. Raises ServiceUnavailable where it cannot be read."""
    with _reading("execution", folder / EXECUTION_FILE) as connection:
        found = connection.execute(select(execution.orders)).mappings()
        stored = [records.order_of(dict(row)) for row in found]
        texts = select(execution.events.c.event).order_by(execution.events.c.seq)
        return VenueBook(
            fence=fence(connection),
            head=head(connection),
            events=tuple(_decode_event(text) for text in connection.execute(texts).scalars()),
            rows={
                order.client_order_id: msgspec.convert(
                    msgspec.to_builtins(records.answer(order)), VenueOrder
                )
                for order in stored
            },
            bodies={
                order.client_order_id: order.body for order in stored if order.body is not None
            },
            switches=_switches(connection),
        )


def _switches(connection: Connection) -> tuple[SwitchChange, ...] | None:
    """None in a file from before they were kept."""
    if not inspect(connection).has_table(execution.switches.name):
        return None
    return tuple(switches(connection))


@contextmanager
def _reading(service: str, path: Path) -> Iterator[Connection]:
    if not path.exists():
        raise ServiceUnavailable(service, f"{path}: there is no such file")
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    except exc.SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise ServiceUnavailable(service, f"{path}: {reason}") from error
    finally:
        engine.dispose()
