"""What a long-running process keeps out of the garbage collector's sight."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from engine.process_memory import keep_what_was_imported

imported = [[] for _ in range(1_000_000)]
keep_what_was_imported()
before = gc.get_stats()[2]["collections"]
made = [[] for _ in range(200_000)]
print(gc.get_freeze_count() > len(imported), gc.get_stats()[2]["collections"] - before)
"""


def test_what_was_imported_neither_is_looked_at_again_nor_puts_collections_off() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    frozen, full_collections = done.stdout.split()
    assert frozen == "True"
    assert int(full_collections) >= 1
