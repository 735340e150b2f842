"""The reference strategy engine, and what a strategy of one's own is written with."""

from services.strategy.strategy import Holding, Opinion, Parameters, Rows, Strategy, confidence

__all__ = ["Holding", "Opinion", "Parameters", "Rows", "Strategy", "confidence"]
