"""Typed, frozen settings: the one shape of config.yaml. Reading it is in `config_source`.

Every model forbids unknown keys; a bound here is a bound of the product. Times end in `_s`
(seconds), fractions are 0 to 1.
"""

from __future__ import annotations

import itertools
import os
from decimal import Decimal
from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from engine.domain.kept_inputs import DecisionSettings
from engine.domain.limits import Limits
from engine.domain.messages import StrategyChoice
from engine.service_settings import (
    Count,
    Fraction,
    Money,
    Port,
    PositiveFraction,
    Seconds,
    Section,
    Services,
)

PROCESSES_PER_CORE = 4
TIMEFRAME_SECONDS = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "8h": 28800,
    "12h": 43200,
    "1d": 86400,
}


class TradingEngine(Section):
    """The engine itself."""

    host: str = "127.0.0.1"
    port: Port = 8001
    account: Annotated[str, Field(min_length=1, max_length=64)] = "paper"
    account_currency: Annotated[str, Field(min_length=1, max_length=16)] = "USD"
    mode: Literal["paper", "live"] = "paper"
    cycle_interval: Annotated[float, Field(ge=5, le=86400)] = 120
    batch_size: Annotated[int, Field(ge=1, le=1000)] = 25
    default_timeframe: str = "1h"
    candles: Annotated[int, Field(ge=2, le=5000)] = 500
    default_symbols: tuple[str, ...] = ("BTC/USD", "ETH/USD")
    max_risk_per_trade: PositiveFraction = Decimal("0.05")
    max_position_size_pct: PositiveFraction = Decimal("0.2")
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.6
    only_new_candles: bool = True
    autostart: bool = True

    @field_validator("default_timeframe")
    @classmethod
    def _known_timeframe(cls, value: str) -> str:
        if value not in TIMEFRAME_SECONDS:
            raise ValueError(f"one of {' '.join(TIMEFRAME_SECONDS)}")
        return value

    @property
    def timeframe_s(self) -> int:
        """Length of one candle in seconds."""
        return TIMEFRAME_SECONDS[self.default_timeframe]


class Api(Section):
    """The control API's server and keys."""

    threads: Annotated[int, Field(ge=4, le=256)] = 16
    streams: Annotated[int, Field(ge=1, le=256)] = 32
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16384
    key: SecretStr = SecretStr("")
    read_key: SecretStr = SecretStr("")
    keys_file: str = ""


class Workers(Section):
    """Celery workers."""

    processes: Annotated[int, Field(ge=0, le=256)] = 0
    upkeep: Count = 1
    orders_per_task: Count = 5
    heartbeat_s: Seconds = 1
    heartbeat_ttl_s: Annotated[float, Field(ge=3)] = 3
    memory_limit_mb: Annotated[int, Field(ge=100)] = 500


class StepBudgets(Section):
    """Seconds that a step may take before it is warned of."""

    select: Seconds = 10
    fetch: Seconds = 20
    evaluate: Seconds = 20
    risk: Seconds = 10
    allocate: Seconds = 10
    execute: Seconds = 20
    finish: Seconds = 10


class Timing(Section):
    """The instants of a 120 s cycle; see `domain.timing` for how they scale."""

    barrier_s: Seconds = 54
    send_cutoff_s: Seconds = 85
    deadline_s: Seconds = 100
    close_s: Seconds = 110
    send_timeout_s: Seconds = 10
    claim_s: Seconds = 10
    batch_tries: Count = 3
    barrier_grace_s: Seconds = 2
    watch_s: Seconds = 5
    reconcile_s: Seconds = 10
    check_s: Seconds = 10
    unknown_reducing_s: Seconds = 60
    unknown_halted_s: Seconds = 300
    max_sends_per_order: Count = 3
    step_budget_s: StepBudgets = StepBudgets()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        instants = (self.barrier_s, self.send_cutoff_s, self.deadline_s, self.close_s, 120)
        if any(later <= earlier for earlier, later in itertools.pairwise(instants)):
            raise ValueError("barrier_s < send_cutoff_s < deadline_s < close_s < 120 must hold")
        return self


