"""One command for one machine: embedded Redis, services, workers, beat, Flower and API."""

import os
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)


def run() -> int:
    """The exit status of the launcher; one line when the machine lacks something."""
    if sys.version_info < OLDEST_PYTHON:
        version = ".".join(str(part) for part in sys.version_info[:2])
        sys.stderr.write(f"app.py needs Python 3.11 or newer; this is {version}\n")
        return 1
    from launcher.options import parse  # noqa: PLC0415 (an older Python cannot read it)

    options = parse(sys.argv[1:])
    sys.stdout.write(
        "trading engine: starting every part on this machine; "
        "the first cycle comes in about half a minute, Ctrl-C stops everything\n"
    )
    sys.stdout.flush()
    os.chdir(Path(__file__).resolve().parent)  # where the parts are started from
    try:
        from launcher.main import main  # noqa: PLC0415 (takes a second, after the first line)
    except ModuleNotFoundError as missing:
        sys.stderr.write(
            f"app.py: the package {missing.name} is not installed; "
            "run: pip install -r requirements.txt (or ./dev up, which does it)\n"
        )
        return 1
    except KeyboardInterrupt:
        return 0
    return main(options)


if __name__ == "__main__":
    sys.exit(run())
