"""`GET /events`: server-sent events that say what changed."""

from __future__ import annotations

import threading

from flask import Flask, Response, request

from engine.control.desk import Desk
from engine.control.events import EventFeed
from web import Problem, route

EVENT_STREAM = "text/event-stream"
RETRY_S = 5
DESCRIPTION = (
    "A stream of `text/event-stream`: `cycle`, `orders`, `state`, `alerts`, `positions` say what "
    "to read again, `beat` comes every 5 s, `resync` after a gap. Send the last id as "
    "`Last-Event-ID` to go on. Read it with `fetch`, so that the key travels in its header."
)


def add_events(app: Flask, desk: Desk) -> EventFeed:
    """Add the route; the feed behind it, to be closed with the server.

    A stream holds a thread of the server for as long as it lives. The server has `api.streams`
    threads more than it needs for requests, and no more streams than that are let in.
    """
    feed = EventFeed(desk.operator.marks)
    seats = threading.BoundedSemaphore(desk.engine.settings.api.streams)

    @route(
        app,
        "GET",
        "/events",
        summary="What changes, as it changes",
        description=DESCRIPTION,
        answers={200: None, 503: None},
    )
    def events() -> Response:
        if not seats.acquire(blocking=False):
            detail = f"{desk.engine.settings.api.streams} streams are open; close one"
            headers = {"Retry-After": str(RETRY_S)}
            raise Problem(503, "Too many streams", detail, kind="streams", headers=headers)
        stream = feed.stream(request.headers.get("Last-Event-ID", ""))
        response = Response(stream, content_type=EVENT_STREAM)
        response.call_on_close(seats.release)
        return response

    return feed
