"""docs/operations.md has a section for every alert, and names only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from command_line.verbs import VERBS
from engine.domain.alerts import KINDS
from engine.service_settings import Monitoring
from engine.settings import Settings
from tests.browser.screenshots import FOLDER, PICTURES
from tests.promtool import RULES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOK = TEXT.partition("# Runbook")[2]
SECTIONS = dict(re.findall(r"^### (\w+)\n((?:(?!^#).+\n?|\n)+)", RUNBOOK, re.MULTILINE))


def test_every_alert_has_its_section_and_there_is_no_other() -> None:
    assert set(SECTIONS) == set(KINDS) | set(RULES)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_each_section_says_what_to_do_first(name: str) -> None:
    assert "\n1. " in SECTIONS[name]


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert {target[1:] for target in targets if target.startswith("#")} <= anchors
    for target in targets:
        if not target.startswith("#"):
            assert (ROOT / "docs" / target.partition("#")[0]).exists(), target


def test_every_verb_and_setting_that_is_named_exists() -> None:
    verbs = set(re.findall(r"trading-engine (?!trading-engine)([a-z]+)", TEXT))
    assert verbs - {"name"} <= set(VERBS) | {"config"}
    settings = Settings().model_dump()
    for section, names in re.findall(r"`(risk|alerts|workers|trading_engine)\.([a-z_.]+)`", TEXT):
        assert names in settings[section], f"{section}.{names}"


def test_the_examples_of_webhooks_are_read_as_they_stand() -> None:
    [example] = [
        block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "Slack" in block
    ]
    section = yaml.safe_load(example)["services"]["monitoring"]
    hooks = Monitoring.model_validate(section).webhooks
    assert [hook.url.split("/")[2] for hook in hooks] == [
        *("hooks.slack.com", "api.telegram.org", "pager.example")
    ]
    assert all(hook.body for hook in hooks)


def test_every_picture_that_is_shown_is_one_that_the_script_takes_and_small() -> None:
    manual = re.findall(r"!\[(.+)\]\(images/(\S+)\)", TEXT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.findall(r"!\[(.+)\]\(docs/images/(\S+)\)", readme)
    taken = [picture.name for picture in PICTURES]
    assert sorted(name for _, name in [*manual, *first]) == sorted(taken)
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(taken)
    assert all((FOLDER / name).stat().st_size < 150_000 for name in taken)
