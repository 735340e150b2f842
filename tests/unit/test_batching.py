"""Selection of the universe."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from engine.domain.batching import NO_BATCH, Selection, make_batches, select
from engine.domain.cycle import OutcomeStatus, Stage
from engine.domain.limits import SelectionLimits
from engine.domain.model import Instrument
from tests.factories import make_instrument

LIMITS = SelectionLimits(min_volume_24h=Decimal(1000), max_spread_bps=50, max_symbols=500)


def chosen(
    instruments: Iterable[Instrument],
    *,
    held: Iterable[str] = (),
    requested: Iterable[str] | None = None,
    limits: SelectionLimits = LIMITS,
) -> Selection:
    return select(instruments, held=held, requested=requested, currency="USD", limits=limits)


def reasons(selection: Selection) -> dict[str, str]:
    return {outcome.symbol: outcome.reason for outcome in selection.outcomes}


def test_the_universe_is_ordered_by_volume_then_symbol() -> None:
    universe = [
        make_instrument("B/USD", volume_24h=Decimal(2000)),
        make_instrument("A/USD", volume_24h=Decimal(2000)),
        make_instrument("C/USD", volume_24h=Decimal(9000)),
    ]
    assert [i.symbol for i in chosen(universe).selected] == ["C/USD", "A/USD", "B/USD"]


def test_illiquid_and_wide_symbols_are_left_out_silently() -> None:
    universe = [
        make_instrument("A/USD", volume_24h=Decimal(999)),
        make_instrument("B/USD", spread_bps=50.1),
        make_instrument("C/USD", spread_bps=float("nan")),
    ]
    selection = chosen(universe)
    assert selection.selected == ()
    assert selection.outcomes == ()


def test_requested_symbols_that_are_refused_are_named_with_the_reason() -> None:
    universe = [
        make_instrument("A/USD", volume_24h=Decimal(999)),
        make_instrument("B/USD", spread_bps=51),
        make_instrument("C/EUR"),
        make_instrument("D/USD"),
    ]
    selection = chosen(universe, requested=["A/USD", "B/USD", "C/EUR", "X/USD"])
    assert reasons(selection) == {
        "A/USD": "illiquid",
        "B/USD": "wide_spread",
        "C/EUR": "quote_currency",
        "X/USD": "unknown_symbol",
    }
    assert selection.selected == ()
    first = selection.outcomes[0]
    assert (first.batch, first.stage, first.status) == (
        NO_BATCH,
        Stage.SELECT,
        OutcomeStatus.SKIPPED,
    )


def test_a_foreign_quote_currency_is_named_even_when_nobody_asked() -> None:
    assert reasons(chosen([make_instrument("C/EUR")])) == {"C/EUR": "quote_currency"}


def test_only_requested_symbols_are_selected() -> None:
    universe = [make_instrument("A/USD"), make_instrument("B/USD")]
    selection = chosen(universe, requested=["B/USD"])
    assert [i.symbol for i in selection.selected] == ["B/USD"]


def test_a_request_for_nothing_selects_held_symbols_only() -> None:
    universe = [make_instrument("A/USD"), make_instrument("B/USD")]
    selection = chosen(universe, held=["A/USD"], requested=[])
    assert [i.symbol for i in selection.selected] == ["A/USD"]


def test_held_symbols_pass_every_filter_and_request() -> None:
    universe = [
        make_instrument("A/EUR", volume_24h=Decimal(1), spread_bps=900),
        make_instrument("B/USD"),
    ]
    selection = chosen(universe, held=["GONE/USD", "A/EUR"], requested=["B/USD"])
    assert selection.held == ("A/EUR", "GONE/USD")
    assert [i.symbol for i in selection.selected] == ["B/USD", "A/EUR"]
    assert selection.outcomes == ()


def test_the_most_liquid_symbols_are_kept_when_there_are_too_many() -> None:
    universe = [make_instrument(f"S{n}/USD", volume_24h=Decimal(5000 + n)) for n in range(5)]
    limits = SelectionLimits(min_volume_24h=Decimal(0), max_spread_bps=50, max_symbols=2)
    selection = chosen(universe, limits=limits)
    assert [i.symbol for i in selection.selected] == ["S4/USD", "S3/USD"]
    refused = chosen(universe, requested=[i.symbol for i in universe], limits=limits)
    assert reasons(refused)["S0/USD"] == "max_symbols"


def test_held_symbols_do_not_use_up_the_number_of_symbols() -> None:
    universe = [make_instrument(f"S{n}/USD", volume_24h=Decimal(5000 + n)) for n in range(3)]
    limits = SelectionLimits(min_volume_24h=Decimal(0), max_spread_bps=50, max_symbols=1)
    selection = chosen(universe, held=["S2/USD"], limits=limits)
    assert [i.symbol for i in selection.selected] == ["S2/USD", "S1/USD"]


def test_held_batches_come_first_and_hold_nothing_else() -> None:
    batches = make_batches(["A", "B", "C", "D", "E"], ["D", "X"], 2)
    assert [(b.number, b.symbols, b.held) for b in batches] == [
        (0, ("D", "X"), True),
        (1, ("A", "B"), False),
        (2, ("C", "E"), False),
    ]


def test_nothing_gives_no_batch() -> None:
    assert make_batches([], [], 25) == ()
