"""Candles as bytes and as a text of JSON."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engine.domain.packed_candles import packed, packed_json, unpacked, unpacked_json
from tests.factories import make_candles

SERIES = make_candles(100 + np.random.default_rng(1).random(600))


@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_candles_come_back_to_the_bit(count: int) -> None:
    candles = SERIES.tail(count)
    for read in (unpacked(packed(candles)), unpacked_json(packed_json(candles))):
        assert np.array_equal(read.block, candles.block)


def test_what_was_read_from_a_text_may_be_written_to() -> None:
    read = unpacked_json(packed_json(SERIES.tail(5)))
    read.close[2] = 7.0
    assert read.close[2] == 7.0


def test_a_text_is_read_however_its_writer_escapes_it() -> None:
    candles = SERIES.tail(300)
    text = packed_json(candles).replace(b"/", b"\\/").replace(b"+", b"\\u002b")
    assert b"\\" in text
    assert np.array_equal(unpacked_json(text).block, candles.block)


@pytest.mark.parametrize("text", [b'"AAA"', b'"AAAA"', b'"A\\n=="', b'"no base64"', b'"\\x"'])
def test_what_is_no_candles_is_a_value_error(text: bytes) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        unpacked_json(text)
