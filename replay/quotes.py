"""Quotes of a whole history as columns: what each symbol's bid is at each moment of decision.

Columns are floats for the equity curve and for finding moments that matter. What is decided on is
the exact quote, made for that moment by the function that a feed uses.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from engine.domain.amounts import EXACT, plain
from services.market_data.feeds.feed import BASIS_POINTS, Prices, around
from services.market_data.feeds.files import Series

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
NEAR_A_STEP = 1e-4  # of a tick: what a float cannot tell from the tick itself
NOT_A_PRICE = float("nan")
NO_TICK = Decimal("1e-12")
FINEST = 1e12
USUAL = 1e8  # more decimals than all but the smallest prices have
MOST_TICKS = 1e11  # so many are told apart by floats, and written in fewer digits than they have


def exact(price: float, spread_bps: float, tick: Decimal) -> Prices:
    """Bid, ask and last around `price`, without trailing zeros."""
    if (own := _on_its_tick(price, spread_bps, tick)) is not None:
        return Prices(bid=own, ask=own, last=own)
    made = around(price, spread_bps, tick)
    return Prices(bid=plain(made.bid), ask=plain(made.ask), last=plain(made.last))


def exact_bid(price: float, spread_bps: float, tick: Decimal) -> Decimal:
    """The bid alone."""
    own = _on_its_tick(price, spread_bps, tick)
    return plain(around(price, spread_bps, tick).bid) if own is None else own


def _on_its_tick(price: float, spread_bps: float, tick: Decimal) -> Decimal | None:
    """Where there is no spread, a price on its tick is its own quote; None for any other."""
    if spread_bps != 0:
        return None
    found = Decimal(repr(price))
    if EXACT.quantize(found, tick) != found:
        return None
    # A float is written without trailing zeros but for the one of a whole number.
    return plain(found) if price.is_integer() else found


def prices_of(prices: Floats, rows: Rows) -> Floats:
    """The price at each row, NaN for row -1 and for what is no price."""
    found = np.where(rows >= 0, prices[rows], NOT_A_PRICE)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(found) & (found > 0), found, NOT_A_PRICE)


def bids_of(prices: Floats, spread_bps: float) -> Floats:
    """Bids where no tick holds but that of twelve decimals, which only small prices feel."""
    bids = prices * (1.0 - spread_bps / float(BASIS_POINTS) / 2)
    small = bids < 1
    ticks = np.where(small, bids * FINEST, 0.5)
    whole = np.round(ticks)
    doubtful = np.abs(ticks - whole) < NEAR_A_STEP * 10
    is_whole = doubtful & (spread_bps == 0) & (whole / FINEST == prices)
    bids = np.where(small & ~is_whole, np.maximum(np.floor(ticks), 1.0) / FINEST, bids)
    for place in np.flatnonzero(doubtful & ~is_whole):
        bids[place] = float(around(float(prices[place]), spread_bps, NO_TICK).bid)
    return bids


def bids_on_ticks(prices: Floats, ends: Rows, series: Series, spread_bps: float) -> Floats:
    """Bids on each moment's tick: that of the candles that have closed by then.

    Computed in ticks; where a float cannot tell a whole number of them, worked out exactly.
    """
    scale = series.ticks_a_unit(ends)
    ticks = prices * (1.0 - spread_bps / float(BASIS_POINTS) / 2) * scale
    whole = np.floor(ticks)
    doubtful = np.abs(ticks - np.round(ticks)) < NEAR_A_STEP
    if spread_bps == 0:
        # A price that has no more decimals than its tick is its own bid.
        whole = np.where(doubtful, np.round(ticks), whole)
        doubtful = doubtful & (whole / scale != prices)
    bids: Floats = np.maximum(whole, 1.0) / scale
    for place in np.flatnonzero(doubtful & np.isfinite(prices)):
        tick = series.tick(int(ends[place]) - 1)
        bids[place] = float(around(float(prices[place]), spread_bps, tick).bid)
    bids[~np.isfinite(prices)] = NOT_A_PRICE
    return bids


def is_told(bid: float, scale: float) -> bool:
    """Whether the text of this bid as a float is the exact bid; not so for NaN.

    `scale` is how many ticks a unit has. Whole prices are left out: their text has a zero more.
    """
    ticks = bid * scale
    return ticks < MOST_TICKS and round(ticks) / scale == bid and not bid.is_integer()
