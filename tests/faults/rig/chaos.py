"""Faults by seed, while a world works: what is killed, frozen, flushed, cut, delivered again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from engine.failpoints import HITS
from tests.faults.rig.counts import Counts
from tests.faults.rig.ledger_view import LedgerView
from tests.faults.rig.proxy import Faults
from tests.faults.rig.world import PROXIED, WORKERS, World

Kind = tuple[Callable[[], None], float]
PUBLISHING = (OperationalError, redis.RedisError, OSError)
THEMES = ("workers", "workers", "freezes", "services", "redis", "network", "all")
THAW_S = 0.3
LONGEST_FREEZE_S = 20.0


class Deliveries:
    """Sends the product's own messages once more."""

    def __init__(self, world: World, counts: Counts) -> None:
        self._app = Celery("rig", broker=world.redis_url)
        self._app.conf.update(
            broker_connection_timeout=1,
            broker_transport_options={"socket_timeout": 1, "socket_connect_timeout": 1},
            task_publish_retry=False,
            task_ignore_result=True,
        )
        self._counts = counts
        self._view = LedgerView(world.data)

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()

    def send(self, name: str, queue: str, **arguments: object) -> None:
        """One message without arguments of its position. Raises what publishing raises."""
        self._app.send_task(name, kwargs=arguments, queue=queue, ignore_result=True)

    def again(self, dice: random.Random) -> None:
        """Up to four copies of what some open cycle is made of."""
        running = self._view.running()
        if not running:
            return
        cycle_id, copies = dice.choice(running), dice.randint(1, 4)
        waiting = self._view.waiting_batches()
        with suppress(*PUBLISHING):
            for _ in range(copies):
                if waiting:
                    self._batch(dice.choice(waiting))
                else:
                    self._late(cycle_id, dice)

    def _batch(self, reference: dict[str, object]) -> None:
        self._app.send_task("batch.run", args=[reference], queue="batch", ignore_result=True)
        self._counts.deliveries["batch"] += 1

    def _late(self, cycle_id: str, dice: random.Random) -> None:
        # Only messages that a healthy product sends can come twice: nobody allocates what has no
        # plan, nobody finishes what decided nothing.
        orders = self._view.orders_of(cycle_id)
        if not self._view.batches_of(cycle_id):
            return
        if orders and dice.random() < 0.7:
            some = dice.sample(orders, min(3, len(orders)))
            self.send("batch.execute", "execute", cycle_id=cycle_id, client_order_ids=some)
            self._counts.deliveries["orders"] += 1
            return
        name = dice.choice(["cycle.allocate", "cycle.finish"]) if orders else "cycle.allocate"
        self.send(name, "cycle", cycle_id=cycle_id)
        self._counts.deliveries[name] += 1


