"""How Flower shows a task: what belongs to a cycle names the address of that cycle.

Flower escapes what it shows, so that the address is text to be followed by hand, not a link.
"""

from __future__ import annotations

import re
from typing import Any

from tasks.app import settings

CYCLE_ID = re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b")
SHOWN_IN = ("args", "kwargs", "result")


def format_task(task: Any) -> Any:
    """The task with its cycle's address after the keyword arguments; Flower calls it."""
    texts = (str(getattr(task, name, None) or "") for name in SHOWN_IN)
    found = next(filter(None, (CYCLE_ID.search(text) for text in texts)), None)
    if found is not None:
        address = f"http://127.0.0.1:{settings.trading_engine.port}/cycles/{found[0]}"
        task.kwargs = f"{task.kwargs or ''}  {address}".strip()
    return task
