"""Eight processes over one real Redis: one limit, one breaker, one probe."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.clients_kit import most_in_a_window
from tests.faulty_server import Asked, FaultyServer, answer, problem

ROOT = Path(__file__).parents[2]
PROCESSES = 8


def run(url: str, redis_url: str, modes: list[str], seconds: float, **settings: Any) -> list[Any]:
    """Run a process for each mode, all beginning at once; what they saw."""
    with tempfile.TemporaryDirectory() as folder:
        task = {
            "url": url,
            "redis": redis_url,
            "modes": modes,
            "seconds": seconds,
            "folder": folder,
            "settings": settings,
        }
        command = [sys.executable, "-m", "tests.fleet_worker", json.dumps(task)]
        subprocess.run(command, check=True, cwd=ROOT, timeout=60)
        files = (Path(folder, f"{number}.json") for number in range(len(modes)))
        return [json.loads(file.read_text()) for file in files]


# One permit at a time, and several at once, of which some may come to nothing.
@pytest.mark.parametrize(("limit", "least"), [(20, 2 * 16), (240, 240)])
def test_no_second_ever_sees_more_than_the_limit_and_lookups_do_not_wait(
    redis_url: str, limit: int, least: int
) -> None:
    modes = ["entries"] * (PROCESSES - 1) + ["lookups"]
    with FaultyServer(answer({})) as server:
        rate_limit = f"{limit}/second"
        outputs = run(server.url, redis_url, modes, 3.5, rate_limit=rate_limit, timeout_s=2)
        arrivals = [asked.at for asked in server.asked]
        entries = [asked for asked in server.asked if asked.path == "/entry"]
    assert most_in_a_window(arrivals) <= limit
    assert len(entries) >= least  # the limit is used, not only kept
    assert all(output["waits"] for output in outputs[:-1])
    assert outputs[-1]["waits"] == []
    assert statistics.median(outputs[-1]["took"]) < 0.2


@pytest.mark.slow
def test_of_a_hundred_lookups_all_but_one_wait_less_than_a_fifth_of_a_second(
    redis_url: str,
) -> None:
    modes = ["entries"] * (PROCESSES - 1) + ["lookups"]
    with FaultyServer(answer({})) as server:
        outputs = run(server.url, redis_url, modes, 44, rate_limit="20/second", timeout_s=2)
        arrivals = [asked.at for asked in server.asked]
    assert most_in_a_window(arrivals) <= 20
    took = sorted(outputs[-1]["took"])
    assert len(took) >= 90
    assert took[int(0.99 * len(took)) - 1] < 0.2
    assert outputs[-1]["waits"] == []


def test_a_refusal_seen_by_one_process_stops_every_process(redis_url: str) -> None:
    replies = [problem(429, headers={"Retry-After": "2"}), answer({})]
    with FaultyServer(replies) as server:
        run(server.url, redis_url, ["entries"] * 4, 3.5, rate_limit="100/second", timeout_s=3)
        first, *later = (asked.at for asked in server.asked)
    assert later
    # What was on its way at that moment arrives still.
    assert [at for at in later if 0.3 < at - first < 1.9] == []


def test_an_outage_is_probed_by_one_process_and_ends_after_three_good_probes(
    redis_url: str,
) -> None:
    breaker = {"failures": 5, "reset_s": 0.4, "max_reset_s": 0.8}
    began: list[float] = []

    def reply(asked: Asked) -> Any:
        began.append(asked.at)
        if asked.at - began[0] < 2.0:
            return problem(500)
        return answer({"status": "ok"})

    with FaultyServer(reply) as server:
        run(server.url, redis_url, ["outage"] * PROCESSES, 4.5, breaker=breaker, timeout_s=1)
        asked = server.asked
    first_probe = next(index for index, one in enumerate(asked) if one.path == "/health")
    is_back = next(index for index, one in enumerate(asked) if one.at - asked[0].at >= 2.0)
    before, during = asked[:first_probe], asked[first_probe:is_back]
    assert len(before) <= 16
    assert {one.path for one in during} == {"/health"}
    gaps = [later.at - one.at for one, later in itertools.pairwise(during)]
    assert all(gap > 0.75 for gap in gaps)  # the period doubled after the first one
    after = [one.path for one in asked[is_back:]]
    assert after[:3] == ["/health"] * 3
    assert "/work" not in after[:3]
    assert after[-PROCESSES:] == ["/work"] * PROCESSES
