"""Sixteen hours of a real market through the whole product, against a second opinion.

Real Valkey, real worker processes, real HTTP, real candles; every decision, order and fill and the
account after every cycle must be exactly what `tests/oracle_trading.py` works out from the
definitions alone. Needs CANDLES_DIR.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import yaml

from tests.integration.stack import ROOT, Stack, running
from tests.oracle_market import Tape, read_tapes, where_most_have
from tests.oracle_trading import Decision, Placed, Terms, Trader

FILE = Path(os.environ.get("CANDLES_DIR", "")) / "crypto_1h.parquet"
BASES = ("BTC", "ETH", "SOL", "XRP", "DOGE", "LINK", "AVAX", "PEPE", "ACA", "FORTH")
ASKED = [f"{base}/USDT" for base in BASES]
NOT_ASKED = "SUI/USDT"

CYCLES = 16
CANDLES = 584
CASH = Decimal(20_000)
STRATEGY = "cross"
AVERAGES = {"fast": 3, "slow": 8}
COOLDOWN_CANDLES = 6
MIN_CONFIDENCE = 0.75
RISK_PER_ENTRY = Decimal("0.002")
STOP_ATR = Decimal(1)

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not os.environ.get("CANDLES_DIR") or not FILE.is_file(),
        reason="CANDLES_DIR does not name a folder with crypto_1h.parquet",
    ),
]


class AccountAt(NamedTuple):
    """The account after a cycle; positions by pair: quantity, average and market price, since."""

    cash: Decimal
    equity: Decimal
    realized: Decimal
    peak: Decimal
    day_start: Decimal
    positions: dict[str, tuple[Decimal, Decimal, Decimal, datetime]]


class CycleRecord(NamedTuple):
    """What one cycle did: decisions sorted by pair, orders in the sequence of their ranks."""

    market_time: datetime
    decisions: list[Decision]
    orders: list[Placed]
    thin: set[str]
    account: AccountAt


@dataclass(frozen=True)
class Comparison:
    """The same cycles by the product and by the second opinion."""

    product: list[CycleRecord]
    oracle: list[CycleRecord]
    cycles: list[dict[str, Any]]
    stories: list[dict[str, Any]]
    fill_events: list[dict[str, Any]]
    equity_points: list[dict[str, Any]]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    """One run of the product, watched after each cycle, and one of the second opinion."""
    folder = tmp_path_factory.mktemp("real")
    file = _cut(folder / "hours.parquet")
    with running(folder, **_environment(file)) as stack:
        yield _run(stack, _trader(read_tapes(file)))


def _cut(file: Path) -> Path:
    """Some pairs of the real file, as they are."""
    rows = pyarrow.parquet.read_table(FILE)
    wanted = pc.is_in(rows["symbol"], pa.array([*ASKED, NOT_ASKED]))
    pyarrow.parquet.write_table(rows.filter(wanted), file)
    return file


def _environment(file: Path) -> dict[str, str]:
    """All that differs from config.yaml; small batches, so that a cycle spans several."""
    return {
        "SERVICES__MARKET_DATA__FEED": "files",
        "SERVICES__MARKET_DATA__PATH": str(file),
        "SERVICES__STRATEGY__STRATEGIES": json.dumps(
            [{"id": STRATEGY, "name": "sma_cross", "parameters": AVERAGES}]
        ),
        "SERVICES__PORTFOLIO__CASH": str(CASH),
        "SERVICES__EXECUTION__MAX_VOLUME_SHARE": "1",
        "TRADING_ENGINE__ACCOUNT_CURRENCY": "USDT",
        "TRADING_ENGINE__MIN_CONFIDENCE": str(MIN_CONFIDENCE),
        "TRADING_ENGINE__CANDLES": str(CANDLES),
        "TRADING_ENGINE__BATCH_SIZE": "3",
        "SIZING__METHOD": "risk",
        "SIZING__RISK": str(RISK_PER_ENTRY),
        "EXITS__STOP": f"{STOP_ATR} atr",
        "RISK__COOLDOWN_CANDLES": str(COOLDOWN_CANDLES),
    }


def _trader(tapes: dict[str, Tape]) -> Trader:
    """Someone with the same configuration, from the same moment on."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    engine, services = config["trading_engine"], config["services"]
    terms = Terms(
        **AVERAGES,
        candles=CANDLES,
        min_confidence=MIN_CONFIDENCE,
        min_volume_24h=Decimal(config["selection"]["min_volume_24h"]),
        risk_per_entry=RISK_PER_ENTRY,
        stop_atr=STOP_ATR,
        fee=Decimal(str(services["execution"]["fee"])),
        slippage_bps=Decimal(services["execution"]["slippage_bps"]),
        spread_bps=Decimal(services["market_data"]["spread_bps"]),
        max_volume_share=Decimal(1),
        risk={**engine, **config["risk"], "cooldown_candles": COOLDOWN_CANDLES},
    )
    return Trader(tapes, terms, CASH, where_most_have(tapes, CANDLES))


