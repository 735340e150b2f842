"""Replays of small made-up histories, whose outcome can be told by hand."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from engine.domain.candles import Candles
from engine.errors import ConfigError
from replay.__main__ import main
from tests.replays import HOUR_MS, START_MS, replayed, waves, write

PLAIN = ("--strategy", "donchian", "--param", "entry=3", "exit=2", "--limits", "none", "--lot", "1")
TRADE_HEADER = (
    "symbol,strategy,side,quantity,entry_time,entry_price,exit_time,exit_price,"
    "exit_reason,fees,profit"
)


def flat_then(*rows: tuple[float, float, float, float], before: int = 20) -> Candles:
    """So many candles at 100, then the given (open, high, low, close)."""
    table = np.asarray([(100.0, 100.0, 100.0, 100.0)] * before + list(rows))
    count = len(table)
    time = START_MS + np.arange(count, dtype=np.int64) * HOUR_MS
    return Candles.of(time, *(table[:, i].copy() for i in range(4)), np.full(count, 1e6))


BREAKOUT = (100.0, 102.0, 100.0, 102.0)


def one(path: Path, candles: Candles) -> Path:
    return write(path / "candles.parquet", {"A/USD": candles})


def test_a_buy_fills_at_the_next_open_and_what_is_left_ends_at_the_last_close(
    tmp_path: Path,
) -> None:
    path = one(tmp_path, flat_then(BREAKOUT, (103, 104, 103, 104), (104, 106, 104, 105)))
    done = replayed(path, *PLAIN, "--sizing", "fraction=1", "--fee", "0.001")
    (trade,) = done.results.trades
    quantity = int(10000 / (103 * 1.001))
    assert (trade.quantity, trade.entry_price, trade.exit_price) == (quantity, 103, 105)
    assert trade.exit_reason == "end"
    assert trade.fees == Decimal("0.001") * quantity * (103 + 105)
    assert trade.profit == 2 * quantity - trade.fees
    assert done.results.final_equity == 10000 + trade.profit


def test_filled_at_the_close_it_is_the_close_of_the_signal(tmp_path: Path) -> None:
    path = one(tmp_path, flat_then(BREAKOUT, (103, 104, 103, 104), (104, 106, 104, 105)))
    done = replayed(path, *PLAIN, "--sizing", "fraction=1", "--fill", "close")
    (trade,) = done.results.trades
    assert trade.entry_price == 102
    assert trade.entry_time.timestamp() * 1000 == START_MS + 20 * HOUR_MS


def test_the_end_can_be_the_last_quote_instead(tmp_path: Path) -> None:
    path = one(tmp_path, flat_then(BREAKOUT, (103, 104, 103, 104), (104, 106, 104, 105)))
    done = replayed(path, *PLAIN, "--sizing", "fraction=1", "--end", "quote")
    assert done.results.trades[0].exit_price == 104


@pytest.mark.parametrize(
    ("candle", "reason", "price"),
    [
        ((103, 108.3, 95, 100), "stop", "98.94"),  # both were touched: the stop comes first
        ((103, 108.3, 103, 104), "target", "107.1"),
        ((96, 97, 95, 96.5), "stop", "96"),  # it opened below the stop
        ((110, 111, 109, 110), "target", "110"),  # it opened above the target
    ],
)
def test_an_exit_fills_where_the_candle_touched_it(
    tmp_path: Path, candle: tuple[float, float, float, float], reason: str, price: str
) -> None:
    """Stop 3 % and target 5 % count from the signal's close of 102."""
    rows = (BREAKOUT, (102, 103, 102, 103), candle, (100, 100, 100, 100))
    path = one(tmp_path, flat_then(*rows))
    options = ("--sizing", "fraction=1", "--stop", "fraction=0.03", "--target", "fraction=0.05")
    trade = replayed(path, *PLAIN, *options).results.trades[0]
    assert (trade.exit_reason, trade.exit_price) == (reason, Decimal(price))
    assert trade.exit_time.timestamp() * 1000 == START_MS + 22 * HOUR_MS


