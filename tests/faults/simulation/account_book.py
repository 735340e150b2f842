"""The portfolio service in memory: the engine's own account arithmetic behind the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from engine.domain import account as accounts
from engine.domain.messages import FillsApplied
from engine.domain.model import Fill, PortfolioSnapshot
from engine.errors import ServiceRejected

CONFLICT = 409
CASH = Decimal(100_000)


class AccountBook:
    """One account; a fill counts once, and none may be left out."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.account = accounts.open_account("paper", "USD", CASH)
        self.applied_seq = 0
        self.fills: dict[str, Fill] = {}
        self.refusals: list[str] = []
        self._now = now

    def snapshot(self) -> PortfolioSnapshot:
        """The account as of now."""
        return accounts.snapshot(self.account, self.applied_seq, self._now())

    def apply_fills(self, through_seq: int, fills: Sequence[Fill]) -> FillsApplied:
        """All or nothing. A gap, another content and an oversell are refused."""
        new = sorted((f for f in fills if f.fill_id not in self.fills), key=lambda fill: fill.seq)
        if any(self.fills[f.fill_id] != f for f in fills if f.fill_id in self.fills):
            self._refuse("mismatch")
        if any(fill.seq <= self.applied_seq for fill in new):
            self._refuse("gap")
        account = self.account
        for fill in new:
            try:
                account = accounts.apply_fill(account, fill)
            except accounts.Oversold:
                self._refuse("oversold")
        self.account = account
        self.applied_seq = max(self.applied_seq, through_seq)
        self.fills |= {fill.fill_id: fill for fill in new}
        return FillsApplied(applied_seq=self.applied_seq, applied=tuple(f.fill_id for f in new))

    def post_marks(self, prices: dict[str, str], as_of: datetime) -> None:
        """Market prices of what is held."""
        told = {symbol: Decimal(price) for symbol, price in prices.items()}
        self.account = accounts.apply_marks(self.account, told, as_of)

    def _refuse(self, kind: str) -> None:
        self.refusals.append(kind)
        raise ServiceRejected("portfolio", kind, status=CONFLICT, kind=kind)
