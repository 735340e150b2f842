"""Every measurement, one after another: `./dev bench all [--quick] [--json FILE]`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import Row, options

NAMES = ("cycle", "tick", "floor", "workers", "api", "soak", "peer")


def main() -> int:
    """Exit status 1 when one of them failed; the others are measured all the same."""
    chosen = options("all", __doc__).parse_args()
    rows: list[Row] = []
    failed = []
    for name in NAMES:
        sys.stderr.write(f"== {name}\n")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.json"
            command = [sys.executable, "-m", f"bench.{name}", "--json", str(path)]
            command += ["--quick"] if chosen.quick else []
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(name)
            elif path.exists():
                rows += json.loads(path.read_text(encoding="utf-8"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if failed:
        sys.stderr.write(f"not measured: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
