"""What an alert's message says: one line for people, and the body that a webhook wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from string import Template
from typing import Any

import msgspec

from engine.domain.messages import MonitoringEvent

OPEN, RESOLVED = "OPEN", "RESOLVED"
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


class Phases:
    """Which alerts are known to be open, so that each opening and each end is told once.

    An alert is known by what it is about: a second one about the same is no news while the first
    is open, whatever its id.
    """

    def __init__(self, earlier: Sequence[MonitoringEvent] = ()) -> None:
        """`earlier`: stored alerts, the newest first."""
        self._phases: dict[str, str] = {}
        for event in reversed(earlier):
            self.is_news(event)

    def is_news(self, event: MonitoringEvent) -> bool:
        """Whether somebody must be told; takes note of it. An alert about nothing is news."""
        about, phase = _text(event, "about"), _text(event, "phase")
        if not about or phase not in {OPEN, RESOLVED}:
            return True
        known = self._phases.get(about, RESOLVED)
        self._phases[about] = phase
        if phase == RESOLVED:
            self._phases.pop(about)
        return phase != known


def is_alert(event: MonitoringEvent) -> bool:
    """Whether somebody should be told: an alert and its end, or any critical event."""
    if event.severity == "critical":
        return True
    is_end = _text(event, "phase") == RESOLVED
    return event.type == "alert" and (event.severity != "info" or is_end)


def fields_of(event: MonitoringEvent, usual_mode: str) -> dict[str, str]:
    """What a template may name; a field that the event does not have is empty."""
    told = ("about", "phase", "account", "detail", "effect", "runbook")
    fields = {name: _text(event, name) for name in told}
    fields["name"] = _text(event, "name") or event.type
    fields["severity"] = event.severity.upper()
    fields["mode"] = _text(event, "mode") or usual_mode
    fields["cycle_id"] = event.cycle_id
    since = _instant(_text(event, "since"))
    fields["since"] = f"{since:%H:%M:%S}" if since is not None else ""
    is_end = fields["phase"] == RESOLVED
    took_s = (event.at - since).total_seconds() if is_end and since is not None else 0.0
    fields["duration"] = span(took_s) if is_end else ""
    fields["text"] = _line(fields)
    return fields


def _line(fields: Mapping[str, str]) -> str:
    is_end = fields["phase"] == RESOLVED
    word = RESOLVED if is_end else fields["severity"]
    what = "; ".join(part for part in (fields["detail"], fields["effect"]) if part)
    parts = [
        f"[{fields['mode']}] {word} {fields['name']}",
        f"after {fields['duration']}" if fields["duration"] else "",
        f"since {fields['since']}" if fields["since"] else "",
        fields["detail"] if is_end else what,
        f"runbook {fields['runbook']}" if fields["runbook"] else "",
        f"cycle {fields['cycle_id']}" if fields["cycle_id"] else "",
    ]
    return " | ".join(part for part in parts if part)


def body(event: MonitoringEvent, template: Mapping[str, Any], usual_mode: str) -> bytes:
    """The JSON to post: the filled template, or the event with its line."""
    fields = fields_of(event, usual_mode)
    if template:
        return msgspec.json.encode(_filled(template, fields))
    plain = msgspec.to_builtins(event)
    return msgspec.json.encode({"text": fields["text"], **plain})


def _filled(value: Any, fields: Mapping[str, str]) -> Any:
    """Filled in after the template was read as JSON: no text can break out of its place."""
    match value:
        case str():
            return Template(value).substitute(fields)
        case Mapping():
            return {name: _filled(item, fields) for name, item in value.items()}
        case list() | tuple():
            return [_filled(item, fields) for item in value]
    return value


def span(seconds: float) -> str:
    """`89 s`, `7 min`, `3 h`, `2 d`: the largest unit of which there are two."""
    for unit, name in UNITS:
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def _text(event: MonitoringEvent, name: str) -> str:
    value = event.data.get(name)
    return value if isinstance(value, str) else ""


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
