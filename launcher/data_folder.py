"""The folder that outlives a run: private, used by one launcher at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import ConfigError

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
SECRET_BYTES = 32


class DataFolder:
    """`data_dir`, locked while the context is entered.

    Raises ConfigError where it cannot be made or written, or another launcher holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            self.path.chmod(PRIVATE_FOLDER)
            self._lock = os.open(self.path / "launcher.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as exc:
            fault = f"data_dir: {self.path} cannot be used ({exc.strerror}); choose another folder"
            raise ConfigError([fault]) from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock)
            fault = (
                f"data_dir: {self.path} is in use by another launcher that runs; "
                "stop that one, or choose another folder: --data-dir FOLDER"
            )
            raise ConfigError([fault]) from exc
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def folder(self, name: str) -> Path:
        """The folder `name` inside, made private when missing."""
        path = self.path / name
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        return path

    def secret(self, name: str) -> str:
        """The secret kept in the file `name`: 32 random bytes, made on the first call."""
        path = self.path / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(SECRET_BYTES))
        return path.read_text(encoding="ascii").strip()


def write_private(path: Path, text: str) -> None:
    """Replaces the file `path` in one step, readable by its owner only."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    scratch.replace(path)
