"""What an operator asks and does beside the schedule: positions, decisions, alerts, traces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest

from engine.domain.candles import Candles
from engine.domain.ledger_values import NewAlert
from engine.domain.model import Position, TradingState, Verdict
from engine.ledger.schema import disabled_strategies
from engine.settings import Settings
from tests.control_fakes import NOON, Bench, account, make_bench
from tests.factories import make_candles
from tests.ledger_world import World, entry, verdict

DAY = timedelta(days=1)
HOUR_MS = 3_600_000


class Cached:
    """A candle cache that holds one symbol."""

    def __init__(self, candles: Candles) -> None:
        self.candles = candles

    def load(self, symbols: list[str], timeframe: str) -> dict[str, Candles]:
        return {symbol: self.candles for symbol in symbols if symbol == "BTC/USD"}


@pytest.fixture
def world(bench: Bench) -> World:
    """Cycles with candidates in the ledger of the app."""
    return World(bench.ledger, bench.clock.at)


def hold(bench: Bench, *positions: Position, seq: int = 0) -> None:
    """The portfolio's last word."""
    snapshot = msgspec.structs.replace(account(applied_seq=seq), positions=positions)
    bench.ledger.state.save_snapshot(snapshot)


def held(symbol: str, quantity: str = "2", strategy: str | None = "sma_cross") -> Position:
    return Position(
        symbol=symbol,
        quantity=Decimal(quantity),
        average_price=Decimal(100),
        market_price=Decimal(110),
        strategy=strategy,
        opened_at=NOON - DAY,
        version=1,
    )


def test_positions_are_shown_with_profit_share_and_owner(bench: Bench) -> None:
    hold(bench, held("ETH/USD", "1"), held("BTC/USD", "20"), held("LTC/USD", "5", None))
    shown = bench.get("/positions").json
    assert [row["symbol"] for row in shown["items"]] == ["BTC/USD", "LTC/USD", "ETH/USD"]
    first = shown["items"][0]
    assert (first["value"], first["profit"]) == ("2200", "200")
    assert (first["share"], first["profit_share"]) == ("0.022000", "0.100000")
    assert shown["items"][1]["strategy"] is None
    assert (shown["count"], shown["unrealised"], shown["currency"]) == (3, "260", "USD")


def test_positions_are_paged_in_their_order(bench: Bench) -> None:
    hold(bench, *(held(f"S{index}/USD", str(9 - index)) for index in range(5)))
    first = bench.get("/positions?limit=2").json
    second = bench.get(f"/positions?limit=2&before={first['next_before']}").json
    last = bench.get(f"/positions?limit=2&before={second['next_before']}").json
    names = [row["symbol"] for page in (first, second, last) for row in page["items"]]
    assert names == [f"S{index}/USD" for index in range(5)]
    assert last["next_before"] is None


def test_no_account_yet_is_an_empty_list(bench: Bench) -> None:
    shown = bench.get("/positions").json
    assert (shown["items"], shown["as_of"], shown["equity"]) == ([], None, None)


def test_a_position_shows_the_stop_of_its_entry(bench: Bench, world: World) -> None:
    world.trade(entry(stop_price=Decimal(95)))
    hold(bench, held("BTC/USD"))
    assert bench.get("/positions").json["items"][0]["stop_price"] == "95"


def test_closing_a_position_is_a_wish_that_the_next_cycle_finds(bench: Bench) -> None:
    hold(bench, held("BTC/USD"))
    asked = bench.post("/positions/BTC/USD/close", {"reason": "too big"})
    assert asked.status_code == 202
    assert (asked.json["requested"], asked.json["changed"]) == (True, True)
    facts = bench.ledger.orders.symbol_facts(["BTC/USD"], NOON)
    assert "too big" in facts["BTC/USD"].exits_requested[NOON - DAY]
    assert bench.get("/positions").json["items"][0]["exit_requested"] == "too big"
    assert bench.post("/positions/BTC%2FUSD/close").json["changed"] is False


def test_what_is_not_held_or_foreign_is_not_closed(bench: Bench) -> None:
    hold(bench, held("LTC/USD", strategy=None))
    assert bench.post("/positions/BTC/USD/close").status_code == 404
    refused = bench.post("/positions/LTC/USD/close")
    assert refused.status_code == 409
    assert "adopt it" in refused.json["detail"]
    assert bench.ledger.positions.exit_requests() == ()


