"""Flower in a running product: behind a password, with tasks that a person can read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from tasks.flower_config import format_task
from tests.integration.stack import running, wait_for

CYCLE = "20251122T070431Z-5f0c2a11"


@pytest.mark.parametrize(
    ("task", "kwargs"),
    [
        (
            SimpleNamespace(args=f"[{{'cycle_id': '{CYCLE}', 'batch': 0}}]", kwargs="{}"),
            f"{{}}  http://127.0.0.1:8001/cycles/{CYCLE}",
        ),
        (
            SimpleNamespace(args="[]", kwargs="{}", result=f"'{CYCLE}'"),
            f"{{}}  http://127.0.0.1:8001/cycles/{CYCLE}",
        ),
        (SimpleNamespace(args=None, kwargs=None), None),
        (SimpleNamespace(args="['20251122T070431Z']", kwargs="{}"), "{}"),
    ],
)
def test_a_task_of_a_cycle_names_the_address_of_that_cycle(
    task: SimpleNamespace, kwargs: str | None
) -> None:
    assert format_task(task).kwargs == kwargs


@pytest.mark.slow
def test_flower_asks_for_the_password_and_shows_readable_tasks(tmp_path: Path) -> None:
    login = ("operator", "a-long-password")
    with running(tmp_path, FLOWER__ENABLED="true", FLOWER__BASIC_AUTH=":".join(login)) as stack:
        address = f"{stack.flower_url}/tasks/datatable?draw=1&start=0&length=100&search[value]="
        address += "&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
        assert requests.get(f"{stack.flower_url}/", timeout=10).status_code == 401
        assert requests.get(address, timeout=10).status_code == 401
        cycle_id = stack.cycle()["cycle_id"]

        def shown() -> dict[str, dict[str, str]]:
            rows = requests.get(address, auth=login, timeout=10).json()["data"]
            return {row["name"]: row for row in rows}

        tasks = wait_for(lambda: shown() if "cycle.finish" in shown() else None, 20, "all tasks")
        steps_of_a_batch = {"batch.fetch", "batch.evaluate", "batch.risk"}
        assert {"cycle.start", "batch.run", *steps_of_a_batch, "cycle.allocate"} <= set(tasks)
        port = stack.environ["TRADING_ENGINE__PORT"]
        for name in ("batch.run", "batch.fetch", "batch.risk"):
            assert f":{port}/cycles/{cycle_id}" in tasks[name]["kwargs"]
            assert cycle_id in tasks[name]["args"]
            assert "'symbols'" in tasks[name]["args"]
            assert tasks[name]["state"] == "SUCCESS"
        rows = requests.get(address, auth=login, timeout=10).json()["data"]
        runs = {row["uuid"] for row in rows if row["name"] == "batch.run"}
        assert {row["parent"] for row in rows if row["name"] in steps_of_a_batch} == runs
        assert stack.get("/status")["flower_url"].rstrip("/") == stack.flower_url
