"""Sending the approved orders of a cycle, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from engine import sending
from engine.domain.cycle import Stage
from engine.pipeline.steps import Stopwatch
from engine.ports import Engine
from engine.telemetry import get_logger

log = get_logger(__name__)


def run(engine: Engine, cycle_id: str, client_order_ids: Sequence[str]) -> int:
    """Send each order that may still be sent; how many times the service was asked.

    The trading state, the epoch, the cut-off and the sends so far are read anew for each order,
    in the transaction that marks it as being sent.
    """
    watch = Stopwatch()
    asked = sum(sending.send(engine, identity) for identity in client_order_ids)
    engine.ledger.cycles.add_step_seconds(cycle_id, Stage.EXECUTE, watch.seconds())
    log.info("orders_executed", orders=len(client_order_ids), asked=asked, seconds=watch.seconds())
    return asked
