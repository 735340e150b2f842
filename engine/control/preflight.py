"""What must answer before cycles are scheduled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from engine.control.desk import Desk
from engine.control.parallel import in_parallel
from engine.errors import Refused
from engine.identity import feed_identity

PREFLIGHT_S = 5.0


def failed_checks(desk: Desk) -> dict[str, str]:
    """The checks that failed, by name, with the reason; all run at once, 5 s at most."""
    checks: dict[str, Callable[[], object]] = {
        "redis": partial(_redis, desk),
        "ledger": desk.engine.ledger.ping,
        "workers": partial(_live_worker, desk),
        "market_data": desk.engine.market_data.symbols,
        "execution": desk.engine.execution.fence,
        "portfolio": desk.engine.portfolio.snapshot,
        "trading_identity": partial(_trading_identity, desk),
    }
    outcomes = in_parallel(checks, PREFLIGHT_S)
    return {name: str(outcome.error) for name, outcome in outcomes.items() if not outcome.ok}


def _redis(desk: Desk) -> None:
    if desk.vitals.ping() is None:
        raise Refused("no answer")


def _live_worker(desk: Desk) -> None:
    workers = desk.vitals.workers()
    if not workers:
        raise Refused("no worker has sent a heartbeat")


def _trading_identity(desk: Desk) -> None:
    wanted = feed_identity(desk.engine.settings)
    bound = desk.engine.ledger.state.bind_feed(wanted)
    if bound != wanted:
        raise Refused(
            f"data_dir {desk.engine.settings.data_dir} belongs to the feed {bound}, "
            f"not {wanted}: set data_dir to a new folder"
        )