def test_a_foreign_position_is_adopted_and_can_then_be_closed(bench: Bench) -> None:
    alert = NewAlert(key="foreign_position|LTC/USD", name="x", severity="warning", detail="")
    bench.ledger.state.raise_alert(alert, NOON)
    hold(bench, held("LTC/USD", strategy=None))
    asked = bench.post("/positions/LTC/USD/adopt", {"strategy": "macd"})
    assert (asked.status_code, asked.json["changed"]) == (200, True)
    [row] = bench.get("/positions").json["items"]
    assert (row["strategy"], row["adopted"]) == ("macd", True)
    assert bench.get("/alerts?state=open").json["items"] == []
    assert bench.post("/positions/LTC/USD/close").status_code == 202


@pytest.mark.parametrize("strategy", ["nobody", "sma_cross"])
def test_only_a_foreign_position_is_adopted_and_by_a_known_strategy(
    bench: Bench, strategy: str
) -> None:
    hold(bench, held("BTC/USD"), held("LTC/USD", strategy=None))
    symbol = "LTC/USD" if strategy == "nobody" else "BTC/USD"
    answer = bench.post(f"/positions/{symbol}/adopt", {"strategy": strategy})
    assert answer.status_code == 409
    assert bench.ledger.positions.adoptions() == ()


def test_a_throttled_strategy_is_let_loose_again(bench: Bench) -> None:
    row = {"symbol": "BTC/USD", "strategy": "macd", "since": NOON, "reason": "5 repeats"}
    with bench.ledger._connections.write() as connection:
        connection.execute(disabled_strategies.insert(), row)
    key = "strategy_disabled|macd|BTC/USD|1"
    alert = NewAlert(key=key, name="strategy_disabled", severity="warning", detail="")
    bench.ledger.state.raise_alert(alert, NOON)
    shown = {each["strategy"]: each for each in bench.get("/strategies").json["items"]}
    assert shown["macd"]["disabled"][0]["reason"] == "5 repeats"
    assert bench.post("/strategies/macd/enable").json == {
        "strategy": "macd",
        "changed": True,
        "symbols": ["BTC/USD"],
    }
    assert bench.ledger.operator.disabled_strategies() == ()
    assert bench.get("/alerts?state=open").json["items"] == []
    assert bench.post("/strategies/nobody/enable").status_code == 404


def test_reduce_lowers_and_never_raises(bench: Bench) -> None:
    answer = bench.post("/reduce", {"reason": "weekend"})
    assert answer.json == {"trading_state": "REDUCING", "operator": "REDUCING", "changed": True}
    assert bench.post("/reduce", {"reason": "again"}).json["changed"] is False
    assert bench.ledger.state.read().operator_reason == "weekend"
    bench.post("/halt", {"reason": "now"})
    assert bench.post("/reduce", {"reason": "less"}).status_code == 409
    assert bench.ledger.state.read().effective is TradingState.HALTED
    assert not any(call.startswith("resume") for call in bench.execution.calls)


def test_states_tell_who_changed_what_and_what_held(bench: Bench) -> None:
    bench.post("/halt", {"reason": "odd prices"})
    bench.ledger.state.latch("drawdown", TradingState.HALTED, "16 %", NOON)
    latest, first = bench.get("/states").json["items"]
    assert (first["actor"], first["effective"]) == ("local", "HALTED")
    assert "odd prices" in first["what"]
    cause = {"kind": "latched", "cause": "drawdown", "level": "HALTED", "detail": "16 %"}
    assert latest["causes"] == [cause]


def test_a_decision_of_any_verdict_is_listed_with_its_rule(bench: Bench, world: World) -> None:
    cycle = world.open()
    world.plan(cycle, ("BTC/USD", "ETH/USD"))
    denied = verdict(entry("ETH/USD"), Verdict.DENIED)
    world.report(cycle.cycle_id, 0, entry(), denied=(denied,))
    (order,) = world.allocate(cycle)
    rows = bench.get("/decisions").json["items"]
    assert {row["symbol"]: row["client_order_id"] for row in rows} == {
        "BTC/USD": order.client_order_id,
        "ETH/USD": None,
    }
    [row] = bench.get("/decisions?verdict=DENIED").json["items"]
    assert (row["symbol"], row["binding_rule"]) == ("ETH/USD", "attempts")
    assert row["why"].endswith("denied: attempts")
    assert bench.get("/decisions?cycle=none").json["items"] == []
    assert len(bench.get("/decisions?symbol=BTC/USD").json["items"]) == 1
    story = bench.get(f"/decisions/{row['decision_id']}").json
    assert story["decision"]["verdict"] == "DENIED"
    assert story["row"] == row


