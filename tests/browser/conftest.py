"""A real browser, once a session, and pages whose console and requests are watched."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.ledger.ledger import open_ledger
from engine.settings import Settings
from tests.browser.page_world import Shown, shown
from tests.ledger_database import copy_ledger, ledger_settings

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = "BROWSER_REQUIRED"


def find_browser() -> str | None:
    """The path of a Chromium; CHROMIUM names another one."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Watched:
    """A page, with every error of its console and every address that it asked for."""

    page: sync_api.Page
    url: str
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, place: str = "home", *, theme: str = "light", ready: bool = True) -> None:
        """Show a view afresh and wait until it has its data."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/?theme={theme}#{place}")
        if ready:
            self.until("document.querySelector('#mode').textContent !== ''")
            self.until("!document.querySelector('.skeleton')")

    def until(self, claim: str, seconds: float = 10) -> None:
        """Wait until an expression holds; the page's policy forbids the browser's own polling."""
        give_up_at = time.monotonic() + seconds
        while not self.page.evaluate(claim):
            if time.monotonic() > give_up_at:
                raise AssertionError(f"not within {seconds} s: {claim}")
            self.page.wait_for_timeout(30)


Open = Callable[..., Watched]


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    """Chromium; without one the tests are skipped, unless the environment requires it."""
    path = find_browser()
    if path is None:
        reason = f"no Chromium: install one (apt install chromium), tried {', '.join(NAMES)}"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with sync_api.sync_playwright() as playwright:
            # Containers run as root, where Chromium's own sandbox cannot be made.
            launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            yield launched
            launched.close()


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ledger that was just created."""
    folder = tmp_path_factory.mktemp("ledger")
    open_ledger(ledger_settings(folder)).dispose()
    return folder


@pytest.fixture
def settings(empty_ledger: Path, tmp_path: Path) -> Settings:
    """Settings with a data_dir of their own, which holds an empty ledger."""
    copy_ledger(empty_ledger, tmp_path)
    return ledger_settings(tmp_path)


@pytest.fixture(scope="module")
def full(empty_ledger: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """An engine with 1,000 cycles, 5,000 orders and 500 positions, for tests that only look."""
    folder = tmp_path_factory.mktemp("full")
    copy_ledger(empty_ledger, folder)
    with shown(ledger_settings(folder), filled=True) as made:
        yield made


@pytest.fixture
def empty(settings: Settings) -> Iterator[Shown]:
    """An engine before its first cycle."""
    with shown(settings, filled=False) as made:
        yield made


@pytest.fixture
def look(browser: sync_api.Browser) -> Iterator[Open]:
    """Open a page on an engine; at the end no page may have said or asked anything wrong."""
    contexts: list[sync_api.BrowserContext] = []
    pages: list[Watched] = []

    def opened(made: Shown, width: int = 1280, height: int = 800) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        watched = Watched(context.new_page(), made.url)
        pages.append(watched)
        watched.page.on(
            "console",
            lambda message: (
                watched.errors.append(message.text)
                if message.type in {"error", "warning"}
                else None
            ),
        )
        watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
        watched.page.on("request", lambda request: watched.asked.append(request.url))
        return watched

    yield opened
    for context in contexts:
        context.close()
    for watched in pages:
        foreign = [url for url in watched.asked if not url.startswith((watched.url, "about:"))]
        assert foreign == []
        assert watched.errors == []
