"""`trading-engine` against the API, over HTTP: what it says, and with which exit status."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask, Response
from structlog.testing import capture_logs

import cli
from engine.domain.cycle import CycleStatus
from engine.domain.ledger_values import NewAlert
from engine.settings import Settings
from tests.control_fakes import NOON, Bench, account, make_bench
from tests.factories import make_position
from web import KeyRing, serve

ROOT = Path(__file__).parents[3]
KEY = "a-key-of-the-operator"


@dataclass
class Spoken:
    """What one call said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Of `--json`."""
        return json.loads(self.out)


Say = Callable[..., Spoken]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Say]:
    """The command line in a folder and an environment of its own."""
    for name in ("URL", "API_KEY", "API_KEY_FILE", "_PORT"):
        monkeypatch.delenv(f"TRADING_ENGINE_{name}", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Spoken:
        capsys.readouterr()
        try:
            code = cli.main(arguments)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Spoken(code, said.out, said.err)

    with capture_logs():  # the server's, which shares this process
        yield call


@pytest.fixture
def served(bench: Bench, monkeypatch: pytest.MonkeyPatch, run: Say) -> Iterator[Bench]:
    """The API without keys, listening; the command line knows where."""
    server = serve(bench.app, "127.0.0.1", 0, 4)
    monkeypatch.setenv("TRADING_ENGINE_URL", server.url)
    yield bench
    server.close()


@pytest.fixture
def locked(settings: Settings, monkeypatch: pytest.MonkeyPatch, run: Say) -> Iterator[Bench]:
    """The API with a key, which the command line is not told."""
    made = make_bench(settings, KeyRing.single(KEY))
    server = serve(made.app, "127.0.0.1", 0, 4)
    monkeypatch.setenv("TRADING_ENGINE_URL", server.url)
    yield made
    server.close()
    made.ledger.dispose()


def ran(bench: Bench, status: CycleStatus = CycleStatus.COMPLETED) -> str:
    """A closed cycle with a plan and an account."""
    cycle_id = bench.open_cycle()
    bench.plan_cycle(cycle_id, account("97880"), NOON)
    bench.close_cycle(cycle_id, status)
    return cycle_id


def test_status_is_three_lines_that_say_how_it_stands(served: Bench, run: Say) -> None:
    ran(served)
    served.post("/start")
    said = run("status")
    assert said.code == 0
    lines = said.out.splitlines()
    assert len(lines) == 3, said.out
    assert lines[0].startswith("ACTIVE  SIMULATED  schedule running, next cycle in ")
    assert lines[1] == "equity 97,880.00 USD  today -2.12 %  drawdown 2.12 % of 15 %"
    assert lines[2].startswith("last  20")
    assert "COMPLETED, 50 symbols, 0 signals, 0 of 0 orders filled, 0 denied, 2.5 s" in lines[2]


def test_status_ends_with_4_when_halted_and_says_by_whom_and_why(served: Bench, run: Say) -> None:
    assert run("halt", "--reason", "prices look wrong").code == 0
    said = run("status")
    assert said.code == 4
    assert said.out.startswith("HALTED  SIMULATED  schedule stopped")
    assert "operator  HALTED: prices look wrong" in said.out


def test_status_ends_with_4_when_a_service_does_not_serve_and_says_what_follows(
    served: Bench, run: Say
) -> None:
    served.open_circuits["monitoring"] = "open"
    said = run("status")
    assert said.code == 4
    assert "degraded  monitoring: circuit open for " in said.out
    assert "; trading goes on; events are kept and sent later" in said.out


def test_start_and_stop_say_whether_anything_changed(served: Bench, run: Say) -> None:
    assert run("start").out.startswith("schedule started; next cycle at 12:00:00 UTC; ACTIVE")
    assert run("start").out.startswith("schedule was running already")
    assert run("stop").out == "schedule stopped\n"
    assert run("stop").out == "schedule was stopped already\n"


def test_a_start_that_cannot_work_is_refused_with_every_reason(served: Bench, run: Say) -> None:
    served.portfolio.away = served.execution.away = True
    said = run("start")
    assert (said.code, said.out) == (1, "")
    assert "  portfolio: " in said.err
    assert "  execution: " in said.err


def test_halt_and_resume_do_what_they_say(served: Bench, run: Say) -> None:
    served.execution.open_orders = ("a", "b")
    said = run("halt", "--reason", "drill")
    assert said.out.startswith("HALTED: no order leaves from now on; 2 open orders cancelled")
    assert served.execution.halted
    assert run("resume", "--reason", "the drill is over").out == "ACTIVE\n"
    assert not served.execution.halted


def test_a_halt_that_one_side_did_not_confirm_ends_with_4(served: Bench, run: Say) -> None:
    served.execution.away = True
    said = run("halt")
    assert said.code == 4
    assert "execution has not confirmed it" in said.out


def test_a_resume_needs_a_reason_and_live_the_accounts_name(
    served: Bench, run: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("resume").code == 2
    settings = served.desk.engine.settings
    live = settings.trading_engine.model_copy(update={"mode": "live", "account": "main"})
    monkeypatch.setitem(settings.__dict__, "trading_engine", live)
    said = run("resume", "--reason", "checked")
    assert (said.code, "--account main" in said.err) == (2, True)
    assert run("resume", "--reason", "checked", "--account", "main").code == 0


def test_what_reconciliation_found_refuses_a_resume(served: Bench, run: Say) -> None:
    run("halt")
    served.reconcile.problems = ("fills and portfolio differ in BTC/USD",)
    said = run("resume", "--reason", "checked")
    assert said.code == 1
    assert "  fills and portfolio differ in BTC/USD" in said.err


def test_a_cycle_is_accepted_and_a_second_one_refused(served: Bench, run: Say) -> None:
    said = run("cycle", "--symbols", "BTC/USD,ETH/USD", "--dry-run", "--json")
    assert said.code == 0
    assert said.document["status_url"] == f"/cycles/{said.document['cycle_id']}"
    [request] = served.dispatcher.sent
    assert (request.symbols, request.dry_run) == (("BTC/USD", "ETH/USD"), True)
    assert run("cycle").code == 1


@pytest.mark.parametrize(("status", "code"), [("COMPLETED", 0), ("FAILED", 4)])
def test_cycle_wait_shows_the_report(
    served: Bench, run: Say, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    """A worker that does its work at once stands in for the fleet."""
    send = served.dispatcher.start_cycle

    def work(request: Any) -> None:
        send(request)
        [open_one] = served.ledger.cycles.running()
        served.close_cycle(open_one.cycle_id, CycleStatus(status))

    monkeypatch.setattr(served.dispatcher, "start_cycle", work)
    said = run("cycle", "--wait", "5")
    assert said.code == code
    assert f" {status}, 50 symbols" in said.out


def test_without_orders_it_says_so_and_an_unknown_order_is_refused(served: Bench, run: Say) -> None:
    assert run("orders").out == "no orders\n"
    said = run("explain", "9b1f6c02")
    assert (said.code, said.err) == (1, "trading-engine: not found: no order 9b1f6c02\n")
    assert run("orders", "--state", "odd").code == 1


def holding(bench: Bench, **changed: Any) -> None:
    """An account with one position, as last read."""
    held = make_position("BTC/USD", "2", market_price=Decimal(110), **changed)
    bench.ledger.state.save_snapshot(msgspec.structs.replace(account(), positions=(held,)))


def test_positions_are_shown_with_their_profit_and_can_be_left(served: Bench, run: Say) -> None:
    assert run("positions").out == "no positions\n"
    holding(served)
    assert "BTC/USD         2      100    110  20.00 +10.00 %" in run("positions").out
    said = run("close", "BTC/USD")
    assert said.out == "BTC/USD: the exit of 2 asked for; the next cycle sends it\n"
    assert "was asked for already" in run("close", "BTC/USD", "--reason", "again").out
    assert run("close", "ETH/USD").code == 1
    run("halt")
    assert run("close", "BTC/USD").code == 4


def test_a_foreign_position_is_given_to_a_strategy(served: Bench, run: Say) -> None:
    holding(served, strategy=None)
    assert "foreign" in run("positions").out
    assert run("adopt", "BTC/USD", "macd").out == "BTC/USD belongs to macd\n"
    assert run("adopt", "BTC/USD", "none").code == 1


def test_a_strategy_may_enter_again(served: Bench, run: Say) -> None:
    assert "it was not throttled" in run("enable", "macd").out
    assert run("enable", "none").code == 1


def test_reduce_lowers_and_does_not_raise(served: Bench, run: Say) -> None:
    assert run("reduce").out == "REDUCING: only orders that shrink a position leave\n"
    assert run("status").code == 4


def test_alerts_are_shown_with_what_follows_until_they_are_over(served: Bench, run: Say) -> None:
    assert (run("alerts").code, run("alerts").out) == (0, "no alerts\n")
    alert = NewAlert(
        key="execution_down", name="execution_down", severity="critical", detail="no answer"
    )
    served.ledger.state.raise_alert(alert, NOON)
    said = run("alerts")
    assert said.code == 4
    assert "CRITICAL  execution_down" in said.out
    assert "no answer; nothing is sent" in said.out
    number = said.out.splitlines()[1].partition(" ")[0]
    assert run("alerts", "--ack", number).out == f"alert {number} execution_down acknowledged\n"
    assert "seen by local" in run("alerts").out
    served.ledger.state.resolve_alert("execution_down", NOON + timedelta(minutes=7))
    assert run("alerts").out == "no alerts\n"
    assert "12:00:00 for 7 min, resolved" in run("alerts", "--all").out


def test_json_is_the_apis_own_document_also_of_a_refusal(served: Bench, run: Say) -> None:
    assert run("--json", "status").document == served.get("/status").json | {
        "services": run("status", "--json").document["services"]
    }
    refused = run("explain", "none", "--json")
    assert (refused.code, refused.document["status"]) == (1, 404)


def test_a_key_comes_from_the_environment_or_a_file_and_is_asked_for(
    locked: Bench, run: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = run("status")
    assert said.code == 1
    assert "TRADING_ENGINE_API_KEY" in said.err
    monkeypatch.setenv("TRADING_ENGINE_API_KEY", KEY)
    assert run("status").code == 0
    monkeypatch.setenv("TRADING_ENGINE_API_KEY", "wrong")
    assert run("status").code == 1
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    assert run("status", "--key-file", str(file)).code == 0
    monkeypatch.delenv("TRADING_ENGINE_API_KEY")
    (tmp_path / "data").mkdir()
    file.rename(tmp_path / "data" / "api_key")
    assert run("status").code == 0, "the key that --make-key left"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"two words"])
def test_a_key_file_that_cannot_be_used_is_one_line(
    run: Say, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    said = run("status", "--key-file", str(file))
    assert said.code == 2
    assert said.err.startswith(f"trading-engine: {file}")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("cycle", "--wait", "x"),
        ("cycle", "--wait", "-1"),
        ("cycle", "--symbols", ","),
        ("halt", "--reason", ""),
        ("halt", "--reason", "x" * 501),
        ("halt", "--reason", "a\x00b"),
        ("resume", "--reason", "x", "--to", "HALTED"),
        ("orders", "--limit", "0"),
        ("explain",),
        ("config",),
        ("status", "--url", "ftp://engine"),
    ],
)
def test_wrong_usage_ends_with_2(run: Say, arguments: tuple[str, ...]) -> None:
    said = run(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://[", "http://nohost.invalid"])
def test_nobody_there_ends_with_3(run: Say, url: str) -> None:
    said = run("status", "--url", url)
    assert said.code == 3
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hello</html>"),
        (200, b""),
        (200, b"null"),
        (200, b"[1, 2]"),
        (200, b'{"trading_state": 3}'),
        (500, b"[]"),
        (502, b"bad gateway"),
        (503, b'{"title": "Ledger unavailable", "detail": "disk I/O error"}'),
        (302, b"{}"),
    ],
)
@pytest.mark.parametrize("verb", ["status", "start", "positions", "alerts", "explain x"])
def test_an_answer_of_something_else_ends_with_3_and_no_traceback(
    run: Say, status: int, body: bytes, verb: str
) -> None:
    app = Flask("other")
    app.extensions["web"] = type("Site", (), {"section": "", "name": "other"})
    app.config["MAX_CONTENT_LENGTH"] = 1000

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> Response:
        return Response(body, status)

    server = serve(app, "127.0.0.1", 0, 1)
    try:
        said = run(*verb.split(), "--url", server.url)
    finally:
        server.close()
    assert said.code == 3
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_config_check_says_what_would_be_in_force_or_each_fault(
    run: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sound = run("config", "check", "--json")
    assert (sound.code, sound.document["valid"]) == (0, True)
    file = tmp_path / "odd.yaml"
    file.write_text("trading_engine: {batchsize: 5, mode: fun}\n", encoding="utf-8")
    said = run("config", "check", "--file", str(file))
    assert said.code == 1
    assert "trading_engine.batchsize" in said.out
    assert "trading_engine.mode" in said.out
    monkeypatch.setenv("TRADING_ENGINE__CYCLE_INTERVAL", "1")
    assert "trading_engine.cycle_interval" in run("config", "check").out


def test_the_console_entry_names_the_command_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["trading-engine"].partition(":")
    assert getattr(importlib.import_module(module), name) is cli.main
    assert "/app/cli.py" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_it_starts_without_the_engine() -> None:
    """It can be put on a machine of its own, and a halt does not wait for imports."""
    looked = (
        "import cli, sys; print([n for n in ('engine', 'celery', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", looked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_figures_are_grouped_and_carry_their_unit() -> None:
    figures = importlib.import_module("command_line.figures")
    assert figures.money("104312.549", "USD") == "104,312.55 USD"
    assert figures.exact("64118.20") == "64,118.20"
    assert figures.exact(Decimal("0.0914")) == "0.0914"
    assert figures.percent("-0.0081", signed=True) == "-0.81 %"
    assert figures.plain_percent("0.15") == "15 %"
    assert [figures.span(s) for s in (-1, 89, 119, 420, 7200, 172800)] == [
        *("0 s", "89 s", "119 s", "7 min", "2 h", "2 d")
    ]
    assert figures.money(None) == figures.percent("NaN") == "-"
