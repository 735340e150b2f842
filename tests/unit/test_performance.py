"""Figures of a small curve, each worked out by hand from its definition."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from engine.domain import performance
from engine.domain.model import Fill, Side
from engine.domain.performance import Curve, Point, curve_of
from engine.domain.trades import closed_trades
from services.market_data.feeds.tables import read_candles

GOOG = Path(os.environ.get("CANDLES_DIR", "../shared/data")) / "goog_1d.parquet"
DAY = timedelta(days=1)
START = datetime(2025, 1, 1, tzinfo=UTC)


def curve(*equity: str | int) -> Curve:
    return curve_of(
        Point(START + DAY * index, Decimal(value)) for index, value in enumerate(equity)
    )


def fill(seq: int, side: Side, quantity: str, price: str, day: float) -> Fill:
    return Fill(
        seq=seq,
        fill_id=str(seq),
        client_order_id=str(seq),
        symbol="A/USD",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(1),
        filled_at=START + DAY * day,
        strategy="x",
    )


# Returns +10 %, -20 %, +25 %: mean 0.05, deviations 0.05, -0.25, 0.20.
CURVE = curve(100, 110, 88, 110)
FILLS = [
    fill(1, Side.BUY, "1", "50", 0),
    fill(2, Side.SELL, "1", "60", 1),
    fill(3, Side.BUY, "2", "50", 1.5),
    fill(4, Side.SELL, "1", "40", 2),
    fill(5, Side.SELL, "1", "45", 2.5),
]


def test_annual_figures_follow_from_the_returns() -> None:
    figures = performance.measure(CURVE, [], periods_per_year=252)
    deviation = math.sqrt((0.05**2 + 0.25**2 + 0.20**2) / 2)
    downside = math.sqrt(0.20**2 / 3)
    growth = 1.1 ** (252 / 3) - 1
    assert figures.total_return == pytest.approx(0.1)
    assert figures.volatility == pytest.approx(deviation * math.sqrt(252))
    assert figures.sharpe == pytest.approx(0.05 / deviation * math.sqrt(252))
    assert figures.sortino == pytest.approx(0.05 / downside * math.sqrt(252))
    assert figures.cagr == pytest.approx(growth)
    assert figures.calmar == pytest.approx(growth / 0.2)


def test_drawdown_is_the_deepest_fall_and_the_longest_time_below_a_peak() -> None:
    figures = performance.measure(curve(100, 90, 95, 100, 80, 85), [], periods_per_year=252)
    assert figures.max_drawdown == pytest.approx(-0.2)
    assert figures.longest_drawdown_s == 3 * 86400


def test_a_fall_that_has_not_recovered_lasts_until_the_end() -> None:
    fall = performance.drawdown(curve(100, 90, 91, 92))
    assert (fall.depth_s, fall.longest_s) == (3 * 86400, 3 * 86400)


def test_the_deepest_fall_need_not_be_the_longest() -> None:
    fall = performance.drawdown(curve(100, 99, 99, 99, 100, 80, 100, 120, 119, 121))
    assert fall.depth == pytest.approx(-0.2)
    assert (fall.depth_s, fall.longest_s) == (2 * 86400, 4 * 86400)


def test_trades_run_from_flat_to_flat_net_of_fees() -> None:
    first, second = closed_trades(FILLS)
    assert first.profit == 60 - 50 - 2
    assert second.profit == 40 + 45 - 100 - 3


def test_trade_figures() -> None:
    figures = performance.measure(CURVE, FILLS, periods_per_year=252)
    assert (figures.trades, figures.win_rate) == (2, 0.5)
    assert figures.profit_factor == pytest.approx(8 / 18)
    assert figures.expectancy == Decimal(-5)
    assert figures.fees == 5


def test_figures_are_told_by_strategy_and_by_symbol() -> None:
    other = [
        msgspec.structs.replace(each, symbol="B/USD", strategy="y", seq=each.seq + 10)
        for each in FILLS[:2]
    ]
    figures = performance.measure(CURVE, [*FILLS, *other], periods_per_year=252)
    assert {name: each.trades for name, each in figures.by_strategy.items()} == {"x": 2, "y": 1}
    assert {name: each.profit for name, each in figures.by_symbol.items()} == {
        "A/USD": Decimal(-10),
        "B/USD": Decimal(8),
    }
    first = figures.by_strategy["x"]
    assert (first.won, first.lost, first.best, first.worst) == (8, 18, 8, -18)
    assert (first.win_rate, first.fees, first.held_s) == (0.5, 5, 86400)
    assert figures.by_strategy["y"].profit_factor is None


def test_exposure_is_the_share_of_time_with_a_holding() -> None:
    assert performance.exposure(CURVE, FILLS) == pytest.approx((1 + 1) / 3)


def test_a_holding_at_the_end_counts_until_the_end() -> None:
    assert performance.exposure(CURVE, FILLS[:3]) == pytest.approx((1 + 1.5) / 3)


def test_turnover_is_traded_value_over_mean_equity() -> None:
    assert performance.turnover(CURVE, FILLS) == pytest.approx((50 + 60 + 100 + 40 + 45) / 102)


def test_figures_without_a_meaning_are_none() -> None:
    figures = performance.measure(curve(100), [], periods_per_year=252)
    assert (figures.sharpe, figures.total_return, figures.win_rate) == (None, None, None)
    flat = performance.measure(curve(100, 100, 100), [], periods_per_year=252)
    assert (flat.sharpe, flat.sortino, flat.calmar, flat.max_drawdown) == (None, None, None, 0.0)
    assert performance.measure(curve(), [], periods_per_year=252).turnover is None


def test_a_sell_of_what_was_never_bought_is_no_trade() -> None:
    assert closed_trades([fill(1, Side.SELL, "1", "50", 0)]) == []


def test_daily_points_are_the_last_of_each_day() -> None:
    hours = curve_of(Point(START + timedelta(hours=n), Decimal(n)) for n in range(30))
    assert performance.daily(hours).equity.tolist() == [23, 29]
    assert len(performance.daily(curve()).equity) == 0


def test_a_year_has_8760_hours() -> None:
    assert performance.periods_per_year(3600) == 8760


@pytest.mark.skipif(not GOOG.exists(), reason=f"the real candles are not there: {GOOG}")
def test_figures_of_goog_are_those_that_are_known() -> None:
    """As empyrical-reloaded gives them: 252 days, risk-free 0, sample deviation."""
    rows = read_candles(GOOG)["GOOG"]
    figures = performance.measure(Curve(rows.time / 1000, rows.close), [], periods_per_year=252)
    assert figures.sharpe == pytest.approx(0.8815185699, abs=1e-10)
    assert figures.sortino == pytest.approx(1.3541673632, abs=1e-10)
    assert figures.max_drawdown == pytest.approx(-0.6529475997, abs=1e-10)
    assert figures.volatility == pytest.approx(0.3440578616, abs=1e-10)
    assert figures.cagr == pytest.approx(0.2770806653, abs=1e-10)
