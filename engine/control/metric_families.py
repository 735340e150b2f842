"""Metric families under the engine's prefix; a value that is None is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

PREFIX = "trading_engine_"
Labels = tuple[str, ...]


def gauge(name: str, text: str, value: float) -> Metric:
    """One figure without labels."""
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)


def gauges(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Mapping[Any, float | None] | Mapping[Any, float],
) -> Metric:
    """One figure for each set of labels: a tuple of texts, which Mapping's keys cannot vary."""
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for names, value in values.items():
        if value is not None:
            family.add_metric(names, value)
    return family


def counter(name: str, text: str, value: float) -> Metric:
    """A count of all time; `_total` is added to the name."""
    return CounterMetricFamily(f"{PREFIX}{name}", text, value=value)


def counters(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, int]) -> Metric:
    """Counts of all time; `_total` is added to the name."""
    family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for names, value in values.items():
        family.add_metric(names, value)
    return family


def summary(name: str, text: str, quantiles: Mapping[float, float | None]) -> Metric:
    """Quantiles that were computed elsewhere; a summary without sum and count."""
    family = Metric(f"{PREFIX}{name}", text, "summary")
    for share, value in quantiles.items():
        if value is not None:
            family.add_sample(f"{PREFIX}{name}", {"quantile": f"{share:g}"}, value)
    return family