def _run(stack: Stack, trader: Trader) -> Comparison:
    product, oracle, cycles, stories = [], [], [], []
    for _ in range(CYCLES):
        report = stack.cycle(symbols=ASKED)
        cycle = stack.get(f"/cycles/{report['cycle_id']}")
        told = [stack.get(f"/orders/{identity}") for identity in cycle["order_ids"]]
        product.append(
            CycleRecord(
                market_time=_time(cycle["market_time"]),
                decisions=sorted(_decision(each) for each in cycle["decisions"]),
                orders=[_placed(story) for story in told],
                thin=_thin(cycle),
                account=_account(stack.service("portfolio", "/portfolio")),
            )
        )
        decisions, orders = trader.cycle(ASKED)
        oracle.append(
            CycleRecord(
                market_time=_moment(trader.now),
                decisions=sorted(decisions),
                orders=orders,
                thin=trader.thin,
                account=_expected_account(trader),
            )
        )
        cycles.append(cycle)
        stories += told
    events = stack.service("execution", "/events?after=0&limit=1000")["events"]
    fills = [event for event in events if event["type"] == "fill"]
    points = stack.service("portfolio", "/equity")["points"]
    return Comparison(product, oracle, cycles, stories, fills, points)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _thin(cycle: dict[str, Any]) -> set[str]:
    """What was skipped; for its volume, and for nothing else."""
    skipped = {each["symbol"]: each["reason"] for each in cycle["outcomes"] if each["reason"]}
    assert set(skipped.values()) <= {"illiquid"}
    return set(skipped)


def _decision(decision: dict[str, Any]) -> Decision:
    intent, quantity = decision["intent"], Decimal(decision["quantity"])
    assert (decision["verdict"] == "DENIED") is (quantity == 0)
    return Decision(intent["symbol"], intent["side"], quantity, decision["binding_rule"])


def _placed(story: dict[str, Any]) -> Placed:
    order, (fill,) = story["order"], story["fills"]
    assert order["status"] == "FILLED"
    assert Decimal(fill["quantity"]) == Decimal(order["quantity"])
    return Placed(
        symbol=order["symbol"],
        side=order["side"],
        exit_reason=order["exit_reason"],
        quantity=Decimal(order["quantity"]),
        limit_price=Decimal(order["limit_price"]),
        reference_price=Decimal(order["reference_price"]),
        fill_price=Decimal(fill["price"]),
        fee=Decimal(fill["fee"]),
    )


def _account(portfolio: dict[str, Any]) -> AccountAt:
    assert all(each["strategy"] == STRATEGY for each in portfolio["positions"])
    return AccountAt(
        cash=Decimal(portfolio["cash"]),
        equity=Decimal(portfolio["equity"]),
        realized=Decimal(portfolio["realized_pnl"]),
        peak=Decimal(portfolio["peak_equity"]),
        day_start=Decimal(portfolio["day_start_equity"]),
        positions={
            each["symbol"]: (
                Decimal(each["quantity"]),
                Decimal(each["average_price"]),
                Decimal(each["market_price"]),
                _time(each["opened_at"]),
            )
            for each in portfolio["positions"]
        },
    )