@pytest.mark.parametrize("path", ["/decisions/9", "/decisions/x", "/decisions/9/candles"])
def test_a_decision_that_is_not_there_is_not_found(bench: Bench, path: str) -> None:
    assert bench.get(path).status_code == 404
    assert bench.get(f"/decisions/{'9' * 40}").status_code == 404


def test_an_alert_is_acknowledged_once_and_by_name(bench: Bench) -> None:
    alert = NewAlert(key="execution|down", name="execution_down", severity="critical", detail="")
    bench.ledger.state.raise_alert(alert, NOON)
    [row] = bench.get("/alerts").json["items"]
    assert row["runbook"] == "docs/operations.md#execution_down"
    assert row["acknowledged_at"] is None
    seen = bench.post(f"/alerts/{row['alert_id']}/ack").json
    assert (seen["acknowledged_at"], seen["acknowledged_by"]) == ("2025-11-22T12:00:00Z", "local")
    bench.clock.at += timedelta(minutes=1)
    again = bench.post(f"/alerts/{row['alert_id']}/ack").json
    assert again["acknowledged_at"] == seen["acknowledged_at"]
    assert bench.post("/alerts/99/ack").status_code == 404
    assert bench.post("/alerts/x/ack").status_code == 404


def test_the_audit_is_shown_newest_first(bench: Bench) -> None:
    bench.post("/stop")
    bench.post("/positions/BTC/USD/close")
    latest, first = bench.get("/audit").json["items"]
    assert (first["route"], latest["status"]) == ("/stop", 404)
    assert latest["route"] == "/positions/<path:symbol>/close"


def test_the_candles_of_an_order_end_with_the_one_it_was_decided_on(
    settings: Settings,
) -> None:
    made = make_bench(settings)
    world = World(made.ledger, made.clock.at)
    order = world.trade(entry())
    decided = int(order.market_time.timestamp() * 1000) - HOUR_MS
    series = make_candles([100.0 + index for index in range(60)], end=decided + 20 * HOUR_MS)
    object.__setattr__(made.desk.engine, "cache", cast("Any", Cached(series)))
    path = f"/orders/{order.client_order_id}/candles"
    shown = made.get(path).json
    assert shown["candle_time"] == decided == shown["candles"]["time"][-1]
    assert len(shown["candles"]["close"]) == 40
    assert (shown["source"], shown["timeframe_s"]) == ("cache", 3600)
    object.__setattr__(made.desk.engine, "cache", cast("Any", Cached(series.tail(5))))
    assert made.get(path).status_code == 404
    world.keep({"BTC/USD": series})
    kept = made.get(path).json
    assert kept["source"] == "ledger"
    assert kept["candles"] == shown["candles"]
    made.ledger.dispose()


def test_the_trace_goes_from_the_request_to_the_fill(bench: Bench, world: World) -> None:
    order = world.trade(entry())
    trace = bench.get(f"/cycles/{order.cycle_id}/trace").json
    steps = [event["what"] for event in trace["events"]]
    assert steps[0] == "requested"
    assert steps.index("planned") <= steps.index("allocated")
    assert {"RESERVED", "SENDING", "FILLED", "fill"} <= set(steps)
    assert [event["at"] for event in trace["events"]] == sorted(
        event["at"] for event in trace["events"]
    )
    mine = [event for event in trace["events"] if event["client_order_id"]]
    assert {event["client_order_id"] for event in mine} == {order.client_order_id}
    assert bench.get("/cycles/none/trace").status_code == 404


def test_a_cycle_whole_has_its_steps_and_orders(bench: Bench, world: World) -> None:
    order = world.trade(entry())
    shown = bench.get(f"/cycles/{order.cycle_id}").json
    assert [row["client_order_id"] for row in shown["order_list"]] == shown["order_ids"]
    assert shown["steps"][0]["step"] == "select"
    assert shown["batch_list"][0]["began_at"] is not None
    assert shown["deadline_at"] > shown["cutoff_at"]


def test_an_order_says_which_rule_set_its_size(bench: Bench, world: World) -> None:
    order = world.trade(entry())
    [row] = bench.get("/orders").json["items"]
    assert (row["binding_rule"], row["confidence"]) == ("max_position_size_pct", 0.8)
    assert bench.get(f"/orders/{order.client_order_id}").json["batch"] == 0


