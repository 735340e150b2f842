"""Whether one part answers, as an exit status: `python -m launcher.alive URL|worker|upkeep|beat`.

For the health checks of containers: each part is asked in its own container.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

ASK_S = 4.0


def is_alive(subject: str) -> bool:
    """Whether GET `subject` answers 2xx, or the named part of this machine has a heartbeat."""
    if subject.startswith("http://"):
        try:
            with build_opener(ProxyHandler({})).open(subject, timeout=ASK_S):
                return True
        except (URLError, OSError):
            return False
    from engine.config_source import load_settings  # noqa: PLC0415 (a URL needs neither)
    from launcher.vital_signs import VitalSigns  # noqa: PLC0415

    signs = VitalSigns(load_settings())
    return signs.has_beat() if subject == "beat" else signs.has_worker(subject)


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when alive, 1 when not, 2 for a wrong call."""
    match list(arguments):
        case [subject] if subject.startswith("http://") or subject in ("worker", "upkeep", "beat"):
            return 0 if is_alive(subject) else 1
        case _:
            sys.stderr.write("usage: python -m launcher.alive http://...|worker|upkeep|beat\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
