"""What a process that runs for days does about its memory once it has started."""

from __future__ import annotations

import gc


def keep_what_was_imported() -> None:
    """Take everything that exists now out of the garbage collector's sight, for good.

    Modules and applications are never let go, so that looking at them again costs time and, in a
    child, a copy of each page. The second collection counts what is left as the long-lived share:
    the collector puts a full collection off until a quarter of that share is new, and would let a
    quarter of everything imported pile up as garbage first (CPython, Modules/gcmodule.c).
    """
    gc.collect()
    gc.freeze()
    gc.collect()
