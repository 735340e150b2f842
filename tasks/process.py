"""What a worker process holds: one engine, made on first use and anew after a fork."""

from __future__ import annotations

import os
import socket
from typing import Any

from celery.signals import setup_logging, worker_init, worker_process_init

from engine.bootstrap import build_engine
from engine.ports import Engine
from engine.process_memory import keep_what_was_imported
from engine.telemetry import configure_logging
from tasks.app import settings

NODE = "TRADING_ENGINE_NODE"

_engines: dict[int, Engine] = {}


def node_name() -> str:
    """The worker's node name as heartbeats carry it: set by the worker at its start."""
    return os.environ.get(NODE, f"process@{socket.gethostname()}")


def engine() -> Engine:
    """This process's engine."""
    pid = os.getpid()
    if pid not in _engines:
        _engines.clear()
        _engines[pid] = build_engine(settings, worker=node_name())
    return _engines[pid]


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    """Celery leaves logging alone when this signal is connected."""
    configure_logging(settings.log, os.environ.get("TRADING_ENGINE_COMPONENT", "worker"))


@worker_init.connect
def _freeze(**_: Any) -> None:
    """What was imported stays shared with the pool: no collection of a child touches its pages."""
    keep_what_was_imported()


@worker_process_init.connect
def _warm_up(**_: Any) -> None:
    """Open connections before the first task, so that the first cycle is as fast as others."""
    engine()
