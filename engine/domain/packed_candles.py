"""Candles as bytes, column after column: what takes no parsing to read again.

Six columns (open time as int64, then open, high, low, close, volume as float64), little endian,
one after another: 48 bytes a candle.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pybase64

from engine.domain.candles import Candles

CANDLE_BYTES = 48
COLUMNS = 6
_text = msgspec.json.Decoder(str)


def packed(candles: Candles) -> bytes:
    """The columns' bytes."""
    return candles.block.tobytes()


def packed_json(candles: Candles) -> bytes:
    """The same as a text of JSON, in base64."""
    return b'"' + pybase64.b64encode(packed(candles)) + b'"'


def unpacked_json(text: bytes | msgspec.Raw) -> Candles:
    """What `packed_json` wrote, in memory of its own that may be written to.

    Raises ValueError (MsgspecError among them) for what is no text, no base64, no whole candles.
    """
    try:
        body = pybase64.b64decode_as_bytearray(memoryview(text)[1:-1], validate=True)
    except ValueError:  # a slash may stand behind a backslash in a text of JSON
        body = pybase64.b64decode_as_bytearray(_text.decode(text), validate=True)
    return unpacked(body)


def unpacked(body: bytes | bytearray | memoryview) -> Candles:
    """The candles to the bit; the columns are views of `body`, which is written to with them.

    Raises ValueError for bytes that are no whole candles.
    """
    if len(body) % CANDLE_BYTES:
        raise ValueError(f"{len(body)} bytes are no whole candles of {CANDLE_BYTES}")
    return Candles(np.frombuffer(body, dtype=np.int64).reshape(COLUMNS, -1))
