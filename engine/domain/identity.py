"""Ids that follow from names: whoever computes one, and whenever, finds the same."""

from __future__ import annotations

import hashlib

DIGITS = 16  # bytes of an id


def named_id(namespace: bytes, name: str) -> str:
    """Text of the UUID of this name (RFC 9562, version 5), as `uuid.uuid5` makes it."""
    digest = hashlib.sha1(namespace + name.encode(), usedforsecurity=False).digest()
    made = bytearray(digest[:DIGITS])
    made[6] = made[6] & 0x0F | 0x50
    made[8] = made[8] & 0x3F | 0x80
    text = made.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
