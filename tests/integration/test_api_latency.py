"""How soon a running product answers those who look: under load, and while Redis hangs."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.integration.stack import Stack, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PATHS = ("/status", "/health")
WORKERS = 8
ASKED = 200
MEDIAN_S = 0.05
WITHOUT_REDIS_S = 1.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Eight worker processes, and a cycle behind it."""
    folder = tmp_path_factory.mktemp("latency")
    with running(folder, WORKERS__PROCESSES=str(WORKERS)) as made:
        made.cycle()
        yield made


@contextmanager
def busy(stack: Stack) -> Iterator[None]:
    """One cycle after another inside."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            stack.post("/cycle?wait=60")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def times(stack: Stack, path: str, count: int) -> list[float]:
    """Seconds until each answer; one with a fault in it is an answer too."""
    taken = []
    with requests.Session() as session:
        for _ in range(count):
            began = time.perf_counter()
            assert session.get(f"{stack.url}{path}", timeout=20).status_code in {200, 503}
            taken.append(time.perf_counter() - began)
    return taken


@pytest.mark.parametrize("path", PATHS)
def test_the_median_answer_is_quick_while_eight_workers_run_cycles(stack: Stack, path: str) -> None:
    with busy(stack):
        taken = times(stack, path, ASKED)
    assert statistics.median(taken) < MEDIAN_S, sorted(taken)[-5:]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_comes_within_a_second_while_redis_hangs(stack: Stack, path: str) -> None:
    with stack.frozen("redis"):
        taken = times(stack, path, 10)
    assert max(taken) < WITHOUT_REDIS_S, taken
