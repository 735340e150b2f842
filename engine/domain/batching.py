"""From the universe to stable, even batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.domain.cycle import Batch, OutcomeStatus, Stage, SymbolOutcome
from engine.domain.limits import SelectionLimits
from engine.domain.model import Instrument, Value

NO_BATCH = -1


class Selection(Value, frozen=True, kw_only=True):
    """What a cycle works on.

    `selected` is ordered by volume (highest first), then symbol, and contains the held symbols
    that the universe knows. `held` is every held symbol, sorted, known or not. `outcomes` names
    refused symbols that were asked for by name or are quoted in a foreign currency.
    """

    selected: tuple[Instrument, ...]
    held: tuple[str, ...]
    outcomes: tuple[SymbolOutcome, ...] = ()


def select(
    instruments: Iterable[Instrument],
    *,
    held: Iterable[str],
    requested: Iterable[str] | None,
    currency: str,
    limits: SelectionLimits,
) -> Selection:
    """Keep liquid symbols in the account's currency; held symbols whatever the filters say.

    `requested` None asks for the whole universe, else only for those symbols and the held ones.
    """
    universe = {instrument.symbol: instrument for instrument in instruments}
    holding = frozenset(held)
    asked = None if requested is None else frozenset(requested)
    refused: dict[str, str] = {}
    fit: list[Instrument] = []
    for instrument in sorted(universe.values(), key=_by_volume):
        if instrument.symbol in holding or (asked is not None and instrument.symbol not in asked):
            continue
        fault = _unfit(instrument, currency, limits)
        if fault is None and len(fit) >= limits.max_symbols:
            fault = "max_symbols"
        if fault is None:
            fit.append(instrument)
        elif asked is not None or fault == "quote_currency":
            refused[instrument.symbol] = fault
    refused |= {symbol: "unknown_symbol" for symbol in (asked or ()) if symbol not in universe}
    kept = [universe[symbol] for symbol in holding if symbol in universe]
    return Selection(
        selected=tuple(sorted([*fit, *kept], key=_by_volume) if kept else fit),
        held=tuple(sorted(holding)),
        outcomes=tuple(
            _skipped(symbol, refused[symbol]) for symbol in sorted(refused.keys() - holding)
        ),
    )


def make_batches(symbols: Sequence[str], held: Iterable[str], size: int) -> tuple[Batch, ...]:
    """Split into batches of at most `size`; sizes of a kind differ by at most one.

    Held symbols fill batches of their own, first. Numbers start at 0, the order of `symbols` is
    kept, and each symbol is in exactly one batch.
    """
    holding = sorted(frozenset(held))
    others = [symbol for symbol in dict.fromkeys(symbols) if symbol not in frozenset(holding)]
    parts = [(part, True) for part in _even_parts(holding, size)]
    parts += [(part, False) for part in _even_parts(others, size)]
    return tuple(
        Batch(number=number, symbols=part, held=is_held)
        for number, (part, is_held) in enumerate(parts)
    )


def _by_volume(instrument: Instrument) -> tuple[object, ...]:
    return (-instrument.volume_24h, instrument.symbol)


def _unfit(instrument: Instrument, currency: str, limits: SelectionLimits) -> str | None:
    if instrument.quote_currency != currency:
        return "quote_currency"
    if instrument.volume_24h < limits.min_volume_24h:
        return "illiquid"
    # Written so that a spread that is not a number is refused.
    if not instrument.spread_bps <= limits.max_spread_bps:
        return "wide_spread"
    return None


def _skipped(symbol: str, reason: str) -> SymbolOutcome:
    return SymbolOutcome(
        symbol=symbol,
        batch=NO_BATCH,
        stage=Stage.SELECT,
        status=OutcomeStatus.SKIPPED,
        reason=reason,
    )


def _even_parts(symbols: Sequence[str], size: int) -> list[tuple[str, ...]]:
    if not symbols:
        return []
    count = -(-len(symbols) // size)
    base, longer = divmod(len(symbols), count)
    parts, start = [], 0
    for number in range(count):
        end = start + base + (1 if number < longer else 0)
        parts.append(tuple(symbols[start:end]))
        start = end
    return parts
