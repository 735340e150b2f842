"""The invariants I1 to I12 over ledger, execution service and portfolio; `checks.check` runs them.

Nothing here writes. What is read is in `books`, the reading in `ledger_book` and `venue_book`,
each invariant is one function.
"""
