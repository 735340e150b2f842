"""Prometheus's own judge of metrics and rules, and rules fed with what a running engine shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[1]
RULES_FILE = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
TOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    TOOL is None,
    reason="there is no promtool on PATH; Debian's package prometheus has it",
)
IDENTITY = {"instance": "trading-engine:8001", "job": "trading-engine"}
STEP_S = 15
AN_HOUR = 240  # samples
Series = dict[str, str]


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool with these arguments and this input."""
    assert TOOL is not None
    return subprocess.run(
        [TOOL, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
    )


def name_of(metric: str, **labels: str) -> str:
    """A series under the job and instance that every scraped one has."""
    pairs = ",".join(f'{name}="{value}"' for name, value in sorted({**labels, **IDENTITY}.items()))
    return f"{metric}{{{pairs}}}"


def series_of(exposition: str, scraped_at: float) -> Series:
    """What a scrape showed, unchanged for an hour; instants as if it were scraped at 0."""
    found: Series = {name_of("up"): f"1x{AN_HOUR}"}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            value = sample.value
            if sample.name.endswith("_timestamp_seconds"):
                value -= scraped_at
            found[name_of(sample.name, **sample.labels)] = f"{value!r}x{AN_HOUR}"
    return found


def judge(tests: list[dict[str, Any]], folder: Path) -> str:
    """What promtool says against the rules over these tests; empty where all hold."""
    file = folder / "rules.test.yml"
    document = {"rule_files": [str(RULES_FILE)], "evaluation_interval": "15s", "tests": tests}
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    done = run("test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def case(series: Series, expected: dict[str, list[dict[str, Any]]], at: str) -> dict[str, Any]:
    """One test: at that time each named rule fires for exactly these labels and annotations."""
    return {
        "interval": f"{STEP_S}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": alerts}
            for name, alerts in expected.items()
        ],
    }


def fired(series: Series, at: str, folder: Path) -> set[str]:
    """The rules that fire over these series at that time."""
    quiet = case(series, {name: [] for name in RULES}, at)
    complaint = judge([quiet], folder)
    return {name for name in RULES if f"alertname: {name}," in complaint}
