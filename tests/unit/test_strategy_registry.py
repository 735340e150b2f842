"""The user's folder of strategies: what is loaded, what is refused, and that nothing crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.strategy.evaluation import Asked, Subject, judge_symbol
from services.strategy.registry import load_registry
from services.strategy.strategies import BUILT_IN
from tests.factories import make_candles

HEAD = """
from engine.domain.model import Action
from services.strategy import Opinion, Parameters, Strategy

class Own(Parameters, frozen=True, kw_only=True):
    period: int = 3
"""
BUY = 'Opinion(action=Action.BUY, confidence=0.7, reason="because")'


def source(judge: str = BUY, name: str = "own", more: str = "") -> str:
    return (
        f"{HEAD}\nSTRATEGY = Strategy(name={name!r}, version='1', parameters=Own, "
        f"min_candles=lambda p: p.period, judge=lambda candles, holding, p: {judge}{more})\n"
    )


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_a_good_file_serves_beside_the_built_in_ones(tmp_path: Path) -> None:
    write(tmp_path, "own.py", source())
    registry = load_registry(tmp_path)
    assert set(registry.strategies) == {each.name for each in BUILT_IN} | {"own"}
    assert registry.errors == {}


def test_a_missing_folder_is_no_fault(tmp_path: Path) -> None:
    assert load_registry(tmp_path / "none").errors == {}


def test_files_that_start_with_an_underscore_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "_own.py", "raise RuntimeError")
    write(tmp_path, "README.md", "no python")
    registry = load_registry(tmp_path)
    assert (len(registry.strategies), registry.errors) == (len(BUILT_IN), {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("this is no python", "SyntaxError"),
        ("import there_is_no_such_module", "there_is_no_such_module"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "must define STRATEGY"),
        ("STRATEGY = 5", "must define STRATEGY"),
        (source(name="macd"), "the name macd is taken"),
        (source(name=""), "name must be a text"),
        (source().replace("period: int = 3", "period: int"), "period"),
        (source().replace("(Parameters, frozen=True, kw_only=True)", ""), "derived from"),
        (source().replace("p.period,", "p.nothing,"), "nothing"),
    ],
)
def test_a_broken_file_is_listed_with_one_line_and_the_next_one_serves(
    tmp_path: Path, text: str, words: str
) -> None:
    write(tmp_path, "a_broken.py", text)
    write(tmp_path, "b_good.py", source(name="good"))
    registry = load_registry(tmp_path)
    assert set(registry.errors) == {"a_broken.py"}
    assert words in registry.errors["a_broken.py"]
    assert "\n" not in registry.errors["a_broken.py"]
    assert "good" in registry.strategies


def test_of_two_files_with_one_name_the_first_serves(tmp_path: Path) -> None:
    write(tmp_path, "a.py", source())
    write(tmp_path, "b.py", source())
    registry = load_registry(tmp_path)
    assert "own" in registry.strategies
    assert registry.errors == {"b.py": "ValueError: the name own is taken"}


def judged(folder: Path, text: str) -> tuple[int, list[str]]:
    write(folder, "own.py", text)
    strategy = load_registry(folder).strategies["own"]
    parameters = strategy.parse({})
    asked = [Asked("own", strategy, parameters, strategy.needs(parameters))]
    candles = make_candles([100.0] * 30, spread=1.0)
    signals, faults = judge_symbol(asked, Subject("A/USD", candles, None))
    return len(signals), faults


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        (BUY.replace("0.7", "1.5"), "confidence 1.5"),
        (BUY.replace("0.7", "float('nan')"), "confidence nan"),
        (BUY.replace("reason", "stop_loss=-1.0, reason"), "is no price"),
        ("5", "AttributeError"),
    ],
)
def test_a_strategy_that_fails_is_an_error_of_the_symbol(
    tmp_path: Path, judge: str, words: str
) -> None:
    count, faults = judged(tmp_path, source(judge))
    assert count == 0
    assert len(faults) == 1
    assert words in faults[0]


def test_a_hold_is_no_signal(tmp_path: Path) -> None:
    assert judged(tmp_path, source(BUY.replace("BUY", "HOLD"))) == (0, [])


def test_an_own_stop_is_kept(tmp_path: Path) -> None:
    text = source(BUY.replace("reason", "stop_loss=90.5, take_profit=120.0, reason"))
    write(tmp_path, "own.py", text)
    strategy = load_registry(tmp_path).strategies["own"]
    asked = [Asked("own", strategy, strategy.parse({}), 15)]
    candles = make_candles([100.0] * 30, spread=1.0)
    (signal,), _ = judge_symbol(asked, Subject("A/USD", candles, None))
    assert (str(signal.stop_loss), str(signal.take_profit)) == ("90.5", "120")
