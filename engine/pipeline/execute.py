"""Sending the approved orders of a cycle, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from engine import sending
from engine.domain.cycle import Stage
from engine.pipeline.steps import Stopwatch
from engine.ports import Engine
from engine.telemetry import bind, get_logger

log = get_logger(__name__)


def run(
    engine: Engine,
    cycle_id: str,
    client_order_ids: Sequence[str],
    within_s: float | None = None,
) -> int:
    """Send each order that may still be sent; how many times the service was asked.

    The trading state, the epoch, the cut-off and the sends so far are read anew for each order,
    in the transaction that marks it as being sent. No send begins that could outlast `within_s`,
    the caller's own time limit: what is left stays reserved, for the watchdog to hand out again.
    """
    watch = Stopwatch()
    asked = 0
    begun, timeout_s = engine.clock.now(), sending.send_timeout_s(engine)
    for identity in client_order_ids:
        spent_s = (engine.clock.now() - begun).total_seconds()
        if within_s is not None and spent_s + timeout_s > within_s:
            with bind(client_order_id=identity):
                log.warning("order_not_sent", reason="the task ends soon")
            continue
        asked += sending.send(engine, identity)
    engine.ledger.cycles.add_step_seconds(cycle_id, Stage.EXECUTE, watch.seconds())
    log.info("orders_executed", orders=len(client_order_ids), asked=asked, seconds=watch.seconds())
    return asked
