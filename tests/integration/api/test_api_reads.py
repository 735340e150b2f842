"""What the API shows: status, health, lists, performance, metrics, configuration, page."""

from __future__ import annotations

import json
import posixpath
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from engine.domain.cycle import CycleStatus, Degradation
from engine.domain.model import TradingState
from engine.settings import Settings
from tests.control_fakes import NOON, Bench, account, make_bench
from tests.factories import make_exit
from tests.ledger_world import World, entry
from web.routing import site_of

STATUS_FIELDS = {
    *("service", "version", "account", "mode", "simulated", "market_time", "schedule"),
    *("trading_state", "latched", "limits", "degraded", "cycle_interval", "next_cycle_at"),
    *("current_cycle", "last_cycle", "workers", "beat", "queues", "services", "portfolio"),
    "performance",
}
SERVICE_NAMES = ["market_data", "strategy", "portfolio", "execution", "monitoring"]


def finished(bench: Bench, key: str, status: CycleStatus = CycleStatus.COMPLETED) -> str:
    """A closed cycle."""
    cycle_id = bench.open_cycle(key)
    bench.close_cycle(cycle_id, status)
    return cycle_id


def test_status_has_every_field_of_the_contract(bench: Bench) -> None:
    assert set(bench.get("/status").json) >= STATUS_FIELDS


def test_status_has_every_nested_field_of_the_contract(bench: Bench) -> None:
    cycle_id = bench.open_cycle("schedule|a")
    bench.plan_cycle(cycle_id, account(), NOON)
    bench.close_cycle(cycle_id)
    bench.open_cycle("schedule|b")
    bench.ledger.state.latch("max_drawdown", TradingState.HALTED, "16 %", NOON)
    bench.open_circuits["monitoring"] = "open"
    shown = bench.get("/status").json
    assert set(shown["latched"][0]) == {"cause", "since", "detail"}
    assert set(shown["limits"][0]) == {"name", "used", "limit", "unit", "effect"}
    assert set(shown["degraded"][0]) == {"service", "reason", "since", "effect"}
    assert set(shown["workers"][0]) == {
        *("name", "queues", "processes", "last_seen_at", "active", "cpu_percent", "memory_mb"),
    }
    assert set(shown["beat"]) == {"alive", "last_tick_at"}
    assert set(shown["queues"]) == {"cycle", "batch", "execute", "upkeep"}
    assert list(shown["services"]) == SERVICE_NAMES
    assert set(shown["services"]["portfolio"]) == {
        *("url", "breaker", "last_ok_at", "latency_ms", "error_rate"),
    }
    assert set(shown["portfolio"]) >= {
        *("equity", "cash", "positions", "day_pnl", "drawdown", "as_of"),
    }
    assert set(shown["performance"]) == {
        *("cycles", "success_rate", "trade_success_rate", "symbols_per_cycle", "cycle_seconds"),
    }
    assert set(shown["performance"]["cycle_seconds"]) == {"p50", "p95"}
    assert set(shown["current_cycle"]["progress"]) >= {"stage", "cutoff_at", "deadline_at"}
    assert shown["last_cycle"]["cycle_id"] == cycle_id


def test_status_before_the_first_cycle_says_that_there_is_none(bench: Bench) -> None:
    shown = bench.get("/status").json
    assert (shown["current_cycle"], shown["last_cycle"], shown["portfolio"]) == (None, None, None)
    assert shown["limits"] == []
    assert shown["schedule"] == "stopped"
    assert shown["next_cycle_at"] is None
    assert shown["performance"]["success_rate"] is None


def test_status_calls_no_service(bench: Bench) -> None:
    for service in (bench.market_data, bench.portfolio, bench.execution):
        service.away = True
    assert bench.get("/status").status_code == 200
    assert bench.get("/health").json["status"] == "ok"


