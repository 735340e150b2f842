"""What a ledger belongs to: mixing two price histories in one account would corrupt both."""

from __future__ import annotations

from engine.settings import Settings


def feed_identity(settings: Settings) -> str:
    """The market data feed as one text: equal texts give the same history of prices."""
    market = settings.services.market_data
    if market.url:
        return f"url {market.url}"
    match market.feed:
        case "simulated":
            return f"simulated seed={market.seed} start={market.clock_start}"
        case "files":
            return f"files path={market.path} start={market.clock_start}"
        case _:
            return f"ccxt exchange={market.exchange}"
