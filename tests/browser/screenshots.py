"""Takes the pictures that the documents show: `./dev screenshots`.

They are of a running product over the simulated feed, in a folder of its own. The prices are the
same each time, the times of day are not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import NAMES, find_browser
from tests.integration.stack import ROOT, Stack, running, wait_for

FOLDER = ROOT / "docs" / "images"
CYCLES = 24
INTERVAL_S = 5
LOADED = "#view:not(:has(.skeleton)) .card"
# Containers run as root, where Chromium's own sandbox cannot be made. The others draw each letter
# alike wherever it stands, which makes smaller files.
FLAGS = ("--no-sandbox", "--disable-lcd-text", "--disable-font-subpixel-positioning")
SETTLE_MS = 1500  # charts are drawn in frames of their own


@dataclass(frozen=True)
class Picture:
    """A file, what it shows, and how: the place is a view of the page, or `flower`."""

    name: str
    place: str
    width: int = 1280
    height: int = 800
    theme: str = "light"


PICTURES = (
    Picture("overview.png", "home", height=840),
    Picture("overview-dark.png", "home", height=840, theme="dark"),
    Picture("phone.png", "home", width=390, height=844),
    Picture("order.png", "order", height=664),
    Picture("cycle.png", "cycle"),
    Picture("flower.png", "flower", height=720),
)


def traded(stack: Stack) -> dict[str, str]:
    """The newest order that was filled and decided by a strategy, and its cycle."""
    orders = stack.get("/orders?limit=500")["items"]
    bought = (each for each in orders if each["status"] == "FILLED" and each["side"] == "buy")
    found = next(bought, None)
    if found is None:
        return {}
    return {"order": found["client_order_id"], "cycle": found["cycle_id"]}


def address(stack: Stack, picture: Picture, shown: dict[str, str]) -> str:
    """Where the browser finds what is pictured."""
    if picture.place == "flower":
        return f"{stack.flower_url}/tasks?name={shown['cycle']}%20OR%20{shown['cycle']}"
    place = "/".join(filter(None, (picture.place, shown.get(picture.place))))
    return f"{stack.url}/?theme={picture.theme}#{place}"


def photograph(page: Page, url: str, target: Path, loaded: str) -> None:
    """Open an address, wait until it shows its data, and keep what is seen."""
    page.goto(url)
    page.wait_for_selector(loaded)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=target)


def take(stack: Stack, browser: Browser, folder: Path) -> None:
    """Every picture of a stack that has traded; one line each."""
    shown = wait_for(lambda: traded(stack), 60, "an order that was filled")
    for picture in PICTURES:
        size = {"width": picture.width, "height": picture.height}
        page = browser.new_page(viewport=size)  # type: ignore[arg-type]  # a TypedDict
        loaded = "#tasks-table tbody a" if picture.place == "flower" else LOADED
        target = folder / picture.name
        photograph(page, address(stack, picture, shown), target, loaded)
        page.close()
        sys.stdout.write(f"{target}  {target.stat().st_size / 1000:.0f} kB\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a stack, let it trade, take the pictures; 1 without a browser."""
    parser = argparse.ArgumentParser(prog="./dev screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are written")
    parser.add_argument("--cycles", type=int, default=CYCLES, help="so many are waited for")
    given = parser.parse_args(arguments)
    path = find_browser()
    if path is None:
        names = ", ".join(NAMES)
        sys.stderr.write(f"no Chromium: install one (apt install chromium), tried {names}\n")
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "FLOWER__ENABLED": "true",
        "TRADING_ENGINE__AUTOSTART": "true",
        "TRADING_ENGINE__CYCLE_INTERVAL": str(INTERVAL_S),
    }
    with tempfile.TemporaryDirectory() as place, running(Path(place), **settings) as stack:
        limit_s = 60 + given.cycles * INTERVAL_S * 2

        def closed() -> bool:
            found = stack.get(f"/cycles?limit={given.cycles}")["items"]
            return sum(each["finished_at"] is not None for each in found) >= given.cycles - 1

        wait_for(closed, limit_s, f"{given.cycles} cycles")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            take(stack, browser, given.folder)
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