def test_status_answers_without_redis(bench: Bench) -> None:
    bench.post("/start")
    bench.redis_away()
    shown = bench.get("/status")
    assert shown.status_code == 200
    assert shown.json["workers"] == []
    assert shown.json["next_cycle_at"] is None
    assert {entry["service"] for entry in shown.json["degraded"]} >= {"redis", "workers", "beat"}


def test_status_without_the_ledger_is_503(bench: Bench) -> None:
    bench.break_ledger()
    assert bench.get("/status").status_code == 503


def test_next_cycle_is_the_entrys_due_time(bench: Bench) -> None:
    bench.post("/start")
    assert bench.get("/status").json["next_cycle_at"] == "2025-11-22T12:02:00Z"


def test_next_cycle_is_one_interval_after_the_last_while_beat_has_no_entry(bench: Bench) -> None:
    bench.post("/start")
    finished(bench, "schedule|a")
    bench.schedule.due_at = None
    bench.clock.at = NOON + timedelta(seconds=150)
    assert bench.get("/status").json["next_cycle_at"] == "2025-11-22T12:04:00Z"


def test_an_open_circuit_is_degraded_with_what_is_not_done(bench: Bench) -> None:
    bench.open_circuits["strategy"] = "half-open"
    [entry] = bench.get("/status").json["degraded"]
    assert (entry["service"], entry["reason"]) == ("strategy", "circuit half-open")
    assert "no entries" in entry["effect"]


def test_a_derived_cause_is_degraded_since_it_began(bench: Bench) -> None:
    bench.ledger.state.set_derived({"portfolio": (TradingState.REDUCING, "no answer")}, NOON)
    shown = bench.get("/status").json
    assert shown["trading_state"] == "REDUCING"
    [entry] = shown["degraded"]
    assert (entry["service"], entry["since"]) == ("portfolio", "2025-11-22T12:00:00Z")


def test_what_the_last_cycle_lacked_is_degraded(bench: Bench) -> None:
    cycle_id = bench.open_cycle()
    report = bench.ledger.cycles.facts(cycle_id).report
    lacking = (Degradation(service="market_data", reason="replay ended"),)
    bench.ledger.cycles.close(
        msgspec.structs.replace(
            report, status=CycleStatus.DEGRADED, finished_at=NOON, duration_s=1.0, degraded=lacking
        )
    )
    [entry] = bench.get("/status").json["degraded"]
    assert (entry["service"], entry["reason"]) == ("market_data", "replay ended")


def test_limits_show_the_use_of_the_account(bench: Bench) -> None:
    bench.ledger.state.save_snapshot(account(equity="98000"))
    limits = {limit["name"]: limit for limit in bench.get("/status").json["limits"]}
    assert limits["max_daily_loss_soft"]["used"] == "0.020000"
    assert limits["max_daily_loss_soft"]["limit"] == "0.03"


def test_portfolio_is_the_last_kept_account(bench: Bench) -> None:
    bench.ledger.state.save_snapshot(account(equity="98000"))
    shown = bench.get("/status").json["portfolio"]
    assert (shown["equity"], shown["day_pnl"], shown["drawdown"]) == ("98000", "-2000", "0.020000")


def test_performance_of_status_counts_what_ended(bench: Bench) -> None:
    finished(bench, "schedule|a")
    finished(bench, "schedule|b", CycleStatus.DEGRADED)
    shown = bench.get("/status").json["performance"]
    assert (shown["cycles"], shown["success_rate"]) == (2, 0.5)
    assert shown["cycle_seconds"] == {"p50": 2.5, "p95": 2.5}
    assert shown["symbols_per_cycle"] == 50


@pytest.mark.parametrize(
    ("services", "simulated"),
    [
        ({}, True),
        ({"market_data": {"feed": "files", "path": "candles.parquet"}}, True),
        ({"market_data": {"feed": "ccxt", "exchange": "kraken"}}, False),
        ({"market_data": {"url": "http://prices.example:8002"}}, False),
    ],
)
def test_simulated_follows_the_feed(
    settings: Settings, *, services: dict[str, object], simulated: bool
) -> None:
    bench = make_bench(
        Settings.model_validate({"data_dir": settings.data_dir, "services": services})
    )
    assert bench.get("/status").json["simulated"] is simulated
    bench.ledger.dispose()