def test_as_in_a_cycle_an_exit_fills_at_the_quote_after_the_candle(tmp_path: Path) -> None:
    rows = (BREAKOUT, (102, 103, 102, 103), (103, 103, 95, 99.5), (99, 100, 99, 100))
    path = one(tmp_path, flat_then(*rows, (100, 100, 100, 100)))
    options = ("--sizing", "fraction=1", "--stop", "fraction=0.03", "--exits", "quote")
    trade = replayed(path, *PLAIN, *options).results.trades[0]
    assert (trade.exit_reason, trade.exit_price) == ("stop", 99)


def test_risk_sizing_divides_by_the_distance_of_the_stop(tmp_path: Path) -> None:
    path = one(tmp_path, flat_then(BREAKOUT, (103, 104, 103, 104), (104, 106, 104, 105)))
    done = replayed(path, *PLAIN, "--sizing", "risk=0.01", "--stop", "fraction=0.05")
    assert done.results.trades[0].quantity == int(100 / (102 * 0.05))


def test_limits_of_the_configuration_bind_and_are_named(tmp_path: Path) -> None:
    path = one(tmp_path, flat_then(BREAKOUT, (102, 104, 102, 104), (104, 106, 104, 105)))
    options = ("--strategy", "donchian", "--param", "entry=3", "exit=2", "--sizing", "fraction=1")
    environ = {"QUALITY__FROZEN_CANDLES": "30"}
    done = replayed(path, *options, environ=environ)
    (decision,) = [line for line in done.runner.record.lines if line["kind"] == "decision"]
    assert decision["verdict"] == "RESIZED"
    assert decision["binding_rule"] == "max_risk_per_trade"


def test_with_too_many_bad_symbols_nothing_is_entered(tmp_path: Path) -> None:
    good = flat_then(BREAKOUT, (102, 104, 102, 104), (104, 106, 104, 105))
    keep = np.arange(len(good)) != 15
    bad = good.chosen(keep)
    options = ("--strategy", "donchian", "--param", "entry=3", "exit=2", "--sizing", "fraction=1")
    bound = []
    for others in ({}, {"B/USD": bad, "C/USD": bad}):
        path = write(tmp_path / "a.parquet", {"A/USD": good, **others})
        lines = replayed(path, *options).runner.record.lines
        bound.append([line["binding_rule"] for line in lines if line["kind"] == "decision"])
    assert bound == [["max_risk_per_trade"], ["trading_state"]]  # REDUCING since the candle before


def test_a_loss_of_the_account_latches_for_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"A/USD": waves(3, 400)})
    environ = {"RISK__MAX_DRAWDOWN": "0.0001", "QUALITY__MAX_SPIKE": "9"}
    options = ("--strategy", "sma_cross", "--param", "fast=3", "slow=8")
    done = replayed(path, *options, environ=environ)
    assert [latch.cause for latch in done.runner.record.latches] == ["drawdown"]
    denied = [each for each in done.runner.record.lines if each.get("binding_rule")]
    assert denied[-1]["binding_rule"] == "trading_state"


@pytest.mark.parametrize("locks", ["symbol", "all"])
def test_a_stop_out_of_one_symbol_can_lock_the_others(tmp_path: Path, locks: str) -> None:
    """A is stopped out in its second candle; B breaks out two candles later."""
    first = flat_then(BREAKOUT, (102, 103, 102, 103), (103, 103, 95, 96), *[(96,) * 4] * 4)
    late = flat_then(BREAKOUT, (102, 104, 102, 104), (104, 106, 104, 105), before=24)
    path = write(tmp_path / "a.parquet", {"A/USD": first, "B/USD": late})
    options = ("--strategy", "donchian", "--param", "entry=3", "exit=2", "--stop", "fraction=0.03")
    guard = f'{{"stops": 1, "window_candles": 24, "lock_candles": 9, "locks": "{locks}"}}'
    environ = {"QUALITY__FROZEN_CANDLES": "99", "RISK__STOPLOSS_GUARD": guard}
    lines = replayed(path, *options, environ=environ).runner.record.lines
    decided = [line for line in lines if line["kind"] == "decision" and line["symbol"] == "B/USD"]
    assert (decided[0]["binding_rule"] == "stoploss_guard") is (locks == "all")


