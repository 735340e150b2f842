"""One function a verb: ask the API, say what it answered, and with which exit status."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from command_line import reports
from command_line.connection import Connection, RefusedByServer, UsageFault
from command_line.figures import clock, exact

DONE, REFUSED, USAGE, NO_ANSWER, ATTENTION = range(5)
SERVER_WAIT_S = 110.0
POLL_S = 0.5
MOST = 500
SOUND = frozenset({"COMPLETED"})


@dataclass(frozen=True)
class Said:
    """The document of `--json`, the lines for people, the exit status."""

    document: Any
    lines: list[str]
    code: int = DONE


Verb = Callable[[Connection, Namespace], Said]


def status(api: Connection, _: Namespace) -> Said:
    """State, account, what is degraded; 4 when anything wants attention."""
    document = api.get("/status")
    lines = reports.status_lines(document, datetime.now(UTC))
    return Said(document, lines, ATTENTION if reports.needs_attention(document) else DONE)


def start(api: Connection, _: Namespace) -> Said:
    """Schedule cycles."""
    document = api.post("/start")
    word = "started" if document["changed"] else "was running already"
    next_at = clock(document["next_cycle_at"])
    line = f"schedule {word}; next cycle at {next_at} UTC; {document['trading_state']}"
    return Said(document, [line], _held_back(document["trading_state"]))


def stop(api: Connection, _: Namespace) -> Said:
    """Schedule no further cycle."""
    document = api.post("/stop")
    word = "stopped" if document["changed"] else "was stopped already"
    current = document["cycle_in_progress"]
    finishing = f"; cycle {current} still finishes" if current is not None else ""
    return Said(document, [f"schedule {word}{finishing}"])


def cycle(api: Connection, options: Namespace) -> Said:
    """One cycle now; with --wait its report, 4 unless it ended COMPLETED."""
    give_up_at = time.monotonic() + options.wait
    body = {"dry_run": options.dry_run, **({"symbols": options.symbols} if options.symbols else {})}
    document = api.post("/cycle", body, wait_s=min(options.wait, SERVER_WAIT_S))
    while "finished_at" not in document and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
        report = api.get(f"/cycles/{quote(document['cycle_id'], safe='')}")
        if report["finished_at"] is not None:
            document = report
    if "finished_at" not in document:
        return Said(document, [f"cycle {document['cycle_id']} runs; see: trading-engine status"])
    code = DONE if document["status"] in SOUND else ATTENTION
    return Said(document, [reports.cycle_line(document)], code)


def halt(api: Connection, options: Namespace) -> Said:
    """The kill switch. 4 when one side has not confirmed it."""
    body = {"reason": options.reason, "cancel_open": not options.keep_open}
    document = api.post("/halt", body)
    cancelled = f"{len(document['cancelled'])} open orders cancelled"
    follows = f"no order leaves from now on; {cancelled}; positions stay without exits"
    lines = [f"{document['trading_state']}: {follows}"]
    lines += [f"not cancelled: {order}" for order in document["failed"]]
    late = [part for part in ("ledger", "execution") if document[part] != "confirmed"]
    lines += [f"{part} has not confirmed it; it is repeated until it does" for part in late]
    return Said(document, lines, ATTENTION if late or document["failed"] else DONE)


def reduce(api: Connection, options: Namespace) -> Said:
    """Only orders that shrink a position."""
    document = api.post("/reduce", {"reason": options.reason})
    state = document["trading_state"]
    follows = "no order leaves" if state == "HALTED" else "only orders that shrink a position leave"
    return Said(document, [f"{state}: {follows}"])


def resume(api: Connection, options: Namespace) -> Said:
    """Raise the state; live trading is raised by naming its account. 4 when held below."""
    known = api.get("/status")
    if known["mode"] == "live" and options.account != known["account"]:
        raise UsageFault(f"this trades LIVE: name its account: --account {known['account']}")
    document = api.post("/resume", {"state": options.to, "reason": options.reason})
    lines = [str(document["trading_state"])]
    lines += [f"held  {one['cause']}: {one['detail']}" for one in document["derived"]]
    return Said(document, lines, DONE if document["trading_state"] == options.to else ATTENTION)


def orders(api: Connection, options: Namespace) -> Said:
    """The latest orders."""
    query = {"limit": options.limit}
    query |= {
        name: getattr(options, name) for name in ("symbol", "state") if getattr(options, name)
    }
    document = api.get("/orders", **query)
    return Said(document, reports.order_lines(document))


def explain(api: Connection, options: Namespace) -> Said:
    """One order whole."""
    document = _order(api, options.order)
    trading = api.get("/config")["settings"].get("trading_engine", {})
    return Said(document, reports.story_lines(document, trading.get("min_confidence")))


def _order(api: Connection, name: str) -> Any:
    """The order of this id, or the only one among the latest whose id begins so."""
    try:
        return api.get(f"/orders/{quote(name, safe='')}")
    except RefusedByServer as absent:
        if absent.document.get("title") != "Not found":
            raise
        latest = api.get("/orders", limit=MOST)["items"]
        ids = [order["client_order_id"] for order in latest]
        found = [each for each in ids if each.startswith(name)]
        if len(found) > 1:
            raise UsageFault(
                f"{len(found)} orders begin with {name}: give more of the id"
            ) from None
        if not found:
            raise
        return api.get(f"/orders/{quote(found[0], safe='')}")


def positions(api: Connection, _: Namespace) -> Said:
    """What is held."""
    document = api.get("/positions")
    return Said(document, reports.position_lines(document))


def alerts(api: Connection, options: Namespace) -> Said:
    """What wants attention: 4 when something does."""
    if options.ack is not None:
        document = api.post(f"/alerts/{quote(options.ack, safe='')}/ack")
        return Said(document, [f"alert {document['alert_id']} {document['name']} acknowledged"])
    document = api.get("/alerts", state="all" if options.all else "open")
    is_open = any(alert["resolved_at"] is None for alert in document["items"])
    lines = reports.alert_lines(document, datetime.now(UTC))
    return Said(document, lines, ATTENTION if is_open else DONE)


def close(api: Connection, options: Namespace) -> Said:
    """Ask for a position's exit. 4 while HALTED, when nothing is sent."""
    body = {"reason": options.reason}
    document = api.post(f"/positions/{quote(options.symbol, safe='')}/close", body)
    is_halted = document["trading_state"] == "HALTED"
    follows = "nothing is sent while HALTED" if is_halted else "the next cycle sends it"
    asked = "asked for" if document["changed"] else "was asked for already"
    line = f"{document['symbol']}: the exit of {exact(document['quantity'])} {asked}; {follows}"
    return Said(document, [line], ATTENTION if is_halted else DONE)


def adopt(api: Connection, options: Namespace) -> Said:
    """Give a foreign position to a strategy."""
    body = {"strategy": options.strategy}
    document = api.post(f"/positions/{quote(options.symbol, safe='')}/adopt", body)
    word = "belongs" if document["changed"] else "belonged already"
    return Said(document, [f"{document['symbol']} {word} to {document['strategy']}"])


def enable(api: Connection, options: Namespace) -> Said:
    """Let a throttled strategy loose again."""
    document = api.post(f"/strategies/{quote(options.strategy, safe='')}/enable")
    where = ", ".join(document["symbols"]) or "nowhere: it was not throttled"
    return Said(document, [f"{document['strategy']} may enter again: {where}"])


def _held_back(trading_state: str) -> int:
    return DONE if trading_state == "ACTIVE" else ATTENTION


VERBS: dict[str, Verb] = {
    "status": status,
    "start": start,
    "stop": stop,
    "cycle": cycle,
    "halt": halt,
    "reduce": reduce,
    "resume": resume,
    "orders": orders,
    "explain": explain,
    "positions": positions,
    "alerts": alerts,
    "close": close,
    "adopt": adopt,
    "enable": enable,
}