def test_a_foreign_service_with_a_replay_clock_is_simulated(settings: Settings) -> None:
    """Its feed cannot be seen, but its market time is not now."""
    url = {"market_data": {"url": "http://prices.example:8002"}}
    bench = make_bench(Settings.model_validate({"data_dir": settings.data_dir, "services": url}))
    cycle_id = bench.open_cycle()
    bench.plan_cycle(cycle_id, account(), datetime(2021, 1, 1, tzinfo=UTC))
    assert bench.get("/status").json["simulated"] is True
    bench.ledger.dispose()


def test_health_names_every_component(bench: Bench) -> None:
    shown = bench.get("/health").json
    assert shown["status"] == "ok"
    assert set(shown["checks"]) == {
        *("redis", "ledger", "workers", "beat", "orchestrator", "performance"),
        *SERVICE_NAMES,
    }
    assert set(shown["checks"]["ledger"]) == {"status", "latency_ms", "detail", "checked_at"}


@pytest.mark.parametrize("part", ["redis", "ledger", "workers"])
def test_health_is_down_without_an_essential_part(bench: Bench, part: str) -> None:
    if part == "redis":
        bench.redis_away()
    elif part == "ledger":
        bench.break_ledger()
    else:
        bench.vitals.live_workers = ()
    answer = bench.get("/health")
    assert answer.status_code == 503
    assert answer.json["status"] == "down"
    assert answer.json["checks"][part]["status"] == "down"


def test_health_is_degraded_when_a_service_is_gone_and_recovers(bench: Bench) -> None:
    good = bench.vitals.looks["strategy"]
    gone = msgspec.structs.replace(good, status="down", detail="connection refused")
    bench.vitals.looks = {**bench.vitals.looks, "strategy": gone}
    answer = bench.get("/health")
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert answer.json["checks"]["strategy"]["detail"] == "connection refused"
    bench.vitals.looks = {**bench.vitals.looks, "strategy": good}
    assert bench.get("/health").json["status"] == "ok"


def test_health_is_degraded_while_a_circuit_is_open(bench: Bench) -> None:
    bench.open_circuits["execution"] = "open"
    assert bench.get("/health").json["checks"]["execution"]["status"] == "down"
    assert bench.get("/health").json["status"] == "degraded"


def test_health_is_degraded_when_beat_stops_ticking(bench: Bench) -> None:
    bench.vitals.beat_tick = NOON - timedelta(seconds=30)
    assert bench.get("/health").json["checks"]["beat"]["detail"] == "no tick for 30 s"
    assert bench.get("/health").json["status"] == "degraded"


def test_old_checks_of_services_do_not_pass_for_health(bench: Bench) -> None:
    bench.clock.at = NOON + timedelta(seconds=90)
    bench.vitals.beat_tick = bench.clock.at
    assert bench.get("/health").json["checks"]["portfolio"]["detail"] == "not checked for 90 s"
    assert bench.get("/health").json["status"] == "degraded"


def test_the_orchestrator_is_degraded_when_scheduled_cycles_do_not_begin(bench: Bench) -> None:
    bench.post("/start")
    bench.clock.at = NOON + timedelta(seconds=301)
    shown = bench.get("/health").json["checks"]["orchestrator"]
    assert (shown["status"], shown["detail"]) == ("degraded", "no cycle began for 301 s")


def test_the_orchestrator_is_degraded_after_a_failed_cycle(bench: Bench) -> None:
    finished(bench, "schedule|a", CycleStatus.FAILED)
    assert bench.get("/health").json["checks"]["orchestrator"]["status"] == "degraded"


