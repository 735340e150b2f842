"""A copy made while it trades, restored: nothing is lost or doubled, and it trades on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher import backup
from tests.deployment import deployed


def test_a_copy_made_while_it_trades_is_restored_and_trades_on(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with deployed(tmp_path / "live") as live:
        live.cycle()
        assert backup.main([str(copy)], live.environ) == 0
        live.cycle()
    restored = tmp_path / "restored"
    shutil.copytree(copy, restored)
    with deployed(restored) as again:
        assert again.reconcile().clean
        assert again.breaches() == []
        assert again.cycle().symbols.evaluated > 0
        assert again.breaches() == []


def test_a_folder_that_is_in_use_is_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger.sqlite").touch()
    environ = {"DATA_DIR": str(tmp_path)}
    assert backup.main([str(tmp_path)], environ) == 1
    assert "not empty" in capsys.readouterr().err
    assert backup.main([], environ) == 2
    assert backup.main([str(tmp_path / "new")], {"DATA_DIR": str(tmp_path / "none")}) == 1
