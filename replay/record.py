"""What was decided and why, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from engine.domain.amounts import text
from engine.domain.cycle import DroppedSignal, SymbolOutcome
from engine.domain.model import RiskDecision
from engine.domain.risk import SafetyBreach

Line = Mapping[str, object]


class Record:
    """Decisions with their binding rules, dropped signals, latches and unusable symbols.

    Of unusable and refused symbols only a change is noted: they repeat for hours.
    """

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._unwritten: list[tuple[datetime, RiskDecision | Line]] = []
        self.latches: list[SafetyBreach] = []
        self.skips: Counter[str] = Counter()
        self._known: dict[str, str] = {}

    @property
    def lines(self) -> list[Line]:
        """All of it in order; written out when it is asked for."""
        self._lines += [_line(now, entry) for now, entry in self._unwritten]
        self._unwritten.clear()
        return self._lines

    def decisions(self, now: datetime, made: Iterable[RiskDecision]) -> None:
        """What became of candidates."""
        self._unwritten += [(now, decision) for decision in made]

    def dropped(self, now: datetime, dropped: Iterable[DroppedSignal]) -> None:
        """Signals that went no further."""
        for entry in dropped:
            signal = entry.signal
            self._add(
                now,
                "dropped",
                signal.symbol,
                strategy=signal.strategy,
                action=signal.action.value,
                reason=entry.reason,
            )

    def latched(self, now: datetime, breach: SafetyBreach) -> None:
        """A loss that lowered the trading state."""
        self.latches.append(breach)
        self._add(now, "latched", "", state=breach.level.value, reason=breach.detail)

    def skipped(self, now: datetime, symbol: str, fault: str) -> None:
        """A symbol whose candles may not be traded on."""
        word = fault.partition(":")[0]
        self.skips[word] += 1
        self._change(now, "skipped", symbol, word, fault)

    def failed(self, now: datetime, symbol: str, faults: list[str]) -> None:
        """What a strategy did wrong about a symbol."""
        for fault in faults:
            self.skips["strategy_failed"] += 1
            self._change(now, "failed", symbol, fault, fault)

    def refused(self, now: datetime, outcomes: Iterable[SymbolOutcome]) -> None:
        """Symbols that are not traded at all."""
        for outcome in outcomes:
            self.skips[outcome.reason] += 1
            self._change(now, "skipped", outcome.symbol, outcome.reason, outcome.reason)

    def _change(self, now: datetime, kind: str, symbol: str, word: str, reason: str) -> None:
        if self._known.get(symbol) != word:
            self._known[symbol] = word
            self._add(now, kind, symbol, reason=reason)

    def _add(self, now: datetime, kind: str, symbol: str, **fields: object) -> None:
        self._unwritten.append((now, {"kind": kind, "symbol": symbol, **fields}))


def _line(now: datetime, entry: RiskDecision | Line) -> Line:
    fields = _decision(entry) if isinstance(entry, RiskDecision) else entry
    return {"time": now.isoformat().replace("+00:00", "Z"), **fields}


def _decision(decision: RiskDecision) -> Line:
    intent = decision.intent
    return {
        "kind": "decision",
        "symbol": intent.symbol,
        "strategy": intent.strategy,
        "side": intent.side.value,
        "verdict": decision.verdict.value,
        "quantity": text(decision.quantity),
        "binding_rule": decision.binding_rule,
        "reason": decision.reason,
        "exit_reason": intent.exit_reason,
        "price": text(intent.price),
        "stop_price": None if intent.stop_price is None else text(intent.stop_price),
        "target_price": None if intent.target_price is None else text(intent.target_price),
        "candle_time": intent.candle_time,
        "allowances": msgspec.to_builtins(decision.allowances),
    }
