"""What the API answered, as lines for people. Documents come in as JSON; nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from command_line.figures import (
    clock,
    exact,
    instant,
    money,
    percent,
    plain_percent,
    seconds_between,
    span,
    table,
)

SHORT_ID = 8
MILLISECONDS = 1000
Json = Any


def mode(status: Mapping[str, Json]) -> str:
    """SIMULATED, PAPER or LIVE."""
    return "SIMULATED" if status["simulated"] else str(status["mode"]).upper()


def needs_attention(status: Mapping[str, Json]) -> bool:
    """Whether anything is degraded or holds trading back."""
    return bool(status["degraded"]) or status["trading_state"] != "ACTIVE"


def status_lines(status: Mapping[str, Json], now: datetime) -> list[str]:
    """`GET /status`: state, what holds it back, what is degraded, the account."""
    lines = [f"{status['trading_state']}  {mode(status)}  {_schedule(status, now)}"]
    lines += list(_causes(status))
    for part in status["degraded"]:
        lines.append(f"degraded  {_degraded(part, now)}")
    if status["portfolio"] is not None:
        lines.append(_account(status))
    current = status["current_cycle"]
    if current is not None:
        lines.append(f"now   cycle {current['cycle_id']}: {_progress(current['progress'])}")
    if status["last_cycle"] is not None:
        lines.append(f"last  {cycle_line(status['last_cycle'])}")
    return lines


def _schedule(status: Mapping[str, Json], now: datetime) -> str:
    if status["schedule"] != "running":
        return "schedule stopped"
    next_at = instant(status["next_cycle_at"])
    if next_at is None:
        return "schedule running, next cycle not known"
    return f"schedule running, next cycle in {span((next_at - now).total_seconds())}"


def _causes(status: Mapping[str, Json]) -> Iterator[str]:
    """Why the state is below ACTIVE."""
    state = status["state"]
    if state["operator"] != "ACTIVE":
        yield f"operator  {state['operator']}: {state['reason'] or 'no reason given'}"
    for cause in status["latched"]:
        yield (
            f"latched  {cause['cause']}: {cause['detail']} "
            f"(since {clock(cause['since'])}; only resume releases it)"
        )
    for cause in state["derived"]:
        yield f"held  {cause['cause']}: {cause['detail']} (ends by itself)"


def _degraded(part: Mapping[str, Json], now: datetime) -> str:
    since = instant(part["since"])
    age = "" if since is None else f" for {span((now - since).total_seconds())}"
    return f"{part['service']}: {part['reason'] or 'no answer'}{age}; {part['effect']}"


def _account(status: Mapping[str, Json]) -> str:
    account = status["portfolio"]
    equity, pnl = float(account["equity"]), float(account["day_pnl"])
    began = equity - pnl
    today = percent(pnl / began, signed=True) if began > 0 else money(pnl)
    limits = {limit["name"]: limit["limit"] for limit in status["limits"]}
    drawdown = percent(account["drawdown"])
    if "max_drawdown" in limits:
        drawdown += f" of {plain_percent(limits['max_drawdown'])}"
    return (
        f"equity {money(account['equity'], account['currency'])}  "
        f"today {today}  drawdown {drawdown}"
    )


def _progress(progress: Mapping[str, Json]) -> str:
    return (
        f"{progress['stage']}, {progress['batches_reported']} of {progress['batches_total']} "
        f"batches, {progress['orders_done']} of {progress['orders_total']} orders"
    )


def cycle_line(report: Mapping[str, Json]) -> str:
    """A CycleReport in one line."""
    orders = report["orders"]
    took = report.get("duration_s")
    words = [
        f"{clock(report.get('finished_at') or report['started_at'])} {report['status']}",
        f"{report['symbols']['selected']} symbols",
        f"{report['signals']['kept']} signals",
        f"{orders['filled']} of {orders['submitted']} orders filled",
        f"{orders['denied']} denied",
        *([f"{took:.1f} s"] if took is not None else []),
        *(f"degraded {one['service']}: {one['reason']}" for one in report["degraded"]),
        *([report["reason"]] if report.get("reason") else []),
    ]
    return f"{report['cycle_id']}  {', '.join(words)}"


def order_lines(page: Mapping[str, Json]) -> list[str]:
    """`GET /orders` as a table, newest first."""
    rows = [
        [
            order["client_order_id"][:SHORT_ID],
            clock(order["at"]),
            str(order["side"]).upper(),
            exact(order["quantity"]),
            order["symbol"],
            exact(order["average_price"] or order["limit_price"]),
            order["status"],
            order["why"],
        ]
        for order in page["items"]
    ]
    headings = ("id", "time", "side", "quantity", "symbol", "price", "state", "why")
    return table(headings, rows, right="quantity price") or ["no orders"]


def story_lines(story: Mapping[str, Json], min_confidence: float | None) -> list[str]:
    """`GET /orders/{id}`: what, why, which rules, how it went."""
    order = story["order"]
    price = order["average_price"] or order["limit_price"]
    took = seconds_between(order["created_at"], _last_at(story))
    ended = "" if took is None else f" in {took:.1f} s"
    what = f"{str(order['side']).upper()} {exact(order['quantity'])} {order['symbol']}"
    return [
        f"{what} at {exact(price)}  {order['status']}{ended}",
        f"why   {_why(story, min_confidence)}",
        *_signal(story),
        *_rules(story),
        *_transitions(story),
        *(
            f"fill  {exact(fill['quantity'])} at {exact(fill['price'])}, fee {exact(fill['fee'])}"
            for fill in story["fills"]
        ),
        f"cycle {order['cycle_id']}  order {order['client_order_id']}",
    ]


def _last_at(story: Mapping[str, Json]) -> str:
    steps = story["transitions"]
    return str(steps[-1]["at"]) if steps else ""


def _why(story: Mapping[str, Json], min_confidence: float | None) -> str:
    decision, signal = story["decision"], story["signal"]
    if decision is None:
        return str(story["why"])
    asked = str(story["why"])
    if signal is not None:
        asked = f"{signal['strategy']} {signal['confidence']:.2f}"
        if min_confidence is not None:
            asked += f" >= {min_confidence:.2f}"
    return f"{asked}; {decision['reason']}" if decision["reason"] else asked


def _signal(story: Mapping[str, Json]) -> list[str]:
    signal = story["signal"]
    return [f"signal  {signal['reason']}"] if signal is not None and signal["reason"] else []


def _rules(story: Mapping[str, Json]) -> Iterator[str]:
    """What each rule allowed, the smallest first; the rest passed without a bound."""
    decision = story["decision"]
    if decision is None:
        return
    bounds = [rule for rule in decision["allowances"] if rule["quantity"] is not None]
    for rule in sorted(bounds, key=lambda rule: float(rule["quantity"])):
        mark = "  (binding)" if rule["rule"] == decision["binding_rule"] else ""
        yield f"rule  {exact(rule['quantity'])}  {rule['rule']}: {rule['detail']}{mark}"
    passed = [rule["rule"] for rule in decision["allowances"] if rule["quantity"] is None]
    if passed:
        yield f"passed  {', '.join(passed)}"


def _transitions(story: Mapping[str, Json]) -> Iterator[str]:
    before = None
    for step in story["transitions"]:
        after = None if before is None else seconds_between(before, step["at"])
        when = clock(step["at"]) if after is None else f"+{after * MILLISECONDS:.0f} ms"
        detail = f"  {step['detail']}" if step["detail"] else ""
        yield f"state  {step['to_status']}  {when}{detail}"
        before = step["at"]


def position_lines(page: Mapping[str, Json]) -> list[str]:
    """`GET /positions` as a table."""
    rows = [
        [
            held["symbol"],
            exact(held["quantity"]),
            exact(held["average_price"]),
            exact(held["market_price"]),
            f"{money(held['profit'])} {percent(held['profit_share'], signed=True)}",
            exact(held["stop_price"]),
            held["strategy"] or "foreign",
        ]
        for held in page["items"]
    ]
    headings = ("symbol", "quantity", "average", "price", "profit", "stop", "strategy")
    return table(headings, rows, right="quantity average price profit stop") or ["no positions"]


def alert_lines(page: Mapping[str, Json], now: datetime) -> list[str]:
    """`GET /alerts` as a table, open ones with their age."""
    rows = [
        [
            alert["alert_id"],
            str(alert["severity"]).upper(),
            alert["name"],
            _alert_age(alert, now),
            f"{alert['detail']}; {alert['effect']} ({alert['runbook']})",
        ]
        for alert in page["items"]
    ]
    return table(("id", "severity", "alert", "since", "what"), rows) or ["no alerts"]


def _alert_age(alert: Mapping[str, Json], now: datetime) -> str:
    took = seconds_between(alert["opened_at"], alert["resolved_at"] or now.isoformat())
    age = span(took or 0.0)
    if alert["resolved_at"] is not None:
        return f"{clock(alert['opened_at'])} for {age}, resolved"
    return f"{age}, seen by {alert['acknowledged_by']}" if alert["acknowledged_by"] else age