class Chaos:
    """A thread that strikes until it is stopped; and one that reads what the failpoints did."""

    def __init__(self, world: World, counts: Counts, seed: int, *, gentle: bool = False) -> None:
        self.world = world
        self.counts = counts
        self.deliveries = Deliveries(world, counts)
        self.killed_batches: list[tuple[str, int, float]] = []
        self.zombies: dict[str, float] = {}
        self._view = LedgerView(world.data)
        self._dice = random.Random(f"{seed}/chaos")  # noqa: S311 - no secret
        self._gentle = gentle
        self._theme = THEMES[0]
        self._read = 0
        self._thaws: list[tuple[float, int, str]] = []
        self._striking = threading.Event()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._strike_on, name="chaos", daemon=True),
            threading.Thread(target=self._follow_on, name="hits", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def begin(self, theme: str) -> None:
        """Strike from now on, with faults of one kind or of all."""
        self._theme = "batches" if self._gentle else theme
        self.world.paused.unlink(missing_ok=True)
        self._striking.set()

    def heal(self) -> None:
        """Stop striking, and put everything right that only the rig can."""
        self.world.paused.touch()
        self._striking.clear()
        self.world.set_faults(Faults())
        time.sleep(0.2)
        self.world.supervisor.go_on("redis")
        self.world.supervisor.thaw_all()

    def end(self) -> None:
        """No further fault."""
        self._ending.set()
        self._striking.set()
        for thread in self._threads:
            thread.join(30)
        self.deliveries.close()
        self.world.supervisor.go_on("redis")

    def _strike_on(self) -> None:
        while not self._ending.is_set():
            self._striking.wait()
            if self._ending.wait(self._dice.uniform(0.1, 0.9)):
                return
            if self._striking.is_set():
                kinds = self._kinds()
                [kind] = self._dice.choices(kinds, [weight for _, weight in kinds])
                kind[0]()

    def _kinds(self) -> list[Kind]:
        """What may happen in this round, and how often."""
        always: list[Kind] = [(self._kill_child, 10), (self._again, 10)]
        by_theme: dict[str, list[Kind]] = {
            "batches": [(self._kill_worker, 2)],
            "workers": [(self._kill_child, 10), (self._kill_worker, 1), (self._kill_upkeep, 1)],
            "freezes": [(self._freeze_child, 8), (self._freeze_part, 2)],
            "services": [(self._kill_service, 5)],
            "redis": [
                (self._kill_redis, 3),
                (self._flush, 1.5),
                (self._cut_log, 1),
                (self._freeze_redis, 1),
            ],
            "network": [(self._spoil, 15)],
        }
        if self._theme == "all":
            return always + [kind for kinds in by_theme.values() for kind in kinds]
        return always + by_theme[self._theme]

    def _kill_child(self) -> None:
        zombies = {pid for _, pid, _ in self._thaws}
        found = self.world.supervisor.children(self._dice.choice(WORKERS))
        children = [pid for pid in found if pid not in zombies]
        if children:
            self.world.supervisor.kill_pid(self._dice.choice(children), "worker child")

    def _kill_worker(self) -> None:
        name = self._dice.choice(WORKERS)
        lost = self._view.waiting_batches(f"{name}@")
        if self.world.supervisor.kill(name):
            now = time.time()
            self.killed_batches += [(each["cycle_id"], each["batch"], now) for each in lost]

    def _kill_upkeep(self) -> None:
        self.world.supervisor.kill(self._dice.choice(["upkeep", "upkeep", "api"]))

    def _kill_service(self) -> None:
        names = ("execution", "portfolio", "execution", "portfolio", "market_data", "strategy")
        self.world.supervisor.kill(self._dice.choice(names))

    def _freeze_child(self) -> None:
        children = self.world.supervisor.children(self._dice.choice(WORKERS))
        if children:
            pid, seconds = self._dice.choice(children), self._dice.uniform(0.5, 8)
            self.world.supervisor.freeze(pid, "worker child", seconds)

    def _freeze_part(self) -> None:
        name = self._dice.choice(["execution", "portfolio", "market_data", "upkeep", *WORKERS])
        pid = self.world.supervisor.parts[name].pid
        if pid is not None:
            self.world.supervisor.freeze(pid, name, self._dice.uniform(0.3, 3))

    def _kill_redis(self) -> None:
        self.world.supervisor.kill("redis")

    def _flush(self) -> None:
        with suppress(redis.RedisError):
            self.world.redis.flushall()
            self.counts.redis["flush"] += 1

    def _cut_log(self) -> None:
        """Redis dies, and the end of what it wrote is gone."""
        self.world.supervisor.pause("redis")
        files = sorted((self.world.folder / "redis").rglob("*.incr.aof"))
        for path in files[-1:]:
            size = path.stat().st_size
            with path.open("r+b") as log:
                log.truncate(max(0, size - self._dice.randint(1, 4000)))
            self.counts.redis["log cut"] += 1
        time.sleep(self._dice.uniform(0, 1))
        self.world.supervisor.go_on("redis")

    def _freeze_redis(self) -> None:
        pid = self.world.supervisor.parts["redis"].pid
        if pid is not None:
            self.world.supervisor.freeze(pid, "redis", self._dice.uniform(0.2, 2))

    def _spoil(self) -> None:
        """One service's network goes bad for a moment."""
        name = self._dice.choice(["execution", "execution", *PROXIED])
        rates = [self._dice.choice([0, 0, 0.1, 0.3]) for _ in range(5)]
        rates[3] = min(rates[3], 0.1)
        self.world.set_faults(Faults(*rates), name)
        self._ending.wait(self._dice.uniform(0.3, 1.2))
        self.world.set_faults(Faults(), name)

    def _again(self) -> None:
        self.deliveries.again(self._dice)

    def _follow_on(self) -> None:
        while not self._ending.wait(0.1):
            self.follow()
            now = time.time()
            due = [each for each in self._thaws if each[0] <= now]
            self._thaws = [each for each in self._thaws if each[0] > now]
            for _, pid, order in due:
                self._thaw(pid, order)

    def follow(self) -> None:
        """Read what the failpoints wrote since the last look."""
        path = self.world.hits / HITS
        if not path.exists():
            return
        with path.open() as file:
            file.seek(self._read)
            text = file.read()
        complete = text[: text.rfind("\n") + 1]
        self._read += len(complete.encode())
        for line in complete.splitlines():
            self._take(*line.split())

    def _take(self, place: str, action: str, pid: str, at: str, subject: str) -> None:
        if action == "stop":
            until = self._view.valid_until(subject) or time.time()
            until = min(until, time.time() + LONGEST_FREEZE_S)
            self.counts.freezes[f"at {place}"] += 1
            self._thaws.append((until + THAW_S, int(pid), subject))
            return
        self.counts.hits[place] += 1
        if place in {"B0", "B1"}:
            cycle_id, _, batch = subject.partition("/")
            self.killed_batches.append((cycle_id, int(batch), float(at)))

    def _thaw(self, pid: int, order: str) -> None:
        state = _state(pid)
        self.world.supervisor.thaw(pid)
        if state == "T":
            self.counts.thawed += 1
            self.zombies[order] = time.time()


def _state(pid: int) -> str:
    """The kernel's letter for a process: T is stopped."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
