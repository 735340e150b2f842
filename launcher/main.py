"""Runs everything on one machine, from the first port check to the last process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from engine.config_source import load_settings
from engine.errors import ConfigError, TradingError
from engine.settings import Settings
from launcher import components, ports, sessions, valkey
from launcher.cycles import CycleWatch
from launcher.data_folder import DataFolder
from launcher.guard import Guard
from launcher.options import Options
from launcher.resolve import api_environment, open_ports, prepare_ledger
from launcher.stop_request import StopRequest
from launcher.supervisor import StartFailed, Stopped, Supervisor
from launcher.terminal import Terminal
from launcher.vital_signs import VitalSigns

LOOK_S = 0.2
LEFT_OVER_GRACE_S = 3.0


def main(options: Options) -> int:
    """Exit status: 0 after a stop that was asked for, 1 when something failed."""
    terminal = Terminal(sys.stdout)
    stop = StopRequest()
    stop.listen()
    try:
        _run(options, terminal, stop)
    except ConfigError as error:
        for fault in error.faults:
            sys.stderr.write(f"app.py: {fault}\n")
        return 1
    except (StartFailed, TradingError) as error:
        sys.stderr.write(f"app.py: {error}\n")
        return 1
    except Stopped:
        pass
    terminal.line("stopped")
    return 0


def _run(options: Options, terminal: Terminal, stop: StopRequest) -> None:
    environ = {**os.environ, **options.environment}
    settings = load_settings(environ)
    with DataFolder(Path(settings.data_dir)) as data:
        roster = data.path / "processes.json"
        left_over = sessions.end(sessions.read_roster(roster), LEFT_OVER_GRACE_S, time.monotonic)
        if left_over:
            terminal.line(f"ended {left_over} processes that a killed launcher left behind")
        environment = {
            **options.environment,
            **open_ports(settings),
            **api_environment(settings, data, make_key=options.make_key),
            "DATA_DIR": str(data.path),
            "PYTHONUNBUFFERED": "1",
        }
        settings = load_settings({**environ, **environment})
        components.check_exposure(settings)
        ports.check(components.claims(settings))
        launch = Launch(settings, environment, data, terminal, stop)
        launch.run(environ, quiet=options.quiet, show_key=options.make_key)


class Launch:
    """One run, in a data folder that is ours."""

    def __init__(
        self,
        settings: Settings,
        environment: dict[str, str],
        data: DataFolder,
        terminal: Terminal,
        stop: StopRequest,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._data = data
        self._terminal = terminal
        self._logs = data.folder("logs")
        self._began_at = datetime.now(UTC)
        self._roster = data.path / "processes.json"
        self._supervisor = Supervisor(
            terminal=terminal,
            logs=self._logs,
            roster=self._roster,
            environment=environment,
            stop=stop,
        )

    def run(self, environ: Mapping[str, str], *, quiet: bool, show_key: bool) -> None:
        """Starts all, watches until stopped, stops all whatever happens."""
        sessions.write_roster(self._roster, [])
        guard = Guard(self._roster)
        watch: CycleWatch | None = None
        try:
            self._start_all(environ)
            self._show_addresses(show_key=show_key)
            if not quiet:
                watch = self._watch_cycles()
            self._stay(VitalSigns(self._settings))
        finally:
            if watch is not None:
                watch.end()
            self._terminal.line("stopping")
            self._supervisor.stop()
            guard.dismiss()

    def _start_all(self, environ: Mapping[str, str]) -> None:
        if not self._settings.redis.url:
            embedded = valkey.prepare(self._data, self._settings.redis.port)
            self._environment["REDIS_URL"] = embedded.url
            self._supervisor.start(embedded.part())
        self._settings = load_settings({**environ, **self._environment})
        self._migrate()
        signs = VitalSigns(self._settings)
        for part in components.parts(self._settings, signs.has_new_worker, signs.has_new_beat):
            self._supervisor.start(part)

    def _migrate(self) -> None:
        begun = time.monotonic()
        shown = prepare_ledger(self._settings)
        self._terminal.ready("ledger", shown, time.monotonic() - begun)
        self._supervisor.pause(0)

    def _show_addresses(self, *, show_key: bool) -> None:
        engine = self._settings.trading_engine
        base = components.reached(engine.host, engine.port)
        lines = ["", f"API      {base}  (also /openapi.json, /metrics)"]
        if self._settings.flower.enabled:
            flower = self._settings.flower
            lines.append(f"Flower   {components.reached(flower.host, flower.port)}")
        lines += [f"logs     {self._logs}", ""]
        if show_key:
            lines += [*self._curl_lines(engine.port), ""]
        for line in lines:
            self._terminal.line(line)

    def _curl_lines(self, port: int) -> list[str]:
        key = self._settings.api.key.get_secret_value()
        call = f'curl -H "Authorization: Bearer {key}" '
        base = f"http://127.0.0.1:{port}"
        return [
            f"API key  {key}",
            f"{call}{base}/health",
            f"{call}{base}/status",
            f"{call}-X POST {base}/start",
        ]

    def _watch_cycles(self) -> CycleWatch:
        engine = self._settings.trading_engine
        watch = CycleWatch(
            terminal=self._terminal,
            base_url=components.reached(engine.host, engine.port),
            key=self._settings.api.key.get_secret_value(),
            currency=engine.account_currency,
            since=self._began_at,
        )
        watch.start()
        return watch

    def _stay(self, signs: VitalSigns) -> None:
        while True:
            self._supervisor.watch()
            signs.publish(self._supervisor.processes())
            self._supervisor.pause(LOOK_S)
