"""What a worker tells of its configuration to who asks, Flower for one."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from tasks.app import app
import warnings
from redbeat.schedulers import get_redis
warnings.simplefilter("error")
print(app.conf.table(with_defaults=True))
assert get_redis(app).connection_pool.connection_kwargs["password"] == "dont-" + "tell-this"
print(app.conf.redis_backend_health_check_interval, app.conf.redbeat_lock_timeout)
"""


def test_a_worker_tells_its_settings_without_the_password_of_redis() -> None:
    url = "redis://:dont-tell-this@127.0.0.1:6379/0"
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "REDIS_URL": url},
    ).stdout
    assert "dont-tell-this" not in told
    assert "task_acks_late" in told
    assert told.splitlines()[-1] == "10 5"
