"""The strategies that come with the service."""

from services.strategy.strategies import bollinger, donchian, macd, rsi_reversion, sma_cross

BUILT_IN = (
    sma_cross.STRATEGY,
    rsi_reversion.STRATEGY,
    macd.STRATEGY,
    bollinger.STRATEGY,
    donchian.STRATEGY,
)
