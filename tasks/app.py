"""The Celery application: `celery -A tasks.app worker|beat|flower`."""

from __future__ import annotations

from celery import Celery

import celeryconfig

settings = celeryconfig.settings
app = Celery("trading_engine")
app.config_from_object(celeryconfig)