def test_performance_is_degraded_when_cycles_take_half_their_interval(bench: Bench) -> None:
    bench.close_cycle(bench.open_cycle(), seconds=61)
    assert bench.get("/health").json["checks"]["performance"]["status"] == "degraded"


def test_ready_asks_for_the_ledger_alone(bench: Bench) -> None:
    bench.redis_away()
    assert bench.get("/health/ready").status_code == 200
    bench.break_ledger()
    assert bench.get("/health/ready").status_code == 503
    assert bench.get("/health/live").status_code == 200


def test_cycles_are_paged_newest_first(bench: Bench) -> None:
    ids = []
    for name in "abc":
        bench.clock.at += timedelta(seconds=120)
        ids.append(finished(bench, f"schedule|{name}"))
    first = bench.get("/cycles?limit=2").json
    assert [report["cycle_id"] for report in first["items"]] == ids[:0:-1]
    second = bench.get(f"/cycles?limit=2&before={first['next_before']}").json
    assert [report["cycle_id"] for report in second["items"]] == ids[:1]
    assert second["next_before"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "before=x", "before=", "surprise=1"]
)
@pytest.mark.parametrize("path", ["/cycles", "/orders"])
def test_an_impossible_page_is_refused(bench: Bench, path: str, query: str) -> None:
    answer = bench.get(f"{path}?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    "path", ["/performance?window=7d%0A", "/orders?before=7%0A", "/orders?symbol=BTC%0A"]
)
def test_a_last_line_feed_is_no_part_of_any_value(bench: Bench, path: str) -> None:
    assert bench.get(path).status_code == 422


def test_the_longest_page_is_allowed(bench: Bench) -> None:
    assert bench.get("/orders?limit=500").json == {"items": [], "next_before": None}


def test_orders_can_be_asked_by_state_and_symbol(bench: Bench) -> None:
    assert bench.get("/orders?state=FILLED&symbol=BTC/USD").status_code == 200
    assert bench.get("/orders?state=NOT_ONE").status_code == 422


@pytest.mark.parametrize("path", ["/cycles/none", "/orders/none", "/orders/%00", "/cycles/%C3%BC"])
def test_what_does_not_exist_is_404(bench: Bench, path: str) -> None:
    answer = bench.get(path)
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_one_cycle_is_shown_whole(bench: Bench) -> None:
    cycle_id = finished(bench, "schedule|a")
    shown = bench.get(f"/cycles/{cycle_id}").json
    assert shown["status"] == "COMPLETED"
    assert {"outcomes", "decisions", "order_ids"} <= set(shown)


def equity_curve(bench: Bench, values: list[str], every: timedelta = timedelta(hours=1)) -> None:
    """A cycle each so much market time, with this equity each."""
    for index, value in enumerate(values):
        bench.clock.at += timedelta(seconds=120)
        cycle_id = bench.open_cycle(f"schedule|{index}")
        bench.plan_cycle(cycle_id, account(equity=value), NOON + index * every)
        bench.close_cycle(cycle_id)


def test_performance_is_that_of_the_stored_equity(bench: Bench) -> None:
    equity_curve(bench, ["100000", "110000", "99000"])
    shown = bench.get("/performance?window=all").json
    assert shown["total_return"] == pytest.approx(-0.01)
    assert shown["max_drawdown"] == pytest.approx(-0.1)
    assert [point["equity"] for point in shown["equity_curve"]] == ["100000", "110000", "99000"]
    assert (shown["cycles"], shown["cycle_success_rate"]) == (3, 1.0)
    assert shown["cycle_seconds"] == {"p50": 2.5, "p95": 2.5, "p99": 2.5}
    assert shown["error_rates"]["execution"] == 0.1


def test_performance_tells_each_strategy_and_symbol(bench: Bench) -> None:
    equity_curve(bench, ["100000", "100010"])
    world = World(bench.ledger, bench.clock.now() + timedelta(hours=1))
    world.cycles = 2  # as many as there are
    world.trade(entry())
    world.trade(make_exit())
    shown = bench.get("/performance?window=all").json
    for group, name in (("by_strategy", "sma_cross"), ("by_symbol", "BTC/USD")):
        assert shown[group][name]["trades"] == shown["trades"] == 1
        assert shown[group][name]["fees"] == shown["fees"]
    assert 0 <= shown["max_drawdown_s"] <= shown["longest_drawdown_s"]


