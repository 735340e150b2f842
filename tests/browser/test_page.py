"""The operator's page in a real browser: what must hold of it at any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.domain.model import TradingState
from tests.browser.conftest import Open, Watched
from tests.browser.page_world import Shown, hold

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def places(made: Shown) -> list[str]:
    """Every view."""
    return [
        *("home", "orders", "cycles", "alerts", "settings"),
        f"order/{made.order_id}",
        f"cycle/{made.cycle_id}",
        "decision/1",
    ]


def faults(watched: Watched) -> list[str]:
    """What axe finds, one line a rule."""
    watched.page.evaluate(AXE)
    found = watched.page.evaluate(f"axe.run(document, {json.dumps(RULES)})")
    return [
        f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}"
        for each in found["violations"]
    ]


def test_state_mode_age_and_halt_are_in_the_first_screen_of_a_phone(
    full: Shown, look: Open
) -> None:
    watched = look(full, 390, 700)
    watched.open()
    for name in ("#state-line", "#mode", "#conn-text", "#halt"):
        box = watched.page.locator(name).bounding_box()
        assert box is not None, name
        assert box["y"] + box["height"] <= 700, name
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= 390, name
    assert watched.page.inner_text("#mode") == "SIMULATED"
    assert watched.page.inner_text("#state-line").startswith("Active")


def test_halt_takes_two_clicks_and_resume_a_typed_reason(empty: Shown, look: Open) -> None:
    watched = look(empty)
    watched.open()
    watched.page.click("#halt")
    watched.page.click("#halt-now")
    watched.page.wait_for_selector("#state.halted")
    assert watched.page.inner_text("#state-line") == "Halted: no order leaves"
    assert empty.bench.execution.halted
    assert empty.bench.ledger.state.read().effective is TradingState.HALTED
    watched.page.click("[data-key=resume]")
    assert watched.page.is_disabled("#resume-now")
    watched.page.fill("#resume-reason", "checked the prices")
    watched.page.click("#resume-now")
    watched.page.wait_for_selector("#state:not(.halted)")
    assert empty.bench.ledger.state.read().operator_reason == "checked the prices"


def test_an_order_is_one_click_from_its_whole_story(full: Shown, look: Open) -> None:
    watched = look(full)
    watched.open()
    watched.page.click(f"[data-key='{full.order_id}']")
    watched.page.wait_for_selector("#story")
    story = full.bench.get(f"/orders/{full.order_id}").json
    text = watched.page.inner_text("#story")
    assert story["signal"]["reason"] in text
    for step in story["transitions"]:
        assert step["to_status"] in text
    assert len(story["decision"]["allowances"]) <= len(text.splitlines())
    assert "Position size" in text or "binding" in text or not story["decision"]["allowances"]
    assert watched.page.locator(".chart.candles canvas").count() > 0


def test_every_denial_names_its_rule(full: Shown, look: Open) -> None:
    watched = look(full)
    watched.open()
    watched.page.click("[data-key='Show-denied']")
    rows = watched.page.locator("#orders tbody tr").all_inner_texts()
    assert rows
    assert all("denied: " in row for row in rows)
    watched.open(f"cycle/{full.cycle_id}")
    text = watched.page.inner_text("#symbols")
    for word in ("cooldown", "positions"):
        assert f"denied: {word}" in text
    assert "max_open_positions" not in text


def test_axe_finds_no_fault_on_the_overview(full: Shown, look: Open) -> None:
    watched = look(full)
    watched.open()
    assert faults(watched) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault_anywhere(full: Shown, look: Open, theme: str, width: int) -> None:
    watched = look(full, width)
    for place in places(full):
        watched.open(place, theme=theme)
        assert faults(watched) == [], place
    watched.page.click("#halt")
    assert faults(watched) == []


def test_nothing_overflows_on_a_phone(full: Shown, look: Open) -> None:
    watched = look(full, 390)
    for place in ("home", f"order/{full.order_id}"):
        watched.open(place)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390, place


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_anywhere(full: Shown, look: Open, width: int) -> None:
    watched = look(full, width)
    for place in places(full):
        watched.open(place)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, place


def test_the_first_paint_and_the_data_come_at_once(full: Shown, look: Open) -> None:
    """With 1,000 cycles, 5,000 orders and 500 positions."""
    watched = look(full)
    watched.open(ready=False)
    watched.page.wait_for_selector("#state .facts")
    paint = watched.page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
    )
    assert paint is not None
    assert paint < 1000


def test_the_keyboard_alone_reaches_everything(full: Shown, look: Open) -> None:
    watched = look(full)
    watched.open()
    keyboard = watched.page.keyboard
    keyboard.press("?")
    assert watched.page.locator("#dialog dl.keys").is_visible()
    keyboard.press("Escape")
    keyboard.press("Shift+H")
    assert "Halt trading" in watched.page.inner_text("#dialog")
    keyboard.press("Escape")
    assert full.bench.ledger.state.read().effective is TradingState.ACTIVE
    keyboard.press("g")
    keyboard.press("o")
    watched.page.wait_for_selector("#all-orders tbody tr")
    keyboard.press("/")
    keyboard.type("btc")
    keyboard.press("Escape")
    keyboard.press("j")
    keyboard.press("Enter")
    watched.page.wait_for_selector("#story")
    before = watched.page.evaluate("document.documentElement.dataset.theme")
    keyboard.press("t")
    assert watched.page.evaluate("document.documentElement.dataset.theme") != before


def test_before_the_first_cycle_both_ways_to_begin_are_offered(empty: Shown, look: Open) -> None:
    watched = look(empty)
    watched.open()
    assert "No cycle yet" in watched.page.inner_text("#state")
    watched.page.click("[data-key=cycle]")
    watched.until("document.querySelector('#cycle-now').innerText.includes('Current')")
    watched.page.click("[data-key^=schedule]")
    watched.until("document.querySelector('[data-key^=schedule]').textContent === 'Stop schedule'")
    assert empty.bench.ledger.state.read().schedule_running
    watched.page.click("[data-key^=schedule]")
    watched.until("document.querySelector('[data-key^=schedule]').textContent === 'Start schedule'")


def test_a_position_is_closed_from_the_page(empty: Shown, look: Open) -> None:
    hold(empty.bench, 3)
    watched = look(empty)
    watched.open()
    watched.page.click("[data-key='close-BTC/USD']")
    watched.page.click("#close-now")
    watched.until("document.querySelector('#positions').innerText.includes('closing')")
    [wish] = empty.bench.ledger.positions.exit_requests()
    assert wish.symbol == "BTC/USD"
    assert "foreign" in watched.page.inner_text("#positions")


@pytest.mark.slow
def test_a_list_that_is_awaited_is_a_skeleton_until_it_comes(full: Shown, look: Open) -> None:
    watched = look(full)
    held: list[Any] = []
    watched.page.route("**/orders?*", lambda route: held.append(route))  # noqa: PLW0108  no builtin
    watched.open(ready=False)
    watched.page.wait_for_selector("#positions tbody tr")
    assert watched.page.locator("#orders .skeleton").count() == 1
    for route in held:
        route.continue_()
    watched.page.wait_for_selector("#orders tbody tr")
    assert watched.page.locator("#orders .skeleton").count() == 0


@pytest.mark.slow
def test_what_comes_soon_is_not_announced_and_what_takes_long_is(full: Shown, look: Open) -> None:
    """A story within 300 ms shows no skeleton at all; a later one does until it is there."""
    watched = look(full)
    watched.open()
    watched.page.evaluate(
        "globalThis.seen = 0; new MutationObserver(() => {"
        " seen += document.querySelectorAll('#view .skeleton').length; })"
        ".observe(document.querySelector('#view'), {childList: true, subtree: true})"
    )
    held: list[Any] = []
    watched.page.route(f"**/orders/{full.order_id}", lambda route: held.append(route))  # noqa: PLW0108  no builtin
    watched.page.evaluate(f"location.hash = '#order/{full.order_id}'")
    watched.until("seen > 0")
    assert "Loading" in watched.page.inner_text("#view")
    held[0].continue_()
    watched.page.wait_for_selector("#view h1")
    assert watched.page.locator("#view .skeleton").count() == 0
    watched.page.unroute_all()
    watched.page.evaluate(f"globalThis.seen = 0; location.hash = '#cycle/{full.cycle_id}'")
    watched.page.wait_for_selector("#trace")
    spent = watched.page.evaluate(
        "Math.max(...performance.getEntriesByType('resource')"
        f".filter((each) => each.name.includes('{full.cycle_id}')).map((each) => each.duration))"
    )
    assert spent > 300 or watched.page.evaluate("seen") == 0
