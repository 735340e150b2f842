"""What holds over several cycles, and the edges of single cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import requests

from engine.domain.messages import MonitoringEvent
from engine.domain.model import TradingState
from engine.errors import ServiceError
from engine.pipeline import execute, finish
from tests.degraded.faulty_front import Spoil
from tests.degraded.world import Guarded, Made, sent_bodies

PATIENT = '{"failures": 1000, "reset_s": 15, "max_reset_s": 120}'


class MovingClock:
    """Wall time that can be moved on."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def sleep(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@pytest.mark.parametrize("service", ["market_data", "portfolio"])
def test_entries_come_back_after_two_good_cycles(service: str, made: Made) -> None:
    with made(**{f"SERVICES__{service.upper()}__BREAKER": PATIENT}) as world:
        world.spoil(service, "500")
        assert (world.look().state, world.look().state) == ("REDUCING", "REDUCING")
        world.fronts[service].heal()
        seen = [world.look() for _ in range(3)]
        assert [each.state for each in seen] == ["REDUCING", "REDUCING", "ACTIVE"]
        assert [each.entries > 0 for each in seen] == [False, False, True]


def test_a_bad_cycle_between_starts_the_count_anew(made: Made) -> None:
    with made(SERVICES__MARKET_DATA__BREAKER=PATIENT) as world:
        front = world.fronts["market_data"]
        states = []
        for fault in ("500", "", "500", "", "", ""):
            front.fault = fault
            states.append(world.look().state)
        assert states == ["REDUCING"] * 5 + ["ACTIVE"]


def test_after_the_portfolios_return_exits_go_on_at_once(made: Made) -> None:
    with made(SERVICES__PORTFOLIO__BREAKER=PATIENT) as world:
        last = world.engine.ledger.state.last_snapshot()
        assert last is not None
        aged = msgspec.structs.replace(last, as_of=datetime.now(UTC) - timedelta(seconds=301))
        world.engine.ledger.state.save_snapshot(aged)
        world.spoil("portfolio", "500")
        away = world.look()
        assert (away.entries, away.exits, away.state) == (0, 0, "HALTED")
        world.fronts["portfolio"].heal()
        back = world.look()
        assert (back.entries, back.exits, back.state) == (0, 3, "REDUCING")
        [cause] = world.status()["state"]["derived"]
        assert cause["cause"] == "portfolio_returned"


def test_an_exit_does_not_use_a_price_older_than_one_and_a_half_intervals(made: Made) -> None:
    with made() as world:
        held = [each.symbol for each in world.engine.portfolio.snapshot().positions]
        kept = world.engine.cache.load_quotes(held)
        assert set(kept) == set(held)
        age = timedelta(seconds=1.5 * world.engine.settings.trading_engine.cycle_interval + 1)
        aged = {
            name: msgspec.structs.replace(quote, as_of=datetime.now(UTC) - age)
            for name, quote in kept.items()
        }
        world.engine.cache.save_quotes(aged)
        world.spoil("market_data", "500")
        seen = world.look()
        assert (seen.entries, seen.exits) == (0, 0)
        assert seen.report.orders.denied == 3


def inside_out(names: Sequence[str]) -> Spoil:
    """Highs and lows of these symbols are exchanged."""

    def spoil(answer: Any) -> Any:
        if "candles" not in answer:
            return answer
        for name in answer["candles"].keys() & set(names):
            columns = answer["candles"][name]
            columns["high"], columns["low"] = columns["low"], columns["high"]
        return answer

    return spoil


@pytest.mark.parametrize(
    ("bad", "state"), [(["XRP/USD"], "ACTIVE"), (["SOL/USD", "XRP/USD"], "REDUCING")]
)
def test_a_bad_symbol_is_skipped_alone_and_too_many_stop_all_entries(
    bad: list[str], state: str, made: Made
) -> None:
    with made() as world:
        world.fronts["market_data"].spoil = inside_out(bad)
        seen = world.look()
        assert seen.state == state
        assert (seen.entries > 0) is (state == "ACTIVE")
        assert seen.exits == 3
        assert seen.report.skips == {"inverted": len(bad)}
        reasons = [entry.reason for entry in seen.report.degraded]
        too_many = "2 of 6 symbols without usable candles, more than 20%"
        assert reasons == ([] if state == "ACTIVE" else [too_many])