def _expected_account(trader: Trader) -> AccountAt:
    account = trader.account
    return AccountAt(
        cash=account.cash,
        equity=account.equity,
        realized=account.realized,
        peak=account.peak,
        day_start=account.day_start,
        positions={
            symbol: (
                each.quantity,
                each.average_price,
                each.mark,
                _moment(each.since),
            )
            for symbol, each in account.held.items()
        },
    )


def test_each_cycle_sees_the_next_hour_of_the_file(compared: Comparison) -> None:
    assert [each.market_time for each in compared.product] == [
        each.market_time for each in compared.oracle
    ]


def test_every_cycle_completes_in_full_trading(compared: Comparison) -> None:
    assert [cycle["status"] for cycle in compared.cycles] == ["COMPLETED"] * CYCLES
    assert all(cycle["batches"]["total"] >= 3 for cycle in compared.cycles)
    assert not any(cycle["degraded"] for cycle in compared.cycles)


def test_a_pair_is_skipped_while_it_is_illiquid(compared: Comparison) -> None:
    assert [each.thin for each in compared.product] == [each.thin for each in compared.oracle]
    assert {len(each.thin) for each in compared.product} == {0, 1}


def test_a_cycle_works_on_the_liquid_pairs_that_were_asked_for(compared: Comparison) -> None:
    for cycle, expected in zip(compared.cycles, compared.oracle, strict=True):
        worked_on = {symbol for batch in cycle["batch_list"] for symbol in batch["symbols"]}
        assert worked_on == set(ASKED) - expected.thin


def test_every_decision_and_the_rule_that_bound_it_are_as_defined(compared: Comparison) -> None:
    assert [each.decisions for each in compared.product] == [
        each.decisions for each in compared.oracle
    ]


def test_every_order_and_its_fill_are_as_defined(compared: Comparison) -> None:
    """In the order of their ranks: exits, then the most confident entries."""
    assert [each.orders for each in compared.product] == [each.orders for each in compared.oracle]


def test_the_account_after_every_cycle_is_as_defined_to_the_last_digit(
    compared: Comparison,
) -> None:
    assert [each.account for each in compared.product] == [each.account for each in compared.oracle]


def test_the_equity_curve_is_that_of_the_account(compared: Comparison) -> None:
    curve = [
        (_time(point["time"]), Decimal(point["equity"]), Decimal(point["cash"]))
        for point in compared.equity_points
    ]
    assert curve == [
        (each.market_time, each.account.equity, each.account.cash) for each in compared.oracle
    ]


def test_ledger_and_execution_service_know_the_same_fills(compared: Comparison) -> None:
    """Each once, in one gap-free log, at the market time of its cycle."""
    told = [fill for story in compared.stories for fill in story["fills"]]
    events = [{k: v for k, v in each.items() if k != "type"} for each in compared.fill_events]
    assert sorted(told, key=lambda fill: fill["seq"]) == events
    assert len({fill["fill_id"] for fill in events}) == len(events)
    expected = Counter(
        {each.market_time: len(each.orders) for each in compared.oracle if each.orders}
    )
    assert Counter(_time(fill["filled_at"]) for fill in events) == expected


def test_there_was_something_to_compare(compared: Comparison) -> None:
    """Entries sized by their risk and by caps, refusals, strategy exits, stops, a new day."""
    placed = [order for each in compared.product for order in each.orders]
    reasons = Counter(order.exit_reason for order in placed)
    assert reasons[""] >= 5
    assert reasons["signal"] >= 2
    assert reasons["stop"] >= 2
    rules = {decision.rule for each in compared.product for decision in each.decisions}
    assert rules >= {
        "sizing.risk",
        "max_position_size_pct",
        "min_cash",
        "min_notional",
        "cooldown_candles",
        "position",
    }
    assert len({each.market_time.date() for each in compared.product}) == 2
    assert compared.product[-1].account.positions
    assert compared.product[-1].account.equity != CASH
