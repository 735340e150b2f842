"""Another engine with an old ledger: what it sends must be refused."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from tests.faults.rig.counts import Counts
from tests.faults.rig.ledger_view import rows
from tests.faults.rig.world import World

CONFLICT = 409


def intrude(world: World, counts: Counts) -> None:
    """Send what a stale engine would, straight to the execution service; note what it takes."""
    known = _known(world)
    if known is None:
        return
    epoch = _fence(world)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    fresh = {"client_order_id": str(uuid.uuid4()), "valid_until": soon, "quantity": "0.001"}
    tries = {
        "fenced": ({**known, **fresh, "epoch": epoch - 1}, "fenced"),
        "body": ({**known, "quantity": "0.001"}, "body-mismatch"),
    }
    results: Counter[str] = Counter()
    for name, (body, kind) in tries.items():
        answer = _post(world, body)
        refused = answer.status_code == CONFLICT and answer.json()["type"].endswith(kind)
        results[f"intruder {name}"] += 1
        if not refused:
            told = f"{answer.status_code} {answer.text[:200]}"
            counts.breaches.append(f"intruder: {name} was answered {told}")
    counts.venue.update(results)


def intrude_late(world: World, counts: Counts) -> None:
    """An order that is not valid any more, of the current epoch: the last thing a world sees."""
    known = _known(world)
    if known is None:
        return
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    fresh = {"client_order_id": str(uuid.uuid4()), "valid_until": past, "quantity": "0.001"}
    answer = _post(world, {**known, **fresh, "epoch": _fence(world)})
    counts.venue["intruder late"] += 1
    reason = answer.json().get("reason", "")
    if answer.json().get("state") != "REJECTED" or "valid_until" not in reason:
        counts.breaches.append(f"intruder: late was answered {answer.text[:200]}")


def _known(world: World) -> dict[str, Any] | None:
    """The body of an order that the service filled."""
    taken = rows(
        world.data / "execution.sqlite",
        "SELECT body FROM orders WHERE body IS NOT NULL AND state = 'FILLED' LIMIT 1",
    )
    if not taken:
        return None
    body: dict[str, Any] = json.loads(taken[0]["body"])
    return body


def fence_of(world: World) -> dict[str, Any]:
    """What the execution service says of its fence and its switch."""
    url = f"http://127.0.0.1:{world.ports['execution']}/fence"
    answer: dict[str, Any] = requests.get(url, timeout=5).json()
    return answer


def _fence(world: World) -> int:
    return int(fence_of(world)["epoch"])


def _post(world: World, body: dict[str, Any]) -> requests.Response:
    url = f"http://127.0.0.1:{world.ports['execution']}/orders"
    return requests.post(url, json=body, timeout=5)
