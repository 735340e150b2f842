"""Ends the parts when the launcher is killed outright.

Runs beside the launcher in a session of its own and waits on a pipe that only the launcher
holds open: whatever ends the launcher closes it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from launcher import sessions

GRACE_S = 5.0
END_WAIT_S = 2.0


class Guard:
    """The launcher's end of the pipe."""

    def __init__(self, roster: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            [sys.executable, "-m", "launcher.guard", str(roster)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Closes the pipe; the guard finds nothing to end, and goes."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def watch(roster: Path) -> None:
    """Waits until the launcher is gone, then ends what `roster` lists."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sessions.end(sessions.read_roster(roster), GRACE_S, time.monotonic)
    sessions.write_roster(roster, [])


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
