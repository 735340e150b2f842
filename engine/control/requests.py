"""What the control API may be asked: closed shapes, every field checked on arrival."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.domain.model import OrderStatus, Verdict

MAX_PAGE = 500
MAX_WAIT_S = 110
# `$` also matches before a last line feed, so that one is refused by name.
PRINTABLE = r"^[^\x00-\x1f\x7f]+$(?!\n)"

Symbol = Annotated[str, Meta(min_length=1, max_length=64, pattern=PRINTABLE)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=PRINTABLE)]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str, Meta(pattern=r"^[0-9]{1,18}$(?!\n)")]
Window = Annotated[str, Meta(pattern=r"^(all|[1-9][0-9]{0,3}[hd])$(?!\n)")]


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all requests: an unknown field is refused."""


class CycleBody(_Request, frozen=True, kw_only=True):
    """`POST /cycle`. Without `symbols` the whole liquid universe; held ones always take part."""

    symbols: Annotated[tuple[Symbol, ...], Meta(max_length=1000)] | None = None
    dry_run: bool = False


class CycleQuery(_Request, frozen=True, kw_only=True):
    """`POST /cycle`: seconds to wait for the report."""

    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] = 0.0


class HaltBody(_Request, frozen=True, kw_only=True):
    """`POST /halt`."""

    reason: Reason
    cancel_open: bool = True


class ResumeBody(_Request, frozen=True, kw_only=True):
    """`POST /resume`."""

    state: Literal["ACTIVE", "REDUCING"]
    reason: Reason


class ReduceBody(_Request, frozen=True, kw_only=True):
    """`POST /reduce`."""

    reason: Reason


class CloseBody(_Request, frozen=True, kw_only=True):
    """`POST /positions/{symbol}/close`."""

    reason: Reason = "closed by hand"


class AdoptBody(_Request, frozen=True, kw_only=True):
    """`POST /positions/{symbol}/adopt`: the id of a configured strategy."""

    strategy: Name


class PageQuery(_Request, frozen=True, kw_only=True):
    """A page of a list."""

    limit: Limit = 50
    before: Cursor | None = None


class DecisionsQuery(_Request, frozen=True, kw_only=True):
    """`GET /decisions`."""

    cycle: Name | None = None
    symbol: Symbol | None = None
    verdict: Verdict | None = None
    limit: Limit = 50
    before: Cursor | None = None


class AlertsQuery(_Request, frozen=True, kw_only=True):
    """`GET /alerts`: those that are open, or all."""

    state: Literal["open", "all"] = "all"
    limit: Limit = 50
    before: Cursor | None = None


class CyclesQuery(_Request, frozen=True, kw_only=True):
    """`GET /cycles`."""

    limit: Limit = 50
    before: Cursor | None = None


class OrdersQuery(_Request, frozen=True, kw_only=True):
    """`GET /orders`."""

    state: OrderStatus | None = None
    symbol: Symbol | None = None
    limit: Limit = 50
    before: Cursor | None = None


class PerformanceQuery(_Request, frozen=True, kw_only=True):
    """`GET /performance`: `24h`, `30d`, ... back from the market's now, or `all`."""

    window: Window = "30d"
