"""Asking the workers for a cycle, within a bound that a request can wait for."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from engine.domain.cycle import CycleRequest
from engine.errors import ServiceUnavailable
from tasks.app import app

# kombu's own defaults try for 6 s, and the result backend for 19 s: a request cannot wait so long.
CONNECTION = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
}


MOST_CONNECTIONS = 8
"""More askers at once wait for one of these; each is held for a second or two at most."""


class CeleryDispatcher:
    """Publishes `cycle.start`, over connections that are kept: a new one costs more than a send."""

    def __init__(self, application: Celery = app) -> None:
        self._app = application
        connection = application.connection_for_write()
        connection.transport_options = {**connection.transport_options, **CONNECTION}
        self._connections = connection.Pool(limit=MOST_CONNECTIONS)

    def start_cycle(self, request: CycleRequest) -> None:
        """Publish the request; raises ServiceUnavailable("redis") when Redis does not take it."""
        try:
            with self._connections.acquire(block=True) as connection:
                self._app.send_task(
                    "cycle.start",
                    kwargs=_arguments(request),
                    retry=False,
                    ignore_result=True,
                    connection=connection,
                )
        except (OperationalError, RedisError, OSError) as error:
            raise ServiceUnavailable("redis", str(error)) from error


def _arguments(request: CycleRequest) -> dict[str, object]:
    kind, _, identity = request.key.partition("|")
    if kind == "schedule":
        return {"slot": identity}
    symbols = list(request.symbols) if request.symbols is not None else None
    return {"request_id": identity, "symbols": symbols, "dry_run": request.dry_run}
