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
    try:
        from launcher.main import main  # noqa: PLC0415 (an older Python cannot read it)
        from launcher.options import parse  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        sys.stderr.write(
            f"app.py: the package {missing.name} is not installed; "
            "run: pip install -r requirements.txt (or ./dev up, which does it)\n"
        )
        return 1
    options = parse(sys.argv[1:])
    os.chdir(Path(__file__).resolve().parent)  # where the parts are started from
    return main(options)


if __name__ == "__main__":
    sys.exit(run())
