"""Named places where a test ends or freezes this process, and faults that it switches on.

Inert unless TRADING_ENGINE_FAILPOINTS is set, and refused in live mode. Its form is
`B3:0.05,B4:0.1,B3:0.02:stop;seed=7;bug=no_fence;dir=/folder`: a place with the probability of
each reach, and what happens there (`kill`, the default, or `stop`). A line
`place action pid time subject` is appended to the file `hits` in `dir` first, so that counts
survive; the subject is what was worked on (a batch, an order). While `dir` holds a file `paused`
nothing happens.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import ConfigError

VARIABLE = "TRADING_ENGINE_FAILPOINTS"
HITS = "hits"
PAUSED = "paused"

PLACES: dict[str, str] = {
    "B0": "a batch task was received, nothing done",
    "B1": "a batch was evaluated, and not reported",
    "B2": "orders are reserved, and not handed on",
    "B3": "SENDING is set, and nothing sent",
    "B4": "the request was sent and its answer not read",
    "B5": "the answer was read and not recorded",
    "B6": "the answer is recorded, and its fill not relayed",
    "B7": "the task is done and not acknowledged",
    "B8": "the chord counted its last part, and its body is not published",
    "C1": "a cycle is open and its fence not sent",
    "X1": "the execution service committed an order and did not answer",
}
BUGS: dict[str, str] = {
    "random_client_order_id": "each send makes a new id",
    "no_fence": "the execution service takes orders below the fence",
    "no_epoch_check": "SENDING is set for orders of an older epoch",
    "no_void": "an unresolved order is written off without asking the execution service",
    "check_then_write": "each candidate is checked against the limits as if it were the only one",
    "unfrozen_payload": "the body is built anew at each send",
    "release_on_timeout": "an order without an answer is taken for ended, its budget released",
    "unsettled_sell_credit": "the exits of a cycle pay for its entries",
    "snapshot_before_reconcile": "fills after the snapshot are taken for applied in it",
    "no_state_recheck": "the trading state is not read again when SENDING is set",
    "unbounded_tries": "batches are claimed and orders sent without bound",
    "retry_post": "the HTTP library sends a POST again by itself",
    "success_on_404": "an order that is not found is taken for filled",
    "no_valid_until": "the execution service takes orders that are not valid any more",
    "no_body_check": "the execution service takes another body under a known id for the same",
}
ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@dataclass(frozen=True)
class Arm:
    """What happens at a place, and how often."""

    place: str
    probability: float
    action: str = "kill"


@dataclass(frozen=True)
class Arming:
    """Everything that is switched on in this process."""

    arms: tuple[Arm, ...] = ()
    bugs: frozenset[str] = frozenset()
    seed: int = 0
    folder: Path | None = None
    _dice: dict[int, random.Random] = field(default_factory=dict)

    def dice(self) -> random.Random:
        """The chances of this process; a forked child has its own."""
        pid = os.getpid()
        if pid not in self._dice:
            self._dice.clear()
            self._dice[pid] = random.Random(f"{self.seed}/{pid}")  # noqa: S311 - no secret
        return self._dice[pid]


def parse(text: str) -> Arming:
    """What the variable's value asks for. Raises ConfigError."""
    arms: list[Arm] = []
    options: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        name, is_option, value = part.partition("=")
        if is_option:
            options[name.strip()] = value.strip()
        else:
            arms += [_arm(item) for item in part.split(",")]
    bugs = frozenset(filter(None, options.pop("bug", "").split("+")))
    seed, folder = options.pop("seed", "0"), options.pop("dir", "")
    wrong = [*options, *(bugs - BUGS.keys())]
    if wrong or not seed.isdecimal() or (arms and not folder):
        raise _fault(text)
    return Arming(
        arms=tuple(arms), bugs=bugs, seed=int(seed), folder=Path(folder) if folder else None
    )


def _arm(text: str) -> Arm:
    try:
        place, chance, *action = text.strip().split(":")
        arm = Arm(place, float(chance), *action)
    except (TypeError, ValueError) as error:
        raise _fault(text) from error
    if arm.place not in PLACES or arm.action not in ACTIONS or not 0 <= arm.probability <= 1:
        raise _fault(text)
    return arm


def _fault(text: str) -> ConfigError:
    allowed = "PLACE:PROBABILITY[:kill|stop],...;seed=N;bug=NAME;dir=FOLDER"
    return ConfigError([f"{VARIABLE}: was {text!r}; allowed: {allowed}"])


def live_faults(environ: Mapping[str, str]) -> list[str]:
    """Why the engine must not trade with real money in this environment."""
    if not environ.get(VARIABLE):
        return []
    return [f"{VARIABLE}: is set; failpoints are refused in mode live"]


_arming: Arming | None = parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
_observer: Callable[[str], None] | None = None


def reach(place: str, subject: str = "-") -> None:
    """Say that this place is reached: where it is armed, and its chance comes up, it happens."""
    if _observer is not None:
        _observer(place)
    if _arming is not None and _arming.arms:
        _strike(_arming, place, subject)


def bug(name: str) -> bool:
    """Whether this seeded bug is switched on."""
    return _arming is not None and name in _arming.bugs


@contextmanager
def seeded(*names: str) -> Iterator[None]:
    """Switch bugs on in this process for a while. Raises KeyError for an unknown name."""
    global _arming  # noqa: PLW0603 - a switch of the process
    for name in names:
        BUGS[name]
    before, _arming = _arming, Arming(bugs=frozenset(names))
    try:
        yield
    finally:
        _arming = before


@contextmanager
def observed(observer: Callable[[str], None]) -> Iterator[None]:
    """Tell `observer` of each place that is reached in this process; it may raise."""
    global _observer  # noqa: PLW0603 - a switch of the process
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


def _strike(arming: Arming, place: str, subject: str) -> None:
    folder = arming.folder
    assert folder is not None  # noqa: S101 - parse demands one for arms
    for arm in arming.arms:
        if arm.place != place or arming.dice().random() >= arm.probability:
            continue
        if (folder / PAUSED).exists():
            return
        _note(folder / HITS, f"{place} {arm.action} {os.getpid()} {time.time():.6f} {subject}\n")
        os.kill(os.getpid(), ACTIONS[arm.action])
        return


def _note(path: Path, line: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(target, line.encode())
    finally:
        os.close(target)
