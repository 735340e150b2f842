"""The Celery application: `celery -A tasks.app worker|beat|flower`."""

from __future__ import annotations

from celery import Celery
from celery.app.defaults import SETTING_KEYS

import celeryconfig
from tasks import broker_transport

broker_transport.use_it()
settings = celeryconfig.settings
app = Celery("trading_engine")
# Celery's and RedBeat's names alone: a worker tells its configuration to who asks, Flower for one,
# and masks the passwords of the names that it knows.
app.config_from_object(
    {
        name: value
        for name, value in vars(celeryconfig).items()
        if name in SETTING_KEYS or name.startswith(("redbeat_", "redis_backend_"))
    }
)
