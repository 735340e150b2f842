"""The reference strategy engine, and what a strategy of one's own is written with."""

from services.strategy.strategy import Opinion, Parameters, Strategy, confidence

__all__ = ["Opinion", "Parameters", "Strategy", "confidence"]
