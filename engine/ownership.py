"""Whose a position is: as the portfolio says, or as an operator decided."""

from __future__ import annotations

from engine.domain.ledger_values import NewAlert, with_owners
from engine.domain.model import PortfolioSnapshot
from engine.ports import Engine

FOREIGN_POSITION = "foreign_position"


def alert_key(symbol: str) -> str:
    """What the alert of a foreign position is about."""
    return f"{FOREIGN_POSITION}|{symbol}"


def with_adopted(engine: Engine, snapshot: PortfolioSnapshot | None) -> PortfolioSnapshot | None:
    """The account with adopted positions in the hands of their strategies."""
    if snapshot is None or all(held.strategy is not None for held in snapshot.positions):
        return snapshot
    return with_owners(snapshot, engine.ledger.positions.adoptions())


def tell_of_foreign(engine: Engine, snapshot: PortfolioSnapshot | None, cycle_id: str) -> None:
    """Raise an alert for each position that nobody of the engine opened or adopted."""
    for held in snapshot.positions if snapshot is not None else ():
        if held.strategy is None and held.quantity > 0:
            alert = NewAlert(
                key=alert_key(held.symbol),
                name=FOREIGN_POSITION,
                severity="warning",
                detail=f"{held.symbol}: {held.quantity:f} held that no strategy opened; adopt it",
                cycle_id=cycle_id,
            )
            engine.ledger.state.raise_alert(alert, engine.clock.now())
