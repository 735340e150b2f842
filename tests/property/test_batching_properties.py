"""Batches cover everything once, evenly, whatever comes in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.batching import make_batches

symbols = st.lists(st.text("ABCDEFG", min_size=1, max_size=3), max_size=60)
sizes = st.integers(min_value=1, max_value=30)


@given(symbols, symbols, sizes)
@settings(max_examples=200)
def test_every_symbol_is_in_exactly_one_batch(
    selected: list[str], held: list[str], size: int
) -> None:
    batches = make_batches(selected, held, size)
    members = [symbol for batch in batches for symbol in batch.symbols]
    assert sorted(members) == sorted(set(selected) | set(held))
    assert [batch.number for batch in batches] == list(range(len(batches)))


@given(symbols, symbols, sizes)
@settings(max_examples=200)
def test_batches_are_within_the_size_and_even(
    selected: list[str], held: list[str], size: int
) -> None:
    batches = make_batches(selected, held, size)
    for kind in (True, False):
        lengths = [len(batch.symbols) for batch in batches if batch.held is kind]
        if lengths:
            assert max(lengths) <= size
            assert max(lengths) - min(lengths) <= 1
            # No more batches than are needed.
            assert len(lengths) == -(-sum(lengths) // size)


@given(symbols, symbols, sizes)
@settings(max_examples=100)
def test_held_symbols_fill_the_first_batches_and_share_none(
    selected: list[str], held: list[str], size: int
) -> None:
    batches = make_batches(selected, held, size)
    flags = [batch.held for batch in batches]
    assert flags == sorted(flags, reverse=True)
    for batch in batches:
        assert all((symbol in held) == batch.held for symbol in batch.symbols)


@given(symbols, symbols, sizes)
@settings(max_examples=100)
def test_the_order_of_symbols_is_kept(selected: list[str], held: list[str], size: int) -> None:
    members = [s for b in make_batches(selected, held, size) if not b.held for s in b.symbols]
    assert members == [s for s in dict.fromkeys(selected) if s not in held]