class Celery(Section):
    """Limits of Celery tasks, with the floors that never shrink."""

    soft_time_limit_s: Annotated[int, Field(ge=20)] = 35
    time_limit_s: Annotated[int, Field(ge=25)] = 45
    visibility_timeout_s: Annotated[int, Field(ge=30)] = 75
    soft_shutdown_s: Annotated[float, Field(ge=0)] = 6
    result_expires_s: Annotated[int, Field(ge=60)] = 3600

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.soft_time_limit_s < self.time_limit_s < self.visibility_timeout_s:
            raise ValueError("soft_time_limit_s < time_limit_s < visibility_timeout_s must hold")
        return self


class Selection(Section):
    """Which symbols of the universe are liquid enough."""

    min_volume_24h: Annotated[Decimal, Field(ge=0)] = Decimal(1000000)
    max_spread_bps: Annotated[float, Field(gt=0)] = 50
    max_symbols: Count = 500


class Quality(Section):
    """What a candle series must be to be traded on."""

    stale_grace_s: Seconds = 90
    max_gaps: Annotated[int, Field(ge=0)] = 0
    max_spike: Annotated[float, Field(gt=0)] = 0.5
    frozen_candles: Count = 24
    max_bad_share: Annotated[float, Field(gt=0, le=1)] = 0.2


class StoplossGuard(Section):
    """After `stops` stop-outs within the window a symbol, or all, are locked for entries."""

    stops: Count = 4
    window_candles: Count = 24
    lock_candles: Count = 4
    locks: Literal["symbol", "all"] = "symbol"


class Risk(Section):
    """Limits of the account. Fractions are of equity."""

    max_portfolio_risk: PositiveFraction = Decimal("0.15")
    max_gross_exposure: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    max_open_positions: Count = 20
    max_order_notional: Money = Decimal(25000)
    min_cash: Fraction = Decimal("0.05")
    price_collar: Annotated[Decimal, Field(gt=0, le=Decimal("0.5"))] = Decimal("0.02")
    max_fee: Fraction = Decimal("0.002")
    max_daily_loss_soft: PositiveFraction = Decimal("0.03")
    max_daily_loss_hard: PositiveFraction = Decimal("0.05")
    max_drawdown: PositiveFraction = Decimal("0.15")
    cooldown_candles: Annotated[int, Field(ge=0)] = 2
    max_orders_per_cycle: Count = 50
    max_orders_per_minute: Count = 60
    max_orders_per_symbol_per_hour: Count = 4
    signal_ttl_s: Seconds = 300
    max_attempts_per_signal: Count = 3
    stoploss_guard: StoplossGuard = StoplossGuard()
    max_repeats_per_day: Count = 5
    max_quote_age_s: Seconds = 15
    max_snapshot_age_s: Seconds = 10
    max_stale_snapshot_s: Seconds = 300

    @model_validator(mode="after")
    def _soft_before_hard(self) -> Self:
        if self.max_daily_loss_soft > self.max_daily_loss_hard:
            raise ValueError("max_daily_loss_soft must not exceed max_daily_loss_hard")
        return self


class Sizing(Section):
    """How much an entry buys, before any cap."""

    method: Literal["risk", "fraction", "volatility"] = "risk"
    fraction: PositiveFraction = Decimal("0.05")
    risk: PositiveFraction = Decimal("0.01")
    volatility: PositiveFraction = Decimal("0.01")


class Distance(Section):
    """A distance from a price: a multiple of ATR(14), or a fraction of the price."""

    unit: Literal["atr", "fraction"]
    amount: Annotated[Decimal, Field(gt=0)]


