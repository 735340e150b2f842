"""What an operator decides of positions: adoption of a foreign one, and the wish to leave one."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from engine.domain.ledger_values import with_owners
from engine.domain.model import Position
from engine.errors import Refused
from engine.ledger.audit import findings
from engine.ledger.schema import holdings
from tests.factories import NOW, make_exit, make_snapshot
from tests.ledger_world import World, entry


def foreign(symbol: str = "ETH/USD", quantity: str = "5") -> Position:
    """A holding that no strategy of the engine opened."""
    return Position(
        symbol=symbol,
        quantity=Decimal(quantity),
        average_price=Decimal(100),
        market_price=Decimal(110),
        strategy=None,
        opened_at=NOW,
        version=0,
    )


def adopt(world: World, position: Position, strategy: str = "sma_cross") -> bool:
    reached = world.ledger.orders.contiguous_seq()
    return world.ledger.positions.adopt(position, strategy, reached, "desk", world.now)


def breaches(world: World) -> list[str]:
    with world.ledger.reading() as connection:
        found = findings(connection, world.ledger.max_fee, world.now + timedelta(hours=1))
        return [finding.subject for finding in found if finding.invariant == "I8"]


def test_an_adopted_position_joins_the_holdings_and_its_sale_is_no_contradiction(
    world: World,
) -> None:
    assert adopt(world, foreign())
    assert world.ledger.orders.position_sums() == {"ETH/USD": "5"}
    assert breaches(world) == []
    world.trade(make_exit("ETH/USD", quantity=Decimal(5)))
    assert world.ledger.orders.position_sums() == {}
    assert breaches(world) == []


def test_an_adoption_happens_once_and_is_not_taken_over(world: World) -> None:
    assert adopt(world, foreign())
    assert not adopt(world, foreign())
    assert world.ledger.orders.position_sums() == {"ETH/USD": "5"}
    with pytest.raises(Refused, match="given to sma_cross"):
        adopt(world, foreign(), "macd")


def test_an_account_that_is_not_up_to_date_is_not_adopted_from(world: World) -> None:
    with pytest.raises(Refused, match="up to date"):
        world.ledger.positions.adopt(foreign(), "sma_cross", 99, "desk", world.now)
    assert world.ledger.positions.adoptions() == ()


def test_adoption_owns_that_very_position_and_no_later_one(world: World) -> None:
    adopt(world, foreign())
    later = Position(**{**_fields(foreign()), "opened_at": NOW + timedelta(hours=1)})
    snapshot = make_snapshot(positions=(foreign(), later))
    owners = [
        held.strategy
        for held in with_owners(snapshot, world.ledger.positions.adoptions()).positions
    ]
    assert owners == ["sma_cross", None]


def test_a_late_fill_is_put_before_the_adoption_that_came_after_it(world: World) -> None:
    """What a position is made of is counted again in the order of the log."""
    order = world.trade(entry("ETH/USD"))
    adopt(world, foreign(quantity="5"))
    assert world.ledger.orders.position_sums() == {"ETH/USD": "5"}
    with world.ledger._connections.write() as connection:
        held = connection.execute(holdings.select()).mappings().one()
        assert held["last_seq"] > 0
    [adoption] = world.ledger.positions.adoptions()
    assert adoption.quantity == 5 - order.quantity
    assert breaches(world) == []


def test_an_exit_is_asked_for_once_and_the_symbols_facts_tell_of_it(world: World) -> None:
    positions = world.ledger.positions
    assert positions.request_exit(foreign(), "too big", "desk", world.now)
    assert not positions.request_exit(foreign(), "again", "desk", world.now)
    facts = world.ledger.orders.symbol_facts(["ETH/USD", "BTC/USD"], world.now)
    assert facts["ETH/USD"].exits_requested == {NOW: "too big (asked for by desk)"}
    assert facts["BTC/USD"].exits_requested == {}
    assert [request.reason for request in positions.exit_requests()] == ["too big"]


def _fields(position: Position) -> dict[str, object]:
    return {name: getattr(position, name) for name in Position.__struct_fields__}