def test_the_window_of_performance_counts_market_time(bench: Bench) -> None:
    equity_curve(bench, ["100000", "110000", "99000"])
    shown = bench.get("/performance?window=1h").json
    assert [point["equity"] for point in shown["equity_curve"]] == ["110000", "99000"]
    assert shown["total_return"] == pytest.approx(-0.1)


def test_a_long_window_shows_the_last_cycle_of_each_candle_and_a_day_shows_every_one(
    bench: Bench,
) -> None:
    """720 cycles a day of which 24 end a candle: a month of them is read in one go."""
    values = [str(100000 + 7 * index) for index in range(7)]
    equity_curve(bench, values, timedelta(minutes=20))  # 12:00, 12:20, 12:40, 13:00, ...
    long, short = (bench.get(f"/performance?window={name}").json for name in ("all", "24h"))
    assert [point["equity"] for point in short["equity_curve"]] == values
    assert [point["equity"] for point in long["equity_curve"]] == [values[2], values[5], values[6]]
    assert bench.get("/performance?window=25h").json["equity_curve"] == long["equity_curve"]
    for name in ("total_return", "sharpe", "max_drawdown", "volatility"):
        assert long[name] == short[name] is not None


def test_performance_before_the_first_cycle_is_empty(bench: Bench) -> None:
    shown = bench.get("/performance").json
    assert shown["window"] == "30d"
    assert shown["equity_curve"] == []
    assert shown["sharpe"] is None


@pytest.mark.parametrize("window", ["", "0d", "1w", "-1d", "1.5h", "99999d", "all "])
def test_an_impossible_window_is_refused(bench: Bench, window: str) -> None:
    assert bench.get("/performance", query_string={"window": window}).status_code == 422


def test_config_shows_settings_without_secrets(settings: Settings) -> None:
    secret = "canary-7f3a91"  # noqa: S105
    made = Settings.model_validate(
        {
            "data_dir": settings.data_dir,
            "api": {"key": secret},
            "redis": {"url": f"redis://:{secret}@redis:6379/0", "password": secret},
            "services": {
                "execution": {"key": secret},
                "monitoring": {"webhooks": [f"http://h/{secret}"]},
            },
            "flower": {"basic_auth": f"user:{secret}"},
        }
    )
    bench = make_bench(made)
    bearer = {"Authorization": f"Bearer {secret}"}
    shown = bench.get("/config", headers=bearer)
    assert shown.json["settings"]["trading_engine"]["cycle_interval"] == 120
    assert len(shown.json["config_hash"]) == 12
    for path in ("/config", "/status", "/metrics", "/health", "/", "/openapi.json"):
        assert secret not in bench.get(path, headers=bearer).text
    bench.ledger.dispose()


def metric(text: str, name: str) -> float:
    """The value of a line of the Prometheus text format."""
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_metrics_are_derived_from_ledger_and_heartbeats(bench: Bench) -> None:
    equity_curve(bench, ["100000", "110000"])
    text = bench.get("/metrics").text
    expected = {
        'trading_engine_cycles_total{status="COMPLETED"}': 2,
        'trading_engine_cycle_duration_seconds{quantile="0.95"}': 2.5,
        "trading_engine_symbols_per_cycle": 50,
        "trading_engine_cycle_success_ratio": 1,
        'trading_engine_alerts_open{alert="execution_down",severity="critical"}': 0,
        'trading_engine_trading_state{state="ACTIVE"}': 1,
        'trading_engine_trading_state{state="HALTED"}': 0,
        'trading_engine_queue_messages{queue="batch"}': 0,
        'trading_engine_service_error_ratio{service="execution"}': 0.1,
        'trading_engine_service_latency_seconds{service="strategy"}': 0.0045,
        'trading_engine_service_breaker_state{service="execution",state="closed"}': 1,
        'trading_engine_process_cpu_ratio{pid="12",process="batch-1",worker="batch@host"}': 0.5,
        'trading_engine_process_memory_bytes{pid="11",process="api",worker=""}': 80 * 1024 * 1024,
        'trading_engine_account_equity{currency="USD"}': 110000,
        "trading_engine_ledger_up": 1,
        "trading_engine_redis_up": 1,
        'trading_engine_symbols_skipped{reason="stale"}': 0,
    }
    assert {name: metric(text, name) for name in expected} == pytest.approx(expected)