def parse_distance(text: object) -> object:
    """`"2 atr"` or `"0.03"` -> Distance, `""` -> None. Raises ValueError for anything else."""
    if not isinstance(text, str | int | float):
        return text
    match str(text).lower().split():
        case []:
            return None
        case [amount, "atr"]:
            return {"unit": "atr", "amount": amount}
        case [amount]:
            return {"unit": "fraction", "amount": amount}
    raise ValueError('"<number> atr", a fraction such as "0.03", or ""')


class Exits(Section):
    """Protective exits of open positions."""

    stop: Distance | None = Distance(unit="atr", amount=Decimal(2))
    target: Distance | None = None
    trailing: Distance | None = None
    time_candles: Annotated[int, Field(ge=0)] = 0

    @field_validator("stop", "target", "trailing", mode="before")
    @classmethod
    def _distance(cls, value: object) -> object:
        return parse_distance(value)

    @field_validator("stop", "trailing")
    @classmethod
    def _below_the_price(cls, value: Distance | None) -> Distance | None:
        if value is not None and value.unit == "fraction" and value.amount >= 1:
            raise ValueError("a fraction below 1")
        return value


class Redis(Section):
    """The broker and caches. `password` comes from REDIS_PASSWORD only."""

    url: str = ""
    port: Port = 0
    timeout_s: Seconds = 0.2
    password: SecretStr = SecretStr("")


class LedgerSettings(Section):
    """The engine's ledger."""

    url: str = ""
    busy_timeout_s: Seconds = 5
    keep_outcomes_days: Count = 30


class Flower(Section):
    """The task dashboard."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 5555
    basic_auth: SecretStr = SecretStr("")


class Alerts(Section):
    """When an alert is raised and ended."""

    look_s: Seconds = 5
    hold_s: Annotated[float, Field(ge=0)] = 15
    clear_s: Annotated[float, Field(ge=0)] = 30
    unknown_s: Seconds = 60
    runbook: str = ""


class Log(Section):
    """Form and level of the logs."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """All settings of one deployment."""

    trading_engine: TradingEngine = TradingEngine()
    api: Api = Api()
    workers: Workers = Workers()
    timing: Timing = Timing()
    celery: Celery = Celery()
    selection: Selection = Selection()
    quality: Quality = Quality()
    risk: Risk = Risk()
    sizing: Sizing = Sizing()
    exits: Exits = Exits()
    services: Services = Services()
    redis: Redis = Redis()
    ledger: LedgerSettings = LedgerSettings()
    data_dir: Annotated[str, Field(min_length=1)] = "data"
    flower: Flower = Flower()
    alerts: Alerts = Alerts()
    log: Log = Log()


def batch_processes(settings: Settings) -> int:
    """Processes of a batch worker: as configured, or four a core, for they mostly wait."""
    return settings.workers.processes or PROCESSES_PER_CORE * (os.cpu_count() or 1)


def decision_limits(settings: Settings) -> Limits:
    """The part of the settings that decides, as the pure core takes it."""
    engine = settings.trading_engine
    return msgspec.convert(
        {
            "account": engine.account,
            "account_currency": engine.account_currency,
            "timeframe": engine.default_timeframe,
            "timeframe_s": engine.timeframe_s,
            "candles": engine.candles,
            "batch_size": engine.batch_size,
            "min_confidence": engine.min_confidence,
            "selection": settings.selection.model_dump(),
            "quality": settings.quality.model_dump(),
            "risk": {
                "max_risk_per_trade": engine.max_risk_per_trade,
                "max_position_size_pct": engine.max_position_size_pct,
                **settings.risk.model_dump(),
            },
            "sizing": settings.sizing.model_dump(),
            "exits": settings.exits.model_dump(),
        },
        Limits,
    )


def decision_settings(settings: Settings) -> DecisionSettings:
    """All that decides: the limits, and which strategies judge."""
    section = settings.services.strategy
    return DecisionSettings(
        limits=decision_limits(settings),
        strategies=tuple(
            StrategyChoice(id=entry.id, name=entry.name, parameters=dict(entry.parameters))
            for entry in section.strategies
        ),
        default_stop_atr=section.default_stop_atr,
    )
