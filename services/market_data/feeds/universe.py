"""Names and fixed traits of the simulated market's instruments."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from services.market_data.feeds.feed import step_of_decimals

# A name and the price that its path swings around.
KNOWN = (
    ("BTC", 60000.0),
    ("ETH", 3000.0),
    ("SOL", 150.0),
    ("BNB", 550.0),
    ("XRP", 0.6),
    ("ADA", 0.45),
    ("DOGE", 0.12),
    ("AVAX", 28.0),
    ("DOT", 6.5),
    ("LINK", 14.0),
    ("LTC", 75.0),
    ("BCH", 380.0),
    ("UNI", 8.0),
    ("ATOM", 7.0),
    ("ETC", 22.0),
    ("XLM", 0.11),
    ("FIL", 4.5),
    ("NEAR", 5.0),
    ("APT", 8.5),
    ("ARB", 0.8),
    ("OP", 1.8),
    ("INJ", 22.0),
    ("AAVE", 95.0),
    ("ALGO", 0.16),
)
LARGEST_VOLUME = 2e9  # quote currency a day, of the first symbol
SMALLEST_VOLUME = 4e6  # of a liquid symbol
ILLIQUID_VOLUME = 2e5
WIDE_SPREAD_BPS = (80.0, 150.0)
USUAL_SPREAD_BPS = (1.0, 10.0)
EVERY = 25  # one symbol in so many is illiquid, and another has a wide spread


class Traits(NamedTuple):
    """What never changes about an instrument. `volume` is quote currency a day."""

    symbol: str
    price: float
    volume: float
    spread_bps: float
    price_decimals: int
    lot_decimals: int

    @property
    def tick_size(self) -> Decimal:
        """Step of prices."""
        return step_of_decimals(self.price_decimals)

    @property
    def lot_size(self) -> Decimal:
        """Step of quantities."""
        return step_of_decimals(self.lot_decimals)


def traits(index: int, currency: str, rng: np.random.Generator) -> Traits:
    """Traits of the symbol at `index`; four draws of `rng`, whatever the index."""
    price_draw, volume_draw, spread_draw, wide_draw = rng.random(4).tolist()
    name, price = _name_and_price(index, price_draw)
    volume = max(LARGEST_VOLUME / (1 + index) ** 1.2, SMALLEST_VOLUME) * (0.8 + 0.4 * volume_draw)
    low, high = USUAL_SPREAD_BPS
    spread = low + (high - low) * spread_draw
    if index % EVERY == EVERY - 2:
        volume = ILLIQUID_VOLUME * (0.8 + 0.4 * volume_draw)
    if index % EVERY == EVERY - 1:
        low, high = WIDE_SPREAD_BPS
        spread = low + (high - low) * wide_draw
    magnitude = math.floor(math.log10(price))
    return Traits(
        symbol=f"{name}/{currency}",
        price=price,
        volume=volume,
        spread_bps=round(spread, 1),
        price_decimals=min(max(5 - magnitude, 2), 8),
        lot_decimals=min(max(magnitude + 1, 0), 8),
    )


def _name_and_price(index: int, draw: float) -> tuple[str, float]:
    if index < len(KNOWN):
        return KNOWN[index]
    return f"SYM{index - len(KNOWN) + 1:03d}", float(f"{10 ** (3 * draw - 0.5):.3g}")