def test_an_account_that_contradicts_itself_at_the_barrier_is_latched(made: Made) -> None:
    with made() as world:
        plan = world.open()
        assert plan is not None
        world.spoil("portfolio", "contradiction")
        world.decide(plan)
        state = world.engine.ledger.state.read()
        assert [latch.cause for latch in state.latched] == ["portfolio_contradiction"]
        assert state.effective is TradingState.HALTED


def test_what_monitoring_missed_arrives_later_in_order_and_once(made: Made) -> None:
    with made(SERVICES__MONITORING__BREAKER=PATIENT) as world:
        front = world.fronts["monitoring"]
        front.fault = "500"
        cycles = [world.look().report.cycle_id for _ in range(3)]
        front.fault, front.only = "hangs", "POST /events"  # taken, and nobody hears of it
        with suppress(ServiceError):
            world.engine.monitoring.publish(())
        front.heal()
        world.engine.monitoring.publish(())
        url = f"http://127.0.0.1:{world.settings.services.monitoring.port}/events?limit=100"
        events = requests.get(url, timeout=5).json()["events"]
        mine = [each["cycle_id"] for each in reversed(events) if each["cycle_id"] in cycles]
        assert mine == cycles


def test_the_spool_is_bounded_and_keeps_the_newest(made: Made) -> None:
    with made(SERVICES__MONITORING__SPOOL_EVENTS="5") as world:
        world.spoil("monitoring", "down")
        for number in range(8):
            with suppress(ServiceError):
                world.engine.monitoring.publish([event(number)])
        lines = (world.folder / "monitoring_spool.jsonl").read_bytes().splitlines()
        assert len(lines) == 5
        assert msgspec.json.decode(lines[-1])["type"] in {"breaker_changed", "drill"}


def event(number: int) -> MonitoringEvent:
    return MonitoringEvent(
        event_id=f"e{number}", type="drill", at=datetime.now(UTC), severity="info"
    )


def test_a_cycle_out_of_time_sheds_entries_before_exits_and_says_so(made: Made) -> None:
    with made() as world:
        clock, present = MovingClock(), world.engine
        engine = world.engine = dataclasses.replace(world.engine, clock=clock)
        plan = world.open()
        assert plan is not None
        orders = world.decide(plan)
        world.fronts["execution"].told = lambda asked: (
            clock.sleep(22) if asked.path == "/orders" else None
        )
        assert world.open() is None  # the tick that comes meanwhile
        execute.run(engine, plan.cycle_id, [order.client_order_id for order in orders])
        report = finish.run(engine, plan.cycle_id)
        sent = sent_bodies(world.fronts["execution"].reached)
        assert [body["reduce_only"] for body in sent] == [True, True, True, False]
        assert report.reason == "2 of 6 orders were not sent, 0 of them exits"
        world.engine = present
        assert world.look().report.status.value == "COMPLETED"  # and it recovers
        skipped = world.ledger.queries.cycles(10, None).items[1]
        assert (skipped.status.value, plan.cycle_id in skipped.reason) == ("SKIPPED", True)


def test_a_changed_breaker_is_an_event(made: Made) -> None:
    with made() as world:
        world.spoil("strategy", "down")
        for _ in range(5):
            with suppress(ServiceError):
                world.engine.probes["strategy"]()
        world.engine.monitoring.publish(())
        assert told(world, "breaker_changed") == [
            {"service": "strategy", "before": "closed", "after": "open"}
        ]


def told(world: Guarded, kind: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{world.settings.services.monitoring.port}/events?type={kind}"
    return [each["data"] for each in requests.get(url, timeout=5).json()["events"]]
