"""The control desk over Celery and RedBeat, for the API and for the upkeep worker."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from engine import reconcile
from engine.bootstrap import build_breakers, build_engine, build_vitals
from engine.control.desk import Circuit, Desk
from engine.ledger.ledger import SqlLedger
from engine.ledger.queries_equity import AccountQueries
from engine.ports import Engine
from tasks.app import settings
from tasks.dispatch import CeleryDispatcher
from tasks.schedule import RedBeatSchedule


def build_desk(worker: str, engine: Engine | None = None) -> Desk:
    """The desk of this process, over `engine` or a new one named `worker`."""
    engine = build_engine(settings, worker=worker) if engine is None else engine
    breakers = build_breakers(settings)

    def circuits(now: datetime) -> dict[str, Circuit]:
        states = {name: breaker.state(now) for name, breaker in breakers.items()}
        return {
            name: Circuit(state=known.state.value, since=known.since)
            for name, known in states.items()
        }

    ledger = cast("SqlLedger", engine.ledger)
    return Desk(
        engine=engine,
        queries=ledger.queries,
        operator=ledger.operator,
        account=AccountQueries(ledger),
        dispatcher=CeleryDispatcher(),
        schedule=RedBeatSchedule(),
        vitals=build_vitals(settings),
        circuits=circuits,
        reconcile=reconcile.run,
    )
