"""The reference execution service: a paper broker behind the promises of the order contract."""
