"""The page while the engine comes and goes: states, reconnection, many tabs, halting."""

from __future__ import annotations

import concurrent.futures
import time
from datetime import timedelta

import msgspec
import pytest
import requests

from engine.domain.ledger_values import NewAlert
from engine.domain.model import TradingState
from engine.settings import Settings
from tests.browser.conftest import Open
from tests.browser.page_world import Shown, hold, shown
from web import KeyRing

TABS = 8


@pytest.mark.slow
def test_reducing_says_who_and_why_and_what_resuming_needs(empty: Shown, look: Open) -> None:
    watched = look(empty)
    watched.open()
    watched.page.click("[data-key=reduce]")
    watched.page.fill("#reduce-reason", "weekend")
    watched.page.click("#dialog .primary")
    watched.page.wait_for_selector("#state.reducing")
    text = watched.page.inner_text("#state")
    assert "Reducing: only orders that shrink a position leave" in text
    assert "weekend" in text
    assert "Resuming needs a reason" in text
    assert empty.bench.ledger.state.read().effective is TradingState.REDUCING


def test_what_changes_elsewhere_is_shown_without_asking(empty: Shown, look: Open) -> None:
    watched = look(empty)
    watched.open()
    empty.bench.post("/halt", {"reason": "from the command line"})
    watched.page.wait_for_selector("#state.halted")
    assert "from the command line" in watched.page.inner_text("#state")
    alert = NewAlert(key="a", name="execution_down", severity="critical", detail="2 orders UNKNOWN")
    empty.bench.ledger.state.raise_alert(alert, empty.bench.clock.now())
    watched.page.wait_for_selector("#attention .note.bad")
    watched.page.click("[data-key^=ack-]")
    watched.until("document.querySelector('#attention').innerText.includes('Seen by local')")


@pytest.mark.slow
def test_a_degraded_service_says_what_is_therefore_not_done(empty: Shown, look: Open) -> None:
    empty.bench.open_circuits["strategy"] = "open"
    watched = look(empty)
    watched.open()
    note = watched.page.inner_text("#attention .note.warn")
    assert "Strategy engine" in note
    assert "no entries" in note


@pytest.mark.slow
def test_an_old_account_keeps_its_figures_and_shows_its_age(empty: Shown, look: Open) -> None:
    hold(empty.bench, 2)
    snapshot = empty.bench.ledger.state.last_snapshot()
    assert snapshot is not None
    old = msgspec.structs.replace(snapshot, as_of=snapshot.as_of - timedelta(minutes=7))
    empty.bench.ledger.state.save_snapshot(old)
    watched = look(empty)
    watched.open()
    assert watched.page.locator("#state .late").inner_text().startswith("7 min")
    assert "104,312.55" in watched.page.inner_text("#equity")


@pytest.mark.slow
def test_a_refusal_shows_the_problem_and_its_request(empty: Shown, look: Open) -> None:
    empty.bench.vitals.live_workers = ()
    watched = look(empty)
    watched.open()
    watched.page.click("[data-key=schedule-start]")
    watched.page.wait_for_selector("#dialog .problem")
    text = watched.page.inner_text("#dialog")
    assert "workers: no worker has sent a heartbeat" in text
    assert "request " in text
    assert "Try again" in text
    watched.errors.clear()  # the browser's own lines on 409 and 503


@pytest.mark.slow
def test_the_page_asks_for_a_key_and_keeps_it_in_memory(settings: Settings, look: Open) -> None:
    with shown(settings, filled=False, keys=KeyRing.single("secret-of-the-test")) as made:
        watched = look(made)
        watched.open(ready=False)
        watched.page.fill("#key", "secret-of-the-test")
        watched.page.keyboard.press("Enter")
        watched.page.wait_for_selector("#state .facts")
        kept = watched.page.evaluate(
            "JSON.stringify([localStorage, sessionStorage, document.cookie])"
        )
        assert "secret" not in kept
        watched.errors.clear()  # the browser's own lines on the first 401s


@pytest.mark.parametrize("mode", ["paper", "live", "simulated"])
@pytest.mark.slow
def test_the_mode_is_told_by_shape_and_title(settings: Settings, look: Open, mode: str) -> None:
    services = {} if mode == "simulated" else {"market_data": {"url": "http://127.0.0.1:9"}}
    engine = {"mode": "live"} if mode == "live" else {}
    asked = {"data_dir": settings.data_dir, "services": services, "trading_engine": engine}
    with shown(Settings.model_validate(asked), filled=False) as made:
        watched = look(made)
        watched.open()
        assert watched.page.inner_text("#mode") == mode.upper()
        assert mode.upper() in watched.page.title()
        assert watched.page.get_attribute("#icon", "href") == f"/assets/icons/{mode}.svg"
        style = watched.page.evaluate(
            "getComputedStyle(document.querySelector('#mode')).borderStyle"
        )
        assert style == ("dashed" if mode == "simulated" else "solid")


@pytest.mark.slow
def test_a_stopped_api_turns_the_page_grey_and_it_comes_back_live(empty: Shown, look: Open) -> None:
    """Grey within 12 s, live again within 12 s, and nothing is shown twice."""
    hold(empty.bench, 3)
    watched = look(empty)
    watched.open()
    rows = watched.page.locator("#positions tbody tr").count()
    empty.stop()
    watched.until("document.body.classList.contains('stale')", 12)
    text = watched.page.inner_text("#state")
    assert "Not known: no connection since" in text
    assert "what was last known: Active" in text
    empty.start_again()
    watched.until("!document.body.classList.contains('stale')", 12)
    watched.until("document.querySelector('#state-line').innerText.startsWith('Active')")
    assert watched.page.locator("#positions tbody tr").count() == rows
    assert watched.page.locator("#state").count() == 1
    empty.bench.post("/halt", {"reason": "after the restart"})
    watched.page.wait_for_selector("#state.halted")
    watched.errors.clear()  # the browser's own lines on the refused connections


def _halted(made: Shown) -> float:
    """Seconds until a halt is answered."""
    began = time.monotonic()
    answer = requests.post(f"{made.url}/halt", json={"reason": "now"}, timeout=5)
    assert answer.status_code == 200
    return time.monotonic() - began


@pytest.mark.slow
def test_eight_tabs_work_and_do_not_delay_a_halt(empty: Shown, look: Open) -> None:
    first = look(empty)
    first.open()
    context = first.page.context
    tabs = [context.new_page() for _ in range(TABS - 1)]
    for tab in tabs:
        tab.goto(first.url)
        tab.wait_for_selector("#state .facts")
    assert _halted(empty) < 1.0
    for tab in [first.page, *tabs]:
        tab.bring_to_front()
        tab.wait_for_selector("#state.halted", timeout=10_000)


def test_eight_open_streams_do_not_delay_a_halt(empty: Shown) -> None:
    """More of them than the server has threads for requests."""
    streams = [
        requests.get(f"{empty.url}/events", stream=True, timeout=10) for _ in range(TABS * 3)
    ]
    assert all(next(stream.iter_content(64)) for stream in streams)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        slowest = max(pool.map(_halted, [empty] * 12))
    assert slowest < 1.0
    for stream in streams:
        stream.close()
