"""Each invariant holds in a deployment that traded, and breaks when one row is made wrong."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from sqlalchemy import func, select, update

from engine.domain.model import TradingState
from engine.domain.views import AuditEntry
from engine.ledger.connections import ledger_url
from engine.ledger.migration import migrate
from engine.ledger.schema import allocations
from launcher.audit import main
from tests.deployment import Deployment, deployed
from tests.ledger_database import copy_ledger, ledger_environment, ledger_rows, needs_ledger_file

ENTRY = "(select client_order_id from orders where side = 'buy' order by number limit 1)"
EXECUTION, LEDGER, PORTFOLIO = "execution.sqlite", "ledger.sqlite", "portfolio.sqlite"
TAKEN = "client_order_id = (select client_order_id from events where seq = 1)"


def halt(deployment: Deployment) -> None:
    """As `POST /halt` does, with its answer written down."""
    engine = deployment.engine
    engine.execution.halt("a test", cancel_open=True)
    now = engine.clock.now()
    deployment.ledger.state.set_operator(TradingState.HALTED, "a test", "tester", now)
    entry = AuditEntry(
        request_id="1",
        actor="tester",
        method="POST",
        route="/halt",
        status=200,
        detail="{} ledger=confirmed execution=confirmed",
    )
    deployment.ledger.queries.audit_append(entry, engine.clock.now())


def resume(deployment: Deployment) -> None:
    engine = deployment.engine
    engine.execution.resume("a test")
    now = engine.clock.now()
    deployment.ledger.state.set_operator(TradingState.ACTIVE, "a test", "tester", now)


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cycles with orders, one while halted, and a fourth; then everything is stopped."""
    folder = tmp_path_factory.mktemp("traded")
    with deployed(folder) as deployment:
        for _ in range(3):
            deployment.cycle()
        halt(deployment)
        deployment.cycle()
        resume(deployment)
        deployment.cycle()
        orders = deployment.books().ledger.orders.values()
        assert {order.side.value for order in orders} == {"buy", "sell"}
    return folder


