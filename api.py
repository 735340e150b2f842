"""The control API: its routes over `engine.control`, served on port 8001."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any, cast

import msgspec
from flask import Flask

import web
from dashboard import page
from engine.config_source import load_settings, secret_values
from engine.control import health, metrics
from engine.control.desk import Desk
from engine.control.events import EventFeed
from engine.errors import ConfigError
from engine.process_memory import keep_what_was_imported
from engine.telemetry import configure_logging, get_logger
from engine.version import VERSION
from routes.audit_trail import add_audit
from routes.controls import add_controls
from routes.events import add_events
from routes.reads import add_reads
from routes.shared import add_etags
from web import KeyRing
from web.routing import site_of

log = get_logger("api")

EXAMPLES = Path(__file__).parent / "routes" / "examples.json"

DESCRIPTION = (
    "Starts, stops and queries the trading engine. Money and quantities are decimal text, times "
    "ISO 8601 UTC. Errors are RFC 9457 problem documents. Lists answer `items` and `next_before`, "
    "the cursor of the next page; answers to GET carry an ETag."
)


def create_api(desk: Desk, keys: KeyRing | None = None) -> Flask:
    """The app over `desk`. Raises ConfigError when it is bound off loopback without a key."""
    settings = desk.engine.settings
    if keys is None:
        mine = settings.api
        keys = KeyRing.from_settings(
            mine.key.get_secret_value(), mine.keys_file, mine.read_key.get_secret_value()
        )
    app = web.create_app(
        name="trading_engine",
        title="Trading engine",
        version=VERSION,
        description=DESCRIPTION,
        keys=keys,
        host=settings.trading_engine.host,
        max_body_bytes=settings.api.max_body_bytes,
        health=lambda: cast("dict[str, Any]", msgspec.to_builtins(health.health(desk))),
    )
    site_of(app).examples = msgspec.json.decode(EXAMPLES.read_bytes())
    add_etags(app)
    add_audit(app, desk)
    add_controls(app, desk)
    add_reads(app, desk)
    app.extensions["events"] = add_events(app, desk)
    page.add_page(app)
    metrics.register(web.metrics_registry(app), desk)
    return app


def events_of(app: Flask) -> EventFeed:
    """The feed behind the app's event streams, to be closed with its server."""
    feed: EventFeed = app.extensions["events"]
    return feed


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        settings = load_settings()
        configure_logging(settings.log, "api", secrets=secret_values(settings))
        # Celery's settings are read on import: only now are they known to be sound.
        from tasks.desk import build_desk  # noqa: PLC0415

        app = create_api(build_desk("api"))
        engine = settings.trading_engine
        threads = settings.api.threads + settings.api.streams
        server = web.serve(app, engine.host, engine.port, threads)
    except ConfigError as error:
        sys.stderr.writelines(f"{fault}\n" for fault in error.faults)
        return 1
    keep_what_was_imported()
    log.info("api_ready", url=server.url)
    stopping.wait()
    events_of(app).close()
    server.close(grace_s=2.0)
    log.info("api_stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
