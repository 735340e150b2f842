"""What a campaign must have seen, or it proves less than it seems to."""

EXPECTED: frozenset[str] = frozenset()
