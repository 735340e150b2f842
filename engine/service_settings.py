"""Settings of the five services, and the types that all sections share."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from string import Template
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Port = Annotated[int, Field(ge=0, le=65535)]
Fraction = Annotated[Decimal, Field(ge=0, le=1)]
PositiveFraction = Annotated[Decimal, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Money = Annotated[Decimal, Field(gt=0)]
NOTICE_FIELDS = (
    *("text", "name", "about", "severity", "phase", "mode", "account", "detail", "effect"),
    *("since", "duration", "runbook", "cycle_id"),
)
ServiceName = Literal["market_data", "strategy", "portfolio", "execution", "monitoring"]
SERVICES: tuple[ServiceName, ...] = (
    "market_data",
    "strategy",
    "portfolio",
    "execution",
    "monitoring",
)


class Section(BaseModel):
    """Base of all sections: closed and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Breaker(Section):
    """When a circuit opens, and after how long it is probed."""

    failures: Count = 5
    reset_s: Seconds = 15
    max_reset_s: Seconds = 120


class Service(Section):
    """How one service is reached, and where its reference implementation listens."""

    url: str = ""
    host: str = "127.0.0.1"
    port: Port
    key: SecretStr = SecretStr("")
    key_file: str = ""
    timeout_s: Seconds = 10
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    rate_limit: Annotated[str, Field(pattern=r"^[1-9]\d*/(second|minute|hour)$")] = "500/second"
    max_answer_bytes: Annotated[int, Field(ge=1024)] = 33554432
    breaker: Breaker = Breaker()
    threads: Annotated[int, Field(ge=1, le=128)] = 8

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an http:// or https:// address, or empty")
        return value.rstrip("/")

    @property
    def base_url(self) -> str:
        """Where the service is called."""
        return self.url or f"http://127.0.0.1:{self.port}"


class MarketData(Service):
    """Market data, and the feed of its reference service."""

    port: Port = 8002
    feed: Literal["simulated", "files", "ccxt"] = "simulated"
    path: str = ""
    exchange: str = ""
    symbols: Annotated[int, Field(ge=1, le=100000)] = 50
    seed: int = 7
    clock_start: str = ""
    candles_per_cycle: Annotated[int, Field(ge=0)] = 1
    spread_bps: Annotated[float, Field(ge=0)] = 5

    @model_validator(mode="after")
    def _feed_has_a_source(self) -> Self:
        if not self.url and self.feed == "files" and not self.path:
            raise ValueError("path must name a .parquet or .csv file, or a folder, for feed files")
        if not self.url and self.feed == "ccxt" and not self.exchange:
            raise ValueError("exchange must name an exchange for feed ccxt")
        return self


class StrategyEntry(Section):
    """One configured strategy; `id` defaults to the name and is unique."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    parameters: dict[str, float | int | str | bool] = {}

    @model_validator(mode="before")
    @classmethod
    def _default_id(cls, data: object) -> object:
        if isinstance(data, dict) and "id" not in data and "name" in data:
            return {**data, "id": data["name"]}
        return data


DEFAULT_STRATEGIES = (
    StrategyEntry(id="sma_cross", name="sma_cross", parameters={"fast": 20, "slow": 50}),
    StrategyEntry(
        id="rsi_reversion",
        name="rsi_reversion",
        parameters={"period": 14, "oversold": 30, "overbought": 70},
    ),
    StrategyEntry(id="macd", name="macd", parameters={"fast": 12, "slow": 26, "signal": 9}),
    StrategyEntry(id="bollinger", name="bollinger", parameters={"period": 20, "deviations": 2.0}),
    StrategyEntry(id="donchian", name="donchian", parameters={"entry": 20, "exit": 10}),
)


class Strategy(Service):
    """The strategy engine, and the strategies that are asked."""

    port: Port = 8003
    strategies: tuple[StrategyEntry, ...] = DEFAULT_STRATEGIES
    default_stop_atr: Annotated[float, Field(ge=0)] = 2
    folder: str = "strategies"

    @field_validator("strategies")
    @classmethod
    def _unique_ids(cls, value: tuple[StrategyEntry, ...]) -> tuple[StrategyEntry, ...]:
        ids = [entry.id for entry in value]
        repeated = sorted({name for name in ids if ids.count(name) > 1})
        if repeated:
            raise ValueError(f"ids must be unique; repeated: {', '.join(repeated)}")
        return value


class Portfolio(Service):
    """The portfolio service, and a new account's cash."""

    port: Port = 8004
    timeout_s: Seconds = 3
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    cash: Money = Decimal(100000)


class BrokerLimits(Section):
    """Hard limits that the execution service keeps by itself."""

    max_order_value: Money = Decimal(100000)
    max_collar: PositiveFraction = Decimal("0.05")
    max_fee: Fraction = Decimal("0.005")
    orders_per_minute: Count = 600


class Execution(Service):
    """The execution service, and its paper broker."""

    port: Port = 8005
    broker: Literal["paper"] = "paper"
    fee: Fraction = Decimal("0.001")
    slippage_bps: Annotated[Decimal, Field(ge=0)] = Decimal(2)
    latency_ms: Annotated[float, Field(ge=0)] = 0
    max_volume_share: PositiveFraction = Decimal("0.1")
    seed: int = 7
    limits: BrokerLimits = BrokerLimits()


class Webhook(Section):
    """An address that alerts are posted to; `body` is a template of what is posted.

    In the texts of a body `$text` stands for the whole line, and each other field of NOTICE_FIELDS
    for itself; `$$` is a dollar. Without a body the event itself is posted, with its line.
    """

    url: str
    body: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _plain_address(cls, data: object) -> object:
        return {"url": data} if isinstance(data, str) else data

    @field_validator("body")
    @classmethod
    def _known_fields(cls, value: dict[str, Any]) -> dict[str, Any]:
        for text in texts_within(value):
            template = Template(text)
            unknown = set(template.get_identifiers()) - set(NOTICE_FIELDS)
            if unknown or not template.is_valid():
                raise ValueError(f"$NAME with a name out of {' '.join(NOTICE_FIELDS)}; $$ for $")
        return value


def texts_within(value: object) -> Iterator[str]:
    """Every text of a JSON value, but not the names of its fields."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from texts_within(item)
        case list():
            for item in value:
                yield from texts_within(item)


class Monitoring(Service):
    """The monitoring service."""

    port: Port = 8006
    timeout_s: Seconds = 1
    retries: Annotated[int, Field(ge=0, le=5)] = 0
    rate_limit: Annotated[str, Field(pattern=r"^[1-9]\d*/(second|minute|hour)$")] = "100/second"
    max_answer_bytes: Annotated[int, Field(ge=1024)] = 1048576
    webhooks: tuple[Webhook, ...] = ()
    webhook_timeout_s: Seconds = 5
    webhook_tries: Count = 3
    webhook_pause_s: Seconds = 1
    keep_events: Count = 100000
    spool_events: Count = 10000

    @field_validator("webhooks", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value


class Services(Section):
    """The five services."""

    market_data: MarketData = MarketData()
    strategy: Strategy = Strategy()
    portfolio: Portfolio = Portfolio()
    execution: Execution = Execution()
    monitoring: Monitoring = Monitoring()

    def named(self, name: ServiceName) -> Service:
        """The settings of the service called `name`."""
        service: Service = getattr(self, name)
        return service