@pytest.fixture
def folder(traded: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    copy = tmp_path / "data"
    shutil.copytree(traded, copy)
    copy_ledger(traded, copy)
    return copy


def spoil(folder: Path, file: str, *statements: str) -> None:
    complete = [each.replace("{entry}", ENTRY).replace("{taken}", TAKEN) for each in statements]
    if file == LEDGER:
        with ledger_rows(folder) as connection:
            counts = [connection.exec_driver_sql(each).rowcount for each in complete]
    else:
        with closing(sqlite3.connect(folder / file)) as database, database:
            counts = [database.execute(each).rowcount for each in complete]
    assert all(count != 0 for count in counts), f"no row to spoil: {statements}"


def audited(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """The exit status, and each line by its invariant."""
    capsys.readouterr()
    environ = {"PATH": "/usr/bin", **ledger_environment(folder)}
    status = main(["--data-dir", str(folder)], environ)
    lines = capsys.readouterr().out.splitlines()
    return status, {line.split()[0]: line for line in lines}


def test_a_clean_deployment_gives_twelve_lines_and_exit_status_0(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines = audited(folder, capsys)
    assert status == 0
    assert list(lines) == [f"I{number}" for number in range(1, 13)]
    for line in lines.values():
        assert line.split()[1] == "ok", line
    assert "orders, none accepted below the fence of its time" in lines["I3"]
    assert "1 halts answered" in lines["I12"]


BREACHES = yaml.safe_load((Path(__file__).parent / "spoiled_rows.yaml").read_text())


@pytest.mark.parametrize("case", BREACHES)
def test_a_row_made_wrong_is_a_breach_of_its_invariant(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breach = BREACHES[case]
    spoil(folder, breach["file"], *breach["statements"])
    status, lines = audited(folder, capsys)
    assert status == 1
    assert lines[breach["invariant"]].split()[1] == "BREACH", lines


def rewritten(folder: Path, old: str, new: str) -> None:
    """Change what the decisions were made on."""
    holds = allocations.c.basis.contains(old, autoescape=True)
    change = update(allocations).where(holds)
    with ledger_rows(folder) as connection:
        count = connection.execute(
            change.values(basis=func.replace(allocations.c.basis, old, new))
        ).rowcount
    assert count > 0, f"no basis holds {old}"


@pytest.mark.parametrize(
    ("limit", "old", "new"),
    [
        ("entries while HALTED", '"trading_state":"ACTIVE"', '"trading_state":"HALTED"'),
        ("max_open_positions", '"max_open_positions":20', '"max_open_positions":1'),
        ("max_orders_per_cycle", '"max_orders_per_cycle":50', '"max_orders_per_cycle":1'),
        ("max_orders_per_minute", '"max_orders_per_minute":60', '"max_orders_per_minute":1'),
        ("max_order_notional", '"max_order_notional":"25000"', '"max_order_notional":"10"'),
        ("min_cash", '"min_cash":"0.05"', '"min_cash":"0.99"'),
        ("max_gross_exposure", '"max_gross_exposure":"1.0"', '"max_gross_exposure":"0.01"'),
        ("max_portfolio_risk", '"max_portfolio_risk":"0.15"', '"max_portfolio_risk":"0.001"'),
        ("max_position_size_pct", '"max_position_size_pct":"0.2"', '"max_position_size_pct":"0"'),
        ("max_risk_per_trade", '"max_risk_per_trade":"0.05"', '"max_risk_per_trade":"0"'),
    ],
)
def test_an_approval_beyond_a_limit_is_a_breach_of_i9(
    limit: str, old: str, new: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(folder, old, new)
    status, lines = audited(folder, capsys)
    assert status == 1
    assert "BREACH" in lines["I9"]
    assert limit in lines["I9"]


def test_a_need_that_a_decision_left_out_is_a_breach_of_i8(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier snapshot than was decided on: its fills were neither in it nor held as needs."""
    newest = select(allocations.c.basis).order_by(allocations.c.at.desc()).limit(1)
    with ledger_rows(folder) as connection:
        basis = connection.execute(newest).scalar_one()
    picture = json.loads(basis)["snapshot"]
    assert picture["applied_seq"] > 0
    rewritten(folder, f'"applied_seq":{picture["applied_seq"]},', '"applied_seq":0,')
    _, lines = audited(folder, capsys)
    assert "BREACH" in lines["I8"]
    assert "needed" in lines["I8"]


def test_what_cannot_be_read_is_exit_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / EXECUTION).unlink()
    assert main(["--data-dir", str(folder)], ledger_environment(folder)) == 2
    assert "execution" in capsys.readouterr().err


@needs_ledger_file
def test_a_folder_without_a_ledger_is_exit_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / LEDGER).unlink()
    assert main(["--data-dir", str(folder)], {}) == 2
    assert "there is no ledger" in capsys.readouterr().err


def test_services_that_do_not_answer_are_exit_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = {f"SERVICES__{name}__PORT": "1" for name in ("PORTFOLIO", "EXECUTION")}
    nobody |= ledger_environment(folder)
    assert main([], {"DATA_DIR": str(folder), "REDIS__PORT": "1", **nobody}) == 2
    assert "portfolio" in capsys.readouterr().err


def test_a_running_deployment_is_audited_over_http(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with deployed(tmp_path) as deployment:
        deployment.cycle()
        capsys.readouterr()
        assert main([], deployment.environ) == 0
        assert "by their terms" in capsys.readouterr().out


def as_of_schema(path: Path, revision: str) -> None:
    """Make the ledger one of an older program: its schema, and the rows that had a place in it."""
    old = path.with_name("old.sqlite")
    migrate(ledger_url(f"sqlite:///{old}"), revision)
    with sqlite3.connect(old) as connection:
        connection.execute("attach ? as new", (str(path),))
        tables = (
            "select name from main.sqlite_master where type = 'table' and name not like 'sqlite%'"
            " and name in (select name from new.sqlite_master)"  # one that went has nothing to copy
        )
        for (table,) in connection.execute(tables).fetchall():
            if table == "alembic_version":
                continue
            columns = ", ".join(
                f'"{row[1]}"' for row in connection.execute(f"pragma table_info({table})")
            )
            connection.execute(f"delete from main.{table}")  # noqa: S608 - the schema's own names
            copied = f"insert into main.{table} ({columns}) select {columns} from new.{table}"  # noqa: S608
            connection.execute(copied)
    connection.close()
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    old.rename(path)


@needs_ledger_file
def test_a_ledger_from_before_the_basis_was_kept_is_upgraded_and_audits_clean(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_of_schema(folder / LEDGER, "0001")
    migrate(ledger_url(f"sqlite:///{folder / LEDGER}"))
    status, lines = audited(folder, capsys)
    assert status == 0
    assert "of cycles whose basis is not kept" in lines["I9"]


def test_a_file_from_before_the_switches_were_kept_is_judged_by_the_order_of_epochs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder, EXECUTION, "drop table switches")
    status, lines = audited(folder, capsys)
    assert status == 0
    assert "by the order of epochs alone" in lines["I3"]
    lower = "update events set event = replace(event, '\"epoch\":1', '\"epoch\":90') where seq = 2"
    spoil(folder, EXECUTION, lower)
    _, lines = audited(folder, capsys)
    assert "BREACH" in lines["I3"]
