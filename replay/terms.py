"""The limits and terms of a replay, from the options and the candles."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from engine.domain.amounts import ZERO
from engine.domain.candles import Candles
from engine.domain.limits import Limits
from engine.domain.matching import Terms
from engine.errors import ConfigError
from engine.settings import TIMEFRAME_SECONDS, decision_limits
from replay.options import Options
from services.market_data.feeds.files import opens_of
from services.strategy.evaluation import Asked
from services.strategy.registry import load_registry

UNBOUNDED = sys.maxsize
MILLISECONDS = 1000


def limits_of(options: Options, candles: Mapping[str, Candles]) -> Limits:
    """What decides; without limits only the account's cash and what is held bound an order."""
    limits = decision_limits(options.settings)
    if not options.has_timeframe:
        name = timeframe_of(candles)
        limits = msgspec.structs.replace(
            limits, timeframe=name, timeframe_s=TIMEFRAME_SECONDS[name]
        )
    if not options.has_currency:
        limits = msgspec.structs.replace(limits, account_currency=currency_of(candles))
    return limits if options.is_enforced else _lifted(limits)


def timeframe_of(candles: Mapping[str, Candles]) -> str:
    """The usual distance of two candles, by name. Raises ConfigError for an unknown one."""
    usual_s = int(np.median(np.diff(opens_of(candles.values())))) // MILLISECONDS
    names = {seconds: name for name, seconds in TIMEFRAME_SECONDS.items()}
    if usual_s not in names:
        raise ConfigError(
            [f"--data: its candles are {usual_s} s apart; known: {', '.join(names.values())}"]
        )
    return names[usual_s]


def currency_of(candles: Mapping[str, Candles]) -> str:
    """What most symbols are quoted in; empty where they name no currency."""
    quoted = Counter(symbol.partition("/")[2] for symbol in sorted(candles))
    return quoted.most_common(1)[0][0]


def _lifted(limits: Limits) -> Limits:
    infinite = float("inf")
    return msgspec.structs.replace(
        limits,
        min_confidence=0.0,
        selection=msgspec.structs.replace(
            limits.selection,
            min_volume_24h=ZERO,
            max_spread_bps=infinite,
            max_symbols=UNBOUNDED,
        ),
        quality=msgspec.structs.replace(
            limits.quality,
            stale_grace_s=infinite,
            max_gaps=UNBOUNDED,
            max_spike=infinite,
            frozen_candles=0,
            max_bad_share=1.0,
        ),
        risk=msgspec.structs.replace(
            limits.risk,
            is_enforced=False,
            price_collar=ZERO,
            signal_ttl_s=infinite,
            max_attempts_per_signal=UNBOUNDED,
        ),
    )


def terms_of(options: Options) -> Terms:
    """What trading costs on the paper broker. Raises ConfigError for a fee above its limit."""
    section = options.settings.services.execution
    most = section.limits.max_fee
    if section.fee > most:
        raise ConfigError(
            [f"services.execution.fee: was {section.fee}, above limits.max_fee {most}"]
        )
    return Terms(
        fee=section.fee,
        slippage_bps=section.slippage_bps,
        max_volume_share=section.max_volume_share if options.is_enforced else None,
        seed=section.seed,
        max_fee=most,
    )


def strategies_of(options: Options) -> list[Asked]:
    """The strategies with their checked parameters. Raises ConfigError."""
    section = options.settings.services.strategy
    registry = load_registry(Path(section.folder))
    asked: list[Asked] = []
    faults: list[str] = []
    for entry in section.strategies:
        strategy = registry.strategies.get(entry.name)
        if strategy is None:
            known = ", ".join(sorted(registry.strategies))
            faults.append(f"--strategy: there is no {entry.name}; there are {known}")
            continue
        try:
            parameters = strategy.parse(dict(entry.parameters))
            asked.append(Asked(entry.id, strategy, parameters, strategy.needs(parameters)))
        except ValueError as error:
            faults.append(f"--param: {entry.name}: {error}")
    if faults:
        raise ConfigError(faults)
    return asked
