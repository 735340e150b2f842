"""Writes .env with a new secret for every variable that docker-compose.yml asks for."""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path

from launcher.data_folder import SECRET_BYTES, write_private

REQUIRED = re.compile(r"\$\{([A-Z_]+):\?")


def complete(compose: str, existing: str) -> tuple[str, list[str]]:
    """The text of .env with what `compose` requires added to `existing`, and the added names.

    A variable that has a value keeps it: a password once used by a database must not change.
    """
    present = {line.partition("=")[0].strip() for line in existing.splitlines() if "=" in line}
    added = sorted(set(REQUIRED.findall(compose)) - present)
    lines = [f"{name}={secrets.token_urlsafe(SECRET_BYTES)}" for name in added]
    kept = existing if not existing or existing.endswith("\n") else f"{existing}\n"
    return kept + "".join(f"{line}\n" for line in lines), added


def main(folder: Path) -> int:
    """Completes `folder`/.env; exit status 0."""
    path = folder / ".env"
    existing = path.read_text(encoding="utf-8") if path.exists() else ""
    text, added = complete((folder / "docker-compose.yml").read_text(encoding="utf-8"), existing)
    write_private(path, text)
    sys.stdout.write(f".env: {', '.join(added) + ' made' if added else 'complete already'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
