"""The operator's command line: what `cli.py` does. It speaks HTTP only."""
