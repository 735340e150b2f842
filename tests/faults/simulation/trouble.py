"""What happens to the whole world once or twice a run: outages, losses, halts, jumps, strangers."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from engine.control import lifecycle
from engine.errors import TradingError
from tests.faults.simulation.fleet import API, NODES, UPKEEP, Message

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

INTERVAL_S = 120.0
LAST_S = 10.0  # before the healing nothing new begins
BUSY_SHARE = 0.75  # of the trouble comes while a cycle is busy
SERVICES = ("execution", "portfolio", "market_data", "strategy")


class Trouble:
    """Plans it all beforehand and lets it happen."""

    def __init__(self, world: World, cycles: int) -> None:
        self._world = world
        self._cycles = cycles
        self._faults = world.faults
        self._end_s = cycles * INTERVAL_S - LAST_S

    def plan(self) -> None:
        """Put what this run has on the schedule."""
        faults, operator = self._faults, self._world.operator
        for service in SERVICES:
            self._perhaps("outage", functools.partial(self._outage, service))
        self._perhaps("redis", self._lose_redis)
        self._perhaps("node", self._lose_node)
        self._perhaps("clock_jump", self._jump)
        self._perhaps("fence_race", self._race)
        self._perhaps("foreign_order", self._foreign)
        if faults.has("halt"):
            self._sometime(lambda: operator.ask("halt", operator.halt))
            self._sometime(lambda: operator.ask("resume", operator.resume))
            self._sometime(lambda: operator.ask("halt", operator.halt))

    def _perhaps(self, kind: str, action: Callable[[], object]) -> None:
        if self._faults.has(kind):
            self._sometime(action)

    def _sometime(self, action: Callable[[], object]) -> None:
        dice = self._faults.dice
        moment_s = dice.uniform(0.0, self._end_s)
        if dice.random() < BUSY_SHARE:
            began_s = dice.randrange(self._cycles) * INTERVAL_S
            moment_s = began_s + self._faults.pace**0.8 * self._faults.between(0.1, 4.0)
        self._world.scheduler.at(min(moment_s, self._end_s), action)

    def beat(self) -> None:
        """The message of a slot; sometimes twice, sometimes with another cycle behind it."""
        world = self._world
        at = lifecycle.slot(world.clock.true(), INTERVAL_S)
        for _ in range(2 if self._faults.has("double_start") else 1):
            try:
                world.fleet.send(Message("start", {"slot": at}))
            except TradingError:
                world.gate.note("beat found no Redis")
        if self._faults.has("second_schedule"):
            operator = world.operator
            world.scheduler.at(
                self._faults.between(0.01, 60.0),
                lambda: operator.ask("cycle", operator.ask_for_cycle),
            )

    def heal(self) -> None:
        """No fault any more; everything is back, and who froze where only one is, is restarted."""
        world = self._world
        world.gate.note("HEALED")
        self._faults.healed = True
        world.healed_at = world.clock.true()
        world.gate.down.clear()
        world.fleet.redis_up = True
        for name in (API, UPKEEP):
            if any(
                process.node == name and process.memory.get("froze")
                for process in world.scheduler.processes.values()
            ):
                world.kill_node(world.fleet.nodes[name])
        world.operator.keep_resuming()

    def _outage(self, service: str) -> None:
        down = self._world.gate.down
        down[service] = self._faults.dice.choice(("refused", "silent"))
        self._world.gate.note(f"{service} is away: {down[service]}")
        self._world.scheduler.at(self._faults.between(2.0, 200.0), lambda: down.pop(service, None))

    def _lose_redis(self) -> None:
        world = self._world
        world.gate.note("Redis is away")
        world.fleet.lose_redis()
        world.cache.flush()

        def back() -> None:
            world.gate.note("Redis is back, empty")
            world.fleet.redis_up = True

        world.scheduler.at(self._faults.between(0.1, 90.0), back)

    def _lose_node(self) -> None:
        self._world.kill_node(self._world.fleet.nodes[self._faults.dice.choice(NODES)])

    def _jump(self) -> None:
        clock = self._world.clock
        clock.jump_s += self._faults.dice.uniform(-15.0, 60.0)
        self._world.gate.note(f"all clocks jump to {clock.jump_s:.1f} s off")

    def _race(self) -> None:
        venue = self._world.venue
        venue.epoch += self._faults.dice.randint(1, 3)
        self._world.history.seen["fence raised by another"] += 1
        self._world.gate.note(f"somebody raises the fence to {venue.epoch}")

    def _foreign(self) -> None:
        """An order that somebody placed by hand."""
        world = self._world
        symbol = world.market.names[0]
        quote = world.market.quote(symbol)
        identity = str(uuid.UUID(int=self._faults.dice.getrandbits(128)))
        until = (world.clock.true() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        price = (quote.ask * Decimal("1.01")).quantize(Decimal("0.01"))
        body = {
            "client_order_id": identity,
            "epoch": 0,
            "symbol": symbol,
            "side": "buy",
            "quantity": "1.5",
            "limit_price": str(price),
            "reference_price": str(quote.ask),
            "reduce_only": False,
            "strategy": "",
            "valid_until": until,
        }
        world.venue.place(json.dumps(body))
        world.history.foreign.add(identity)
        world.history.seen["foreign order"] += 1
        world.gate.note(f"a foreign order {identity}")
