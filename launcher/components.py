"""The parts of the engine on one machine, in the order they start."""

from __future__ import annotations

import sys
from collections.abc import Callable

from engine.errors import ConfigError
from engine.service_settings import SERVICES, ServiceName
from engine.settings import Settings, batch_processes
from launcher import answers
from launcher.child import Endpoint, Part
from launcher.ports import Claim

CELERY = (sys.executable, "-m", "celery", "-A", "tasks.app")
FLOWER_COLUMNS = "name,args,kwargs,state,received,runtime,worker"
FLOWER_CONF = "tasks/flower_config.py"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# SIGTERM lets a worker finish what it can within celery.soft_shutdown_s, no longer
SOFT_STOP = {"REMAP_SIGTERM": "SIGQUIT"}
SERVICES_RESERVE_S = 2.5
WORKER_MARGIN_S = 0.5
WORKER_RESERVE_MOST_S = 6.5

WorkerProbe = Callable[[str], bool]
BeatProbe = Callable[[], bool]


def local_services(settings: Settings) -> tuple[ServiceName, ...]:
    """The services without an address: their reference implementations run here."""
    return tuple(name for name in SERVICES if not settings.services.named(name).url)


def claims(settings: Settings) -> list[Claim]:
    """Every port that the parts will listen on."""
    engine = settings.trading_engine
    found = [
        Claim(
            "trading_engine.port",
            engine.host,
            engine.port,
            "stop what listens there or choose another: ./dev up --port PORT",
        )
    ]
    found += [
        Claim(
            f"services.{name}.port",
            settings.services.named(name).host,
            settings.services.named(name).port,
            f"choose another: SERVICES__{name.upper()}__PORT=PORT",
        )
        for name in local_services(settings)
    ]
    if settings.flower.enabled:
        remedy = "choose another: FLOWER__PORT=PORT, or FLOWER__ENABLED=false"
        found.append(Claim("flower.port", settings.flower.host, settings.flower.port, remedy))
    if not settings.redis.url and settings.redis.port:
        remedy = "choose another: REDIS__PORT=PORT, or 0 for a free one"
        found.append(Claim("redis.port", "127.0.0.1", settings.redis.port, remedy))
    return found


def check_exposure(settings: Settings) -> None:
    """Raises ConfigError where something would be reachable from outside without a key."""
    faults = []
    engine, api, flower = settings.trading_engine, settings.api, settings.flower
    if engine.host not in LOOPBACK and not api.key.get_secret_value() and not api.keys_file:
        faults.append(
            f"trading_engine.host: {engine.host} is reached from outside, which needs a key; "
            "set TRADING_ENGINE_API_KEY (32 random bytes or more), or add --make-key"
        )
    if flower.enabled and flower.host not in LOOPBACK and not flower.basic_auth.get_secret_value():
        faults.append(
            f"flower.host: {flower.host} is reached from outside, which needs "
            "flower.basic_auth: FLOWER__BASIC_AUTH=USER:PASSWORD"
        )
    if faults:
        raise ConfigError(faults)


def parts(settings: Settings, has_worker: WorkerProbe, has_beat: BeatProbe) -> list[Part]:
    """Everything after Redis and the ledger, in the order to start."""
    found = [
        *_services(settings),
        _worker(settings, "worker", "cycle,batch,execute", batch_processes(settings), has_worker),
        _worker(settings, "upkeep", "upkeep", settings.workers.upkeep, has_worker),
        _beat(has_beat),
    ]
    if settings.flower.enabled:
        found.append(_flower(settings))
    return [*found, _api(settings)]


def reached(host: str, port: int) -> str:
    """The address under which this machine reaches a server bound to `host`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{name}:{port}"


def _services(settings: Settings) -> list[Part]:
    names = local_services(settings)
    if not names:
        return []
    endpoints = []
    for name in names:
        service = settings.services.named(name)
        address = reached(service.host, service.port)
        probe = answers.http(f"{address}/health", accept_any=True)
        endpoints.append(Endpoint(name.replace("_", " "), address, probe))
    command = (sys.executable, "-m", "services", *names)
    return [Part("services", command, tuple(endpoints), reserve_s=SERVICES_RESERVE_S)]


def _worker(
    settings: Settings, name: str, queues: str, processes: int, has_worker: WorkerProbe
) -> Part:
    address = f"{processes} {'process' if processes == 1 else 'processes'}, queues {queues}"
    command = (
        *CELERY,
        "worker",
        *("-Q", queues, "-n", f"{name}@%h", "--concurrency", str(processes)),
        *("--prefetch-multiplier", "1", "--without-gossip", "--without-mingle"),
    )
    reserve = min(settings.celery.soft_shutdown_s + WORKER_MARGIN_S, WORKER_RESERVE_MOST_S)
    endpoint = Endpoint(name, address, lambda: has_worker(name))
    environment = {**SOFT_STOP, "TRADING_ENGINE_COMPONENT": name}
    return Part(
        name, command, (endpoint,), stage="workers", reserve_s=reserve, environment=environment
    )


def _beat(has_beat: BeatProbe) -> Part:
    command = (*CELERY, "beat", "--pidfile=")
    environment = {"TRADING_ENGINE_COMPONENT": "beat"}
    endpoint = Endpoint("beat", "schedule in Redis", has_beat)
    return Part("beat", command, (endpoint,), stage="control", environment=environment)


def _flower(settings: Settings) -> Part:
    flower = settings.flower
    address = reached(flower.host, flower.port)
    listen = (f"--address={flower.host}", f"--port={flower.port}")
    shown = (f"--tasks_columns={FLOWER_COLUMNS}", f"--conf={FLOWER_CONF}")
    command = (*CELERY, "flower", *listen, *shown)
    secret = flower.basic_auth.get_secret_value()
    return Part(
        "flower",
        command,
        (Endpoint("flower", address, answers.http(f"{address}/healthcheck")),),
        stage="control",
        environment={"FLOWER_BASIC_AUTH": secret} if secret else {},  # not for the process list
        hidden_prefix="FLOWER_",  # it takes each such variable for an option, and fails on ours
    )


def _api(settings: Settings) -> Part:
    engine = settings.trading_engine
    address = reached(engine.host, engine.port)
    probe = answers.http(f"{address}/health/live")
    command = (sys.executable, "api.py")
    return Part("api", command, (Endpoint("api", address, probe),), stage="control")
