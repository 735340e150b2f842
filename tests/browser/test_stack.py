"""The page over the whole product: start, stop, a cycle, and a halt after which nothing leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.browser.conftest import Open
from tests.integration.stack import Stack, running, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Everything, with a cycle every 5 s once it is started."""
    with running(tmp_path, TRADING_ENGINE__CYCLE_INTERVAL="5") as made:
        yield made


def filled(stack: Stack) -> set[str]:
    """Every order that traded."""
    orders = stack.get("/orders?limit=500")["items"]
    return {order["client_order_id"] for order in orders if float(order["filled_quantity"]) > 0}


def closed_after(stack: Stack, epoch: int) -> bool:
    """Whether a cycle that was opened later is over."""
    latest = stack.get("/cycles?limit=5")["items"]
    return any((one["epoch"] or 0) > epoch and one["status"] != "RUNNING" for one in latest)


@pytest.mark.timeout(240)
def test_start_cycle_halt_and_stop_from_the_page(stack: Stack, look: Open) -> None:
    watched = look(cast("Any", stack))
    watched.open()
    watched.page.click("[data-key=schedule-start]")
    watched.page.wait_for_selector("[data-key=schedule-stop]")
    watched.until("document.querySelectorAll('#orders tbody tr').length > 0", 60)
    shown = watched.page.locator("#orders a.row").first.get_attribute("href") or ""
    assert shown.startswith(("#order/", "#decision/"))
    watched.page.click("#halt")
    watched.page.click("#halt-now")
    watched.page.wait_for_selector("#state.halted")
    before = filled(stack)
    epoch = max(cycle["epoch"] or 0 for cycle in stack.get("/cycles?limit=5")["items"])
    wait_for(lambda: closed_after(stack, epoch), 60, "a cycle that began after the halt")
    assert filled(stack) == before
    watched.page.click("[data-key=schedule-stop]")
    watched.page.wait_for_selector("[data-key=schedule-start]")
    assert stack.get("/status")["schedule"] == "stopped"


@pytest.mark.timeout(240)
def test_the_page_of_a_cycle_leads_to_its_tasks_in_flower(tmp_path: Path, look: Open) -> None:
    with running(tmp_path, FLOWER__ENABLED="true") as stack:
        ours = stack.cycle()["cycle_id"]
        stack.cycle()
        watched = look(cast("Any", stack))
        watched.open(f"cycle/{ours}")
        with watched.page.expect_popup() as opened:
            watched.page.click("#trace a[target=_blank]")
        rows = opened.value.locator("#tasks-table tbody tr")
        rows.filter(has_text="cycle.finish").wait_for()
        assert rows.count() > 5
        assert rows.filter(has_text=ours).count() == rows.count()
        watched.page.close()  # before the engine ends, which it would report
