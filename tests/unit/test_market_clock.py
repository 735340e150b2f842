"""The replay clock's file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine.errors import ConfigError
from services.market_data.clock import ReplayClock
from tests.market_feeds import HOUR, make_simulated


def test_each_feed_has_its_own_now_in_one_file(tmp_path: Path) -> None:
    feed = make_simulated()
    one = ReplayClock(tmp_path / "clock", "one", feed)
    one.advance("c", 5)
    other = ReplayClock(tmp_path / "clock", "other", feed)
    assert other.now_ms() == feed.start_ms
    assert other.advance("c", 1) == feed.start_ms + HOUR


def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "clock").write_bytes(b"no database, but long enough to be taken for one" * 40)
    with pytest.raises(ConfigError, match="market clock") as caught:
        ReplayClock(tmp_path / "clock", "one", make_simulated())
    assert len(caught.value.faults) == 1


def test_one_cycle_asked_from_many_threads_moves_once(tmp_path: Path) -> None:
    feed = make_simulated()
    clock = ReplayClock(tmp_path / "clock", "one", feed)
    barrier = threading.Barrier(8)

    def move() -> None:
        barrier.wait()
        clock.advance("same", 1)

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now_ms() == feed.start_ms + HOUR
