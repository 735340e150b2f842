"""`python -m services [NAME ...]`: the reference services, in one process.

Without names it serves every service whose url is empty. One line each when it is ready; SIGTERM
or Ctrl-C ends all of them with status 0.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from engine.config_source import load_settings, secret_values
from engine.errors import ConfigError
from engine.process_memory import keep_what_was_imported
from engine.service_settings import SERVICES, ServiceName
from engine.settings import Settings
from engine.telemetry import configure_logging
from web import RunningServer, serve

_GRACE_S = 3.0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services", description="Reference services")
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(SERVICES))
    names = parser.parse_args(arguments).names
    unknown = [name for name in names if name not in SERVICES]
    if unknown:
        parser.error(f"unknown service {unknown[0]}; one of {' '.join(SERVICES)}")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    servers: list[RunningServer] = []
    try:
        settings = load_settings(environ)
        _serve_all(names, settings, servers, stopping)
    except ConfigError as exc:
        sys.stderr.writelines(f"{fault}\n" for fault in exc.faults)
        return 1
    finally:
        _close_all(servers)
    return 0


def _serve_all(
    names: Sequence[str],
    settings: Settings,
    servers: list[RunningServer],
    stopping: threading.Event,
) -> None:
    wanted = [
        name for name in SERVICES if name in names or not (names or _is_elsewhere(settings, name))
    ]
    component = wanted[0] if len(wanted) == 1 else "services"
    configure_logging(settings.log, component, secrets=secret_values(settings))
    for name in wanted:
        if stopping.is_set():
            return
        section = settings.services.named(name)
        server = serve(_create(name, settings), section.host, section.port, section.threads)
        servers.append(server)
        _say(f"ready {name} {server.url}")
    keep_what_was_imported()
    if servers:
        stopping.wait()
    else:
        _say("nothing to serve: every services.*.url names a service of yours")


def _is_elsewhere(settings: Settings, name: ServiceName) -> bool:
    return bool(settings.services.named(name).url)


def _create(name: ServiceName, settings: Settings) -> Flask:
    """The service's app. Its module is imported only now: each brings libraries of its own."""
    try:
        app: Flask = importlib.import_module(f"services.{name}.app").create_app(settings)
    except OSError as exc:
        reason = f"{exc.strerror or exc}: {exc.filename or settings.data_dir}"
        raise ConfigError([f"services.{name}: cannot start: {reason}"]) from exc
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        raise ConfigError(
            [f"services.{name}: cannot open its file in data_dir {settings.data_dir}: {reason}"]
        ) from exc
    return app


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _close_all(servers: Sequence[RunningServer]) -> None:
    """Close them side by side: each may wait for its requests."""
    closers = [threading.Thread(target=server.close, args=(_GRACE_S,)) for server in servers]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
