"""All twelve invariants over the books, one line each."""

from __future__ import annotations

from collections.abc import Callable
from decimal import localcontext

from engine.audit import account_checks, control_checks, order_checks
from engine.audit.books import Books, Result
from engine.domain.amounts import EXACT
from engine.domain.model import Value
from engine.ledger.audit import Finding

NAMED = 3

CHECKS: dict[str, Callable[[Books], Result]] = {
    "I1": order_checks.one_order_a_decision,
    "I2": order_checks.one_intent_an_order,
    "I3": order_checks.nothing_below_the_fence,
    "I4": order_checks.fills_within_terms,
    "I5": account_checks.account_is_its_fills,
    "I6": order_checks.nothing_missing,
    "I7": control_checks.nothing_open_too_long,
    "I8": account_checks.needs_cover_what_exists,
    "I9": account_checks.grants_within_limits,
    "I10": control_checks.epochs_and_ranks_rise,
    "I11": order_checks.only_frozen_bodies,
    "I12": control_checks.halts_are_kept,
}


class Line(Value, frozen=True, kw_only=True):
    """What the audit says of one invariant."""

    invariant: str
    looked_at: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True when it holds."""
        return not self.findings

    def text(self) -> str:
        """One line: what was looked at, or how many break it, and the first few."""
        if self.ok:
            return f"{self.invariant:<3} ok  {self.looked_at}"
        named = "; ".join(f"{one.subject}: {one.detail}" for one in self.findings[:NAMED])
        left = len(self.findings) - NAMED
        more = f"; and {left:,} more" if left > 0 else ""
        return f"{self.invariant:<3} BREACH  {len(self.findings):,}: {named}{more}"


def check(books: Books) -> tuple[Line, ...]:
    """I1 to I12, in this order: what the ledger shows alone and what the stores show together."""
    lines = []
    for invariant, look in CHECKS.items():
        with localcontext(EXACT):
            result = look(books)
        own = (one for one in books.ledger.findings if one.invariant == invariant)
        findings = dict.fromkeys((*own, *result.findings))
        line = Line(invariant=invariant, looked_at=result.looked_at, findings=tuple(findings))
        lines.append(line)
    return tuple(lines)
