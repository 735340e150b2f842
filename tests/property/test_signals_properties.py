"""Nothing is lost between received, kept and dropped, in whatever order signals arrive."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.model import Action, Signal
from engine.domain.signals import FilteredSignals, filter_signals
from tests.factories import HOUR_MS, NEWEST, NOW, make_position, make_signal

SYMBOLS = ["A/USD", "B/USD", "X/USD"]

signals = st.lists(
    st.builds(
        lambda symbol, strategy, action, confidence, candle_time, price, stop: make_signal(
            symbol,
            strategy=strategy,
            action=action,
            confidence=confidence,
            candle_time=candle_time,
            price=price,
            stop_loss=stop,
        ),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from(list(Action)),
        st.one_of(st.sampled_from([0.6, 0.7]), st.floats()),
        st.sampled_from([NEWEST, NEWEST - HOUR_MS]),
        st.sampled_from([Decimal(100), Decimal("NaN"), Decimal(-1)]),
        st.sampled_from([None, Decimal(99), Decimal(101)]),
    ),
    max_size=25,
)


def filtered(received: list[Signal], min_confidence: float = 0.6) -> FilteredSignals:
    return filter_signals(
        received,
        strategies=["s1", "s2"],
        min_confidence=min_confidence,
        ttl_s=300,
        timeframe_s=3600,
        market_time=NOW,
        newest={"A/USD": NEWEST, "B/USD": NEWEST},
        positions={"A/USD": make_position("A/USD", strategy="s1")},
    )


@given(signals)
@settings(max_examples=150)
def test_every_signal_but_hold_is_kept_or_dropped_once(received: list[Signal]) -> None:
    result = filtered(received)
    told = [*result.kept, *(dropped.signal for dropped in result.dropped)]
    expected = [signal for signal in received if signal.action is not Action.HOLD]
    assert sorted(map(repr, told)) == sorted(map(repr, expected))
    assert result.received == len(expected)


@given(signals)
@settings(max_examples=150)
def test_what_is_kept_is_sound_and_one_a_symbol(received: list[Signal]) -> None:
    kept = filtered(received).kept
    assert len({signal.symbol for signal in kept}) == len(kept)
    for signal in kept:
        assert signal.symbol in {"A/USD", "B/USD"}
        assert signal.strategy in {"s1", "s2"}
        assert 0.6 <= signal.confidence <= 1
        assert signal.price == 100
        assert signal.candle_time == NEWEST
        if signal.action is Action.SELL:
            assert (signal.symbol, signal.strategy) == ("A/USD", "s1")


@given(signals, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_the_order_of_arrival_does_not_matter(received: list[Signal], random: object) -> None:
    shuffled = list(received)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert repr(filtered(shuffled)) == repr(filtered(received))


@given(signals, st.floats(0.6, 1))
@settings(max_examples=100)
def test_a_higher_threshold_never_keeps_more(received: list[Signal], least: float) -> None:
    strict = {signal.symbol for signal in filtered(received, least).kept}
    assert strict <= {signal.symbol for signal in filtered(received).kept}
