"""A Celery application that does nothing, in the shape of a cycle: a message a batch, one barrier.

`python -m bench.floor_tasks BATCHES PID ...` sends one for each line that it reads, and prints the
CPU seconds of each, those of the named processes counted.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable

import psutil
import redis
from celery import Celery, chord

ADDRESS = os.environ.get("REDIS_URL", "")
LONGEST_S = 60.0
SYMBOLS = [f"S{number:05d}/USD" for number in range(25)]

app = Celery("floor", broker=ADDRESS, backend=ADDRESS)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="floor.step", ignore_result=False)  # type: ignore[untyped-decorator]  # Celery ships no types
def step(reference: dict[str, object]) -> dict[str, object]:
    """Hand the reference on."""
    return reference


@app.task(name="floor.barrier")  # type: ignore[untyped-decorator]  # as above
def barrier(_references: object, key: str) -> None:
    """Tell that the chord is through."""
    redis.Redis.from_url(ADDRESS).rpush(key, 1)


def timed(work: Callable[[], object], pids: list[int]) -> float:
    """CPU seconds of this process and of others while the work is done."""
    before = _cpu(pids)
    work()
    return _cpu(pids) - before


def _cpu(pids: list[int]) -> float:
    total = time.process_time()
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        total += times.user + times.system
    return total


def one_chord(client: redis.Redis, batches: int) -> None:
    """Send it and wait for its end."""
    key = f"floor:{uuid.uuid4()}"
    header = [step.s({"batch": number, "symbols": SYMBOLS}) for number in range(batches)]
    chord(header, barrier.s(key)).apply_async()
    if client.blpop([key], timeout=LONGEST_S) is None:
        raise SystemExit(f"the no-op chord was not through after {LONGEST_S:.0f} s")


def main(batches: int, pids: list[int]) -> None:
    """Answer each line with CPU seconds."""
    client = redis.Redis.from_url(ADDRESS)
    for _ in sys.stdin:
        print(timed(lambda: one_chord(client, batches), pids), flush=True)
    os._exit(0)  # results that nobody waits for would be taken back one by one


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(text) for text in sys.argv[2:]])
