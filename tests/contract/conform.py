"""`python -m tests.contract.conform [--url URL ...]`: the conformance suite of execution services.

Without a URL it runs against the reference service, started for it. Against another service it
sends a few hundred real orders within a minute: point it at a service whose account may be traded
with and whose own limit of orders a minute allows that. CONFORM_KEY is its bearer key.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "execution"


def main(arguments: list[str]) -> int:
    """Run the suite; pytest's exit status."""
    parser = argparse.ArgumentParser(prog="conform", description="Conformance of execution")
    parser.add_argument("--url", help="base URL of the service; without it the reference service")
    parser.add_argument("--account", default="paper", help="account that the service serves")
    parser.add_argument("--symbol", default="BTC/USD", help="a symbol that it trades")
    parser.add_argument("--price", help="about the symbol's present price")
    parser.add_argument("--quantity", help="a quantity above the minimum, cheap to trade")
    asked, others = parser.parse_known_args(arguments)
    if asked.url is not None:
        if asked.price is None or asked.quantity is None:
            parser.error("--url needs --price and --quantity")
        for name in ("account", "symbol", "price", "quantity"):
            os.environ[f"CONFORM_{name.upper()}"] = getattr(asked, name)
        os.environ["CONFORM_EXECUTION_URL"] = asked.url
    return int(pytest.main([str(SUITE), *others]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