def test_status_tells_the_market_the_steps_and_what_is_open(bench: Bench) -> None:
    cycle_id = bench.open_cycle()
    bench.plan_cycle(cycle_id, account(), NOON)
    shown = bench.get("/status").json
    assert shown["market"]["feed"] == "simulated"
    assert (shown["market"]["clock"], shown["market"]["speed"]) == ("replay", 30.0)
    assert shown["current_cycle"]["progress"]["steps"][0]["step"] == "select"
    assert shown["current_cycle"]["signals"]["received"] == 0
    bench.close_cycle(cycle_id)
    shown = bench.get("/status").json
    assert shown["last_cycle_steps"][0]["step"] == "select"
    assert shown["alerts_open"] == 0
    assert shown["flower_url"].startswith("http://127.0.0.1:")


def test_the_largest_position_is_a_limit_of_its_own(bench: Bench) -> None:
    hold(bench, held("BTC/USD", "100"), held("ETH/USD", "1"))
    limits = {limit["name"]: limit for limit in bench.get("/status").json["limits"]}
    row = limits["max_position_size_pct"]
    assert (row["used"], row["limit"]) == ("0.110000", "0.2")
    assert row["effect"] == "no further entry in BTC/USD"


@pytest.mark.parametrize("path", ["/cycles", "/orders", "/positions", "/alerts", "/decisions"])
def test_a_list_that_did_not_change_is_304_and_empty(bench: Bench, path: str) -> None:
    first = bench.get(path)
    same = bench.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    bench.post("/cycle")
    hold(bench, held("BTC/USD"))
    changed = bench.get("/cycles", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_a_repeated_wish_for_an_exit_gets_the_first_answer_again(bench: Bench) -> None:
    hold(bench, held("BTC/USD"))
    key = {"Idempotency-Key": "wish-1"}
    first = bench.post("/positions/BTC/USD/close", {}, headers=key)
    again = bench.post("/positions/BTC/USD/close", {}, headers=key)
    assert again.headers["Idempotent-Replay"] == "true"
    assert again.data == first.data


def events(bench: Bench, last: str = "") -> Iterator[tuple[str, str]]:
    """(id, kind) of each event."""
    stream = bench.get("/events", headers={"Last-Event-ID": last} if last else {}, buffered=False)
    try:
        for piece in stream.response:
            fields = dict(line.split(": ", 1) for line in piece.decode().strip().splitlines())
            assert json.loads(fields["data"]) == {"kind": fields["event"]}
            yield fields["id"], fields["event"]
    finally:
        stream.close()


def until(stream: Iterator[tuple[str, str]], kind: str) -> str:
    """The id of the next event of this kind; pytest's timeout bounds the wait."""
    return next(identity for identity, found in stream if found == kind)


def test_the_stream_begins_with_a_beat_and_tells_of_every_change(bench: Bench) -> None:
    stream = events(bench)
    assert next(stream)[1] == "beat"
    bench.app.extensions["events"]._compare(bench.ledger.operator.marks())
    bench.post("/halt", {"reason": "now"})
    until(stream, "state")
    alert = NewAlert(key="a", name="a", severity="warning", detail="")
    bench.ledger.state.raise_alert(alert, NOON)
    until(stream, "alerts")
    bench.post("/cycle")
    until(stream, "cycle")
    stream.close()


def test_a_stream_goes_on_where_it_broke_and_says_when_it_cannot(bench: Bench) -> None:
    first, other = events(bench), events(bench)
    next(other)
    identity = next(first)[0]
    feed = bench.app.extensions["events"]
    feed._compare(bench.ledger.operator.marks())
    first.close()
    bench.post("/halt", {"reason": "now"})
    again = events(bench, identity)
    until(again, "state")
    strange = events(bench, "other-7")
    assert next(strange)[1] == "resync"
    for stream in (other, again, strange):
        stream.close()


def test_what_changed_while_nobody_listened_leads_to_a_resync(bench: Bench) -> None:
    first = events(bench)
    identity = next(first)[0]
    first.close()
    feed = bench.app.extensions["events"]
    while feed._looking is not None:
        feed._looking.join(1)
    bench.post("/halt", {"reason": "now"})
    again = events(bench, identity)
    assert next(again)[1] == "resync"
    again.close()


def test_streams_are_bounded_and_give_their_place_back(settings: Settings) -> None:
    made = make_bench(
        settings.model_copy(update={"api": settings.api.model_copy(update={"streams": 1})})
    )
    first = events(made)
    next(first)
    refused = made.get("/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json["type"].endswith("/streams")
    first.close()
    second = events(made)
    assert next(second)[1] == "beat"
    second.close()
    made.ledger.dispose()
