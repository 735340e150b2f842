"""Everything of the configuration that decides: what the pure functions are given as limits.

`settings.decision_limits` makes it; replay, paper and live pass the same value.
"""

from __future__ import annotations

from decimal import Decimal

from engine.domain.model import Value


class DistanceRule(Value, frozen=True, kw_only=True):
    """A distance from a price: `amount` times ATR(14), or `amount` as a fraction of the price."""

    unit: str
    amount: Decimal


class QualityLimits(Value, frozen=True, kw_only=True):
    """What a candle series must be to be traded on."""

    stale_grace_s: float
    max_gaps: int
    max_spike: float
    frozen_candles: int
    max_bad_share: float


class GuardLimits(Value, frozen=True, kw_only=True):
    """After `stops` stop-outs within `window_candles` entries are locked for `lock_candles`.

    `locks` `symbol`: a symbol's own stop-outs lock it; `all`: those of any symbol lock them all.
    """

    stops: int
    window_candles: int
    lock_candles: int
    locks: str = "symbol"

    @property
    def locks_all(self) -> bool:
        """Whether stop-outs of the whole account count, for every symbol."""
        return self.locks == "all"


class RiskLimits(Value, frozen=True, kw_only=True):
    """Limits of the account; fractions are of equity.

    `is_enforced` False lifts every rule; cash, the holding and the lot remain (replay only).
    """

    max_risk_per_trade: Decimal
    max_position_size_pct: Decimal
    max_portfolio_risk: Decimal
    max_gross_exposure: Decimal
    max_open_positions: int
    max_order_notional: Decimal
    min_cash: Decimal
    price_collar: Decimal
    max_fee: Decimal
    max_daily_loss_soft: Decimal
    max_daily_loss_hard: Decimal
    max_drawdown: Decimal
    cooldown_candles: int
    max_orders_per_cycle: int
    max_orders_per_minute: int
    max_orders_per_symbol_per_hour: int
    signal_ttl_s: float
    max_attempts_per_signal: int
    stoploss_guard: GuardLimits
    max_repeats_per_day: int
    max_quote_age_s: float
    max_snapshot_age_s: float
    max_stale_snapshot_s: float
    is_enforced: bool = True


class SizingPlan(Value, frozen=True, kw_only=True):
    """How much an entry buys before any cap: method `risk`, `fraction` or `volatility`."""

    method: str
    fraction: Decimal
    risk: Decimal
    volatility: Decimal


class ExitPlan(Value, frozen=True, kw_only=True):
    """Protective exits; None or 0 means that there is none of that kind."""

    stop: DistanceRule | None
    target: DistanceRule | None
    trailing: DistanceRule | None
    time_candles: int


class SelectionLimits(Value, frozen=True, kw_only=True):
    """Which symbols are liquid enough."""

    min_volume_24h: Decimal
    max_spread_bps: float
    max_symbols: int


class Limits(Value, frozen=True, kw_only=True):
    """All of it, with the account and the timeframe it is about."""

    account: str
    account_currency: str
    timeframe: str
    timeframe_s: int
    candles: int
    batch_size: int
    min_confidence: float
    selection: SelectionLimits
    quality: QualityLimits
    risk: RiskLimits
    sizing: SizingPlan
    exits: ExitPlan
