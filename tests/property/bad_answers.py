"""Answers with something wrong in them, and a transport whose network always gives one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from engine.clients.answers import RawAnswer
from engine.clients.transport import Transport
from tests.clients_kit import ToldClock, make_transport

AS_OF = "2025-11-22T12:00:00Z"
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["NaN", "Infinity", "-1", "0", "1", "1e400", "1E-400", "", "٣", AS_OF]),
)
WORDS = st.sampled_from(
    ["BTC/USD", "as_of", "clock", "live", "replay", "1h", "FILLED", "o-1", "in-1", "paper", "sma"]
)
LEAVES = st.one_of(NUMBERS, WORDS, st.none(), st.booleans(), st.text(max_size=8))
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> Any:
    """The document with one part of it replaced or removed, at any depth."""
    if isinstance(document, dict) and document and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(document)))
        rest = {name: value for name, value in document.items() if name != key}
        return rest if draw(st.integers(0, 5)) == 0 else {**rest, key: draw(spoiled(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 4)):
        return [draw(spoiled(document[0])), *document[1:]]
    return draw(JUNK)


def transport_that_answers(answer: RawAnswer) -> Transport:
    """A transport whose network always gives this answer."""
    transport = make_transport(
        "http://127.0.0.1:1",
        retries=0,
        breaker={"failures": 10**6, "reset_s": 1},
        clock=ToldClock(),
        sleep=lambda _seconds: None,
    )
    transport._exchange = lambda *_: replace(answer)  # type: ignore[method-assign]
    return transport