def test_without_limits_nothing_latches(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"A/USD": waves(3, 400)})
    environ = {"RISK__MAX_DRAWDOWN": "0.0001"}
    options = ("--strategy", "sma_cross", "--param", "fast=3", "slow=8", "--limits", "none")
    done = replayed(path, *options, environ=environ)
    assert done.runner.record.latches == []
    assert done.results.performance.trades > 3


def test_the_files_hold_what_was_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.parquet", {"A/USD": waves(1, 300), "B/USD": waves(2, 300)})
    out = tmp_path / "out"
    arguments = ["--data", str(path), "--strategy", "sma_cross", "--limits", "none"]
    assert main([*arguments, "--out", str(out), "--json"], {}) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "metrics.json").read_text())
    trades = (out / "trades.csv").read_text().splitlines()
    assert trades[0] == TRADE_HEADER
    assert len(trades) - 1 == printed["trades"] > 0
    points = list(csv.DictReader((out / "equity.csv").read_text().splitlines()))
    assert float(points[-1]["equity"]) == printed["final_equity"]
    lines = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    assert all(line["binding_rule"] for line in lines if line["kind"] == "decision")
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2 + len({line.split(",")[0] for line in trades[1:]})
    assert "<script" not in page
    assert "http" not in page


def test_the_profits_of_all_trades_are_what_the_account_won(tmp_path: Path) -> None:
    candles = {f"{name}/USD": waves(number, 400) for number, name in enumerate("ABCDE")}
    done = replayed(
        write(tmp_path / "a.parquet", candles),
        *("--strategy", "rsi_reversion", "--limits", "none", "--sizing", "fraction=0.3"),
    )
    won = sum(trade.profit for trade in done.results.trades)
    assert len(done.results.trades) > 10
    assert won == done.results.final_equity - done.results.start_equity


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--strategy", "nobody"], "there is no nobody"),
        (["--param", "fast=3"], "--param: it needs --strategy"),
        (["--strategy", "sma_cross", "--param", "fast=90"], "fast must be below slow"),
        (["--symbols", "X/USD"], "not in"),
        (["--from", "2090-01-01"], "--from: no candle"),
        (["--timeframe", "5m"], "its candles are 3600 s apart"),
        (["--fee", "1.5"], "services.execution.fee"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_line(
    tmp_path: Path, arguments: list[str], fault: str
) -> None:
    path = write(tmp_path / "a.parquet", {"A/USD": waves(1, 60)})
    with pytest.raises(ConfigError, match=fault):
        replayed(path, *arguments)


def test_an_option_is_a_key_under_another_name(tmp_path: Path) -> None:
    """The same values, once as options and once as a configuration."""
    path = write(tmp_path / "a.parquet", {"A/USD": waves(5, 400), "B/USD": waves(6, 400)})
    config = tmp_path / "config.yaml"
    config.write_text(
        """
trading_engine: {account_currency: USD, candles: 100}
risk: {max_fee: 0.001}
sizing: {method: fraction, fraction: 0.1}
exits: {stop: "0.04", target: "0.08"}
quality: {max_spike: 9}
services:
  portfolio: {cash: "5000"}
  execution: {fee: 0.001, slippage_bps: 3}
  market_data: {spread_bps: 4}
  strategy: {default_stop_atr: 0, strategies: [{name: rsi_reversion, parameters: {period: 7}}]}
"""
    )
    since = ("--from", str(START_MS + 100 * HOUR_MS), "--exits", "quote")
    by_file = replayed(path, "--config", str(config), *since)
    options = (
        *("--candles", "100", "--fee", "0.001", "--sizing", "fraction=0.1", "--cash", "5000"),
        *("--stop", "fraction=0.04", "--target", "fraction=0.08", "--spread-bps", "4"),
        *("--slippage-bps", "3", "--strategy", "rsi_reversion", "--param", "period=7"),
    )
    by_options = replayed(path, *options, *since, environ={"QUALITY__MAX_SPIKE": "9"})
    assert by_file.runner.account.fills == by_options.runner.account.fills
    decided = [
        [
            (line["time"], line["symbol"], line.get("verdict"), line.get("binding_rule"))
            for line in r
        ]
        for r in (by_file.runner.record.lines, by_options.runner.record.lines)
    ]
    assert decided[0] == decided[1]
    assert len(by_file.results.trades) > 3