def test_metrics_answer_without_ledger_and_redis(bench: Bench) -> None:
    bench.redis_away()
    bench.break_ledger()
    answer = bench.get("/metrics")
    assert answer.status_code == 200
    assert metric(answer.text, "trading_engine_ledger_up") == 0
    assert metric(answer.text, "trading_engine_redis_up") == 0


def test_the_description_names_every_route(bench: Bench) -> None:
    paths = json.loads(bench.get("/openapi.json").data)["paths"]
    assert set(paths) >= {
        *("/start", "/stop", "/cycle", "/status", "/health", "/health/live", "/health/ready"),
        *("/halt", "/resume", "/cycles", "/cycles/{cycle_id}", "/orders", "/config", "/metrics"),
        *("/orders/{client_order_id}", "/performance", "/openapi.json"),
    }


def test_every_operation_shows_an_example_that_is_of_its_type(bench: Bench) -> None:
    """Recorded from a running engine: `python -m tests.record_examples` writes them anew."""
    site = site_of(bench.app)
    for endpoint, declared in site.routes.items():
        shown = site.examples.get(endpoint, {})
        assert (declared.body is None) is ("body" not in shown), endpoint
        types = {str(status): shape for status, shape in declared.answers.items() if shape}
        if endpoint != "GET /openapi.json" and types:
            assert set(shown) & set(types), endpoint
        for name, example in shown.items():
            msgspec.convert(example, declared.body if name == "body" else types[name])
    paths = json.loads(bench.get("/openapi.json").data)["paths"]
    answer = paths["/status"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["example"]["service"] == "trading-engine"


def test_the_page_is_a_shell_that_allows_nothing_foreign(bench: Bench) -> None:
    page = bench.get("/?theme=dark")
    assert page.content_type.startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert bench.get("/?theme=pink").status_code == 422


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_holds_nothing_inline_and_everything_it_names_is_there(
    bench: Bench, path: str
) -> None:
    """The content policy would refuse the former."""
    page = bench.get(path).text
    assert not re.search(r"<style|style=|<script>|\son[a-z]+=", page)
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
    assert len(named) > 5
    for name in named:
        assert bench.get(name).status_code == 200, name


def test_every_module_that_a_script_imports_is_served(bench: Bench) -> None:
    seen: set[str] = set()
    waiting = ["/assets/js/main.js", "/assets/js/reference.js"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = bench.get(name)
        assert (answer.status_code, answer.mimetype) == (200, "text/javascript"), name
        if "/vendor/" not in name:
            found = re.findall(r'(?:from|import\()\s*"(\.[^"]+)"', answer.text)
            waiting += [
                posixpath.normpath(posixpath.join(posixpath.dirname(name), f)) for f in found
            ]
    assert len(seen) > 20


def test_an_unchanged_file_of_the_page_is_304(bench: Bench) -> None:
    first = bench.get("/assets/js/main.js")
    again = bench.get("/assets/js/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert bench.get("/assets/../api.py").status_code == 404
    assert bench.get("/assets/js/none.js").status_code == 404


def test_the_page_answers_without_the_ledger(bench: Bench) -> None:
    bench.break_ledger()
    assert bench.get("/").status_code == 200
