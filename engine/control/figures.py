"""Rates and quantiles of cycles and orders, as every answer counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.domain.cycle import CycleStatus

JUDGED = (CycleStatus.COMPLETED, CycleStatus.DEGRADED, CycleStatus.FAILED, CycleStatus.ABORTED)


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, 0 to 1; None when nothing was counted."""
    return None if whole == 0 else part / whole


def cycles_ended(by_status: Mapping[str, int]) -> int:
    """Cycles that ran to an end of any kind: neither running nor skipped."""
    return sum(by_status.get(status, 0) for status in JUDGED)


def cycle_success_rate(by_status: Mapping[str, int]) -> float | None:
    """COMPLETED / (COMPLETED + DEGRADED + FAILED + ABORTED)."""
    return ratio(by_status.get(CycleStatus.COMPLETED, 0), cycles_ended(by_status))


def quantile(values: Sequence[float], share: float) -> float | None:
    """The quantile of `values`, interpolated linearly between ranks; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
