"""A world's life by its seed: rounds of faults, healing, two clean cycles and judgement."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from tests.faults.rig.chaos import PUBLISHING, THEMES, Chaos
from tests.faults.rig.checks import Files, Halt, Limits, breaches, decisions, last_accepted_after
from tests.faults.rig.counts import Counts
from tests.faults.rig.intruder import fence_of, intrude, intrude_late
from tests.faults.rig.ledger_view import LedgerView, is_level
from tests.faults.rig.world import ROOT, WORKERS, World

ARMING = (
    "B0:0.05,B1:0.05,B2:0.2,B3:0.14,B3:0.3:stop,B4:0.2,B5:0.22,B6:0.22,B7:0.08,B8:0.08,"
    "C1:0.1,X1:0.06"
)
GENTLE_ARMING = "B0:0.08,B1:0.08"
FAST_S = 10.0
SLOW_S = 60.0
SLOW_EACH = 6
RESOLVE_S = 30.0
HEAL_S = 90.0
LEVEL_S = 15.0
CLEAN_TRIES = 6
CALM_S = 15.0
NO_REDIS_S = 1.0  # after a halt was answered without it
RETURNING = frozenset({"market_data", "portfolio_returned"})


def _lowering(status: dict[str, Any]) -> set[str]:
    """What holds the trading state below ACTIVE."""
    state = status["state"]
    operator = set() if state["operator"] == "ACTIVE" else {"operator"}
    return operator | {cause["cause"] for cause in state["derived"] + state["latched"]}


class Life:
    """One world from its start to its end."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        bug: str = "",
        slow: bool | None = None,
        themes: Sequence[str] = THEMES,
        drills_each_round: bool = False,
    ) -> None:
        self.seed = seed
        self.counts = Counts(seeds=[seed])
        self.is_slow = seed % SLOW_EACH == 0 if slow is None else slow
        self._themes = themes
        self._drills_each_round = drills_each_round
        self._dice = random.Random(f"{seed}/life")  # noqa: S311 - no secret
        self._halts: list[Halt] = []
        interval = SLOW_S if self.is_slow else FAST_S
        arming = GENTLE_ARMING if self.is_slow else ARMING
        self.world = World(folder, seed=seed, interval=interval, arming=arming, bug=bug)
        if self.is_slow:
            self.world.config["timing"] = {}
        self._view = LedgerView(self.world.data)

    def run(self, rounds: int, fault_s: float) -> Counts:
        """Live for so many rounds, or until the first breach; what was counted."""
        begun = time.monotonic()
        chaos: Chaos | None = None
        try:
            self.world.start()
            chaos = Chaos(self.world, self.counts, self.seed, gentle=self.is_slow)
            for number in range(rounds):
                self._round(chaos, number, fault_s)
                if self.counts.breaches:
                    break
            if not self.counts.breaches:
                intrude_late(self.world, self.counts)
        except (AssertionError, requests.RequestException) as error:
            self.counts.breaches.append(f"unhealed: seed {self.seed}: {error}")
        finally:
            if chaos is not None:
                chaos.end()
                self._sum_up(chaos)
            self.world.stop()
        self.counts.seconds = time.monotonic() - begun
        return self.counts

    def _round(self, chaos: Chaos, number: int, fault_s: float) -> None:
        is_scheduled = number % 4 == 3
        if is_scheduled:
            self._schedule()
        chaos.begin(self._dice.choice(self._themes))
        until = time.monotonic() + fault_s
        halting = number % 2 == 1
        while time.monotonic() < until:
            if is_scheduled:
                time.sleep(0.5)
            else:
                self._cycle(chaos, until)
            if halting and time.monotonic() > until - fault_s / 3:
                self._halt()
                halting = False
        self._heal(chaos)
        if is_scheduled:
            self._unschedule()
        self.world.wait(lambda: not self._view.running(), 60, lambda: "no cycle is open")
        self._clean()
        if number % 2 == 0 or self._drills_each_round:
            self._drill()
        intrude(self.world, self.counts)
        self._judge()
        self.counts.rounds += 1

    def _cycle(self, chaos: Chaos, until: float) -> None:
        """Ask for a cycle, by the API or by up to three messages at once, and wait for its end."""
        request = str(uuid.uuid4())
        with suppress(requests.RequestException, *PUBLISHING):
            if self._dice.random() < 0.5:
                self.world.post("/cycle", {})
            else:
                for _ in range(self._dice.randint(1, 3)):
                    chaos.deliveries.send(
                        "cycle.start", "cycle", request_id=request, symbols=None, dry_run=False
                    )
        time.sleep(0.4)
        while self._view.running() and time.monotonic() < until:
            time.sleep(0.1)

    def _schedule(self) -> None:
        if "beat0" not in self.world.supervisor.parts:
            self.world.add_beats(2)
        answer = self.world.post("/start", {})
        assert answer.ok, f"start: {answer.text}"

    def _unschedule(self) -> None:
        self.world.wait(self._stopped, 30, lambda: "the schedule is stopped")

    def _stopped(self) -> bool:
        try:
            return self.world.post("/stop", {}).ok
        except requests.RequestException:
            return False

    def _halt(self) -> None:
        """The kill switch while orders are on their way; in half the cases without Redis."""
        without_redis = self._dice.random() < 0.5
        self._await_orders(6)
        if without_redis:
            self.world.supervisor.pause("redis")
        try:
            self._throw_switch()
        finally:
            if without_redis:
                time.sleep(NO_REDIS_S)  # the fault itself
                self.world.supervisor.go_on("redis")

    def _throw_switch(self) -> None:
        asked = time.time()
        try:
            answer = self.world.post("/halt", {"reason": "drill"}, 10)
        except requests.RequestException:
            return
        answered = time.time()
        sides = answer.json() if answer.ok else {}
        if sides.get("ledger") == "confirmed" and sides.get("execution") == "confirmed":
            self._halts.append(Halt(asked, answered, float("inf")))
            self.counts.halt_answers.append(answered - asked)

    def _drill(self) -> None:
        """All worker processes stand still when the halt comes, and go on after its answer."""
        if not self._await_orders(15):
            return
        supervisor = self.world.supervisor
        for name in WORKERS:
            for pid in supervisor.children(name):
                supervisor.freeze(pid, "worker child at a halt", 20)
        self._throw_switch()
        supervisor.thaw_all()
        self.world.wait(lambda: not self._view.running(), 60, lambda: "no cycle is open")
        self.world.wait(self._is_active, 30, lambda: f"trading is allowed: {self._state()}")

    def _await_orders(self, seconds: float) -> bool:
        """A cycle whose orders are about to leave; whether there was one in time."""
        with suppress(requests.RequestException, *PUBLISHING):
            self.world.post("/cycle", {})
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            running = self._view.running()
            if running and self._view.orders_of(running[0]):
                return True
            time.sleep(0.005)
        return False

    def _heal(self, chaos: Chaos) -> None:
        chaos.heal()
        world = self.world
        world.wait(world.is_well, HEAL_S, lambda: f"all is well again: {world.ill()}")
        seconds = world.wait(
            lambda: self._view.unresolved() == 0,
            RESOLVE_S,
            lambda: f"every order has a proved end: {self._view.open_orders()}",
        )
        self.counts.resolved.append(seconds)
        world.wait(self._is_returning, 30, lambda: f"trading is allowed again: {self._state()}")

    def _state(self) -> str:
        with suppress(requests.RequestException, ValueError):
            status = self.world.get("/status")
            return str({name: status.get(name) for name in ("trading_state", "latched")})
        return "no answer"

    def _is_returning(self) -> bool:
        """Active, but for what waits for two good cycles."""
        return self._is_active(RETURNING)

    def _is_active(self, caution: frozenset[str] = frozenset()) -> bool:
        """Resume where the drill halted; a latch of another cause stays and is a breach.

        Both sides count: a halt that one of them did not confirm in time still comes into force.
        """
        try:
            status = self.world.get("/status")
            if _lowering(status) <= caution and not fence_of(self.world)["halted"]:
                return True
            if status["latched"]:
                self._judge()
            resumed_at = time.time()
            if self.world.post("/resume", {"state": "ACTIVE", "reason": "drill over"}).ok:
                self._halts = [
                    Halt(each.asked_at, each.answered_at, min(each.resumed_at, resumed_at))
                    for each in self._halts
                ]
        except (requests.RequestException, ValueError, KeyError):
            return False
        return False

    def _clean(self) -> None:
        """Two cycles in a row that nothing disturbs must complete; a slow machine may need more."""
        done = 0
        for _ in range(CLEAN_TRIES):
            report = self._undisturbed()
            done = done + 1 if report.get("status") == "COMPLETED" else 0
            if done >= 2 and self._waits_no_more():
                return
        told = {key: report.get(key) for key in ("status", "reason", "degraded")}
        self.counts.breaches.append(f"unclean: seed {self.seed}: {told}")

    def _waits_no_more(self) -> bool:
        """Whether nothing lowers the state any more, soon after two good cycles."""
        with suppress(AssertionError):
            self.world.wait(self._is_active, CALM_S, lambda: "trading is allowed again")
            return True
        return False

    def _undisturbed(self) -> dict[str, object]:
        for _ in range(3):
            answer = self.world.post("/cycle?wait=60", {}, 70)
            if answer.status_code == 200:
                report: dict[str, object] = answer.json()
                return report
            with suppress(AssertionError):
                self.world.wait(self._may_begin, CALM_S, lambda: "a cycle may begin")
        return {"status": answer.status_code, "reason": answer.text[:300]}

    def _may_begin(self) -> bool:
        return not self._view.running() and self.world.is_well()

    def _judge(self) -> None:
        """The rig's own checks, and the product's audit, once the last fill is relayed."""
        with suppress(AssertionError):  # what is missing then is the finding
            self.world.wait(lambda: is_level(self.world.data), LEVEL_S, lambda: "level")
        files = Files.read(self.world.data)
        sent = self.world.proxies["execution"].seen.orders
        limits = Limits(max_open_positions=self.world.config["risk"]["max_open_positions"])
        found = breaches(files, list(sent), self._halts, limits, time.time())
        found += self._audit()
        known = set(self.counts.breaches)
        self.counts.breaches += [line for line in found if line not in known]

    def _audit(self) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "launcher.audit", "--data-dir", str(self.world.data)],
            cwd=ROOT,
            env=self.world.engine_environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            return []
        lines = (done.stdout + done.stderr).splitlines()
        return [f"audit: {line}" for line in lines if line.split()[1:2] != ["ok"]][:20]

    def _sum_up(self, chaos: Chaos) -> None:
        chaos.follow()
        counts, world = self.counts, self.world
        counts.kills.update(world.supervisor.kills)
        counts.redis["kill"] = counts.kills["redis"]
        counts.freezes.update(world.supervisor.freezes)
        for proxy in world.proxies.values():
            counts.network.update(proxy.seen.faults)
        first: dict[str, float] = {}
        for order in world.proxies["execution"].seen.orders:
            thawed_at = chaos.zombies.get(order.client_order_id)
            if thawed_at is not None and order.reached and order.at >= thawed_at:
                first.setdefault(order.client_order_id, order.at)
        counts.tried += len(first)
        self._recoveries(chaos)
        with suppress(Exception):
            self._stored()

    def _recoveries(self, chaos: Chaos) -> None:
        for cycle_id, batch, killed_at in chaos.killed_batches:
            at = self._view.reported_at(cycle_id, batch)
            if at is None:
                self.counts.unrecovered += 1
            elif at >= killed_at:
                self.counts.recovery.append(at - killed_at)

    def _stored(self) -> None:
        counts, files = self.counts, Files.read(self.world.data)
        counts.orders = sum(1 for row in files.execution["orders"] if row["body"])
        counts.fills = len(files.execution["fills"])
        counts.cycles.update(row["status"] for row in files.ledger["cycles"])
        counts.halts += [last_accepted_after(files, halt) for halt in self._halts]
        refused = [row["reason"] for row in files.execution["orders"] if row["state"] == "REJECTED"]
        counts.venue.update(Counter(_short(reason) for reason in refused))
        counts.venue["tombstone"] += sum(1 for row in files.execution["orders"] if not row["body"])
        counts.refusals, counts.decided, counts.bound = decisions(self.world.data)


def _short(reason: str) -> str:
    """A reason without its figures."""
    return " ".join(word for word in reason.split() if not any(c.isdigit() for c in word))
