"""Settings: where each value comes from, and one clear line for everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from engine.config_source import config_hash, load_settings, redacted, secret_values
from engine.errors import ConfigError
from engine.settings import Settings

SHIPPED = str(Path(__file__).parents[2] / "config.yaml")
# Set from the environment alone, so that no password is ever written into the file.
NOT_IN_THE_FILE = {"redis.password"}
LIVE = {
    "LIVE_ACK": "paper",
    "TRADING_ENGINE__MODE": "live",
    "SERVICES__MARKET_DATA__FEED": "ccxt",
    "SERVICES__MARKET_DATA__EXCHANGE": "kraken",
    "SERVICES__EXECUTION__URL": "https://execution.example",
}


def key_paths(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in tree.items():
        path = f"{above}{name}"
        # A list's entries and a distance are values, not keys of ours.
        is_section = isinstance(value, dict) and not path.startswith("exits.")
        yield from key_paths(value, f"{path}.") if is_section else [path]


def faults(environ: dict[str, str], path: str = SHIPPED) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ, path)
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


def written(folder: Path, text: str) -> str:
    file = folder / "other.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


class TestTheFile:
    """config.yaml and its like."""

    def test_the_shipped_file_has_exactly_the_known_keys(self) -> None:
        shipped = yaml.safe_load(Path(SHIPPED).read_text(encoding="utf-8"))
        known = set(key_paths(Settings().model_dump(mode="json"))) - NOT_IN_THE_FILE
        assert set(key_paths(shipped)) == known

    def test_the_shipped_file_says_the_defaults(self) -> None:
        assert load_settings({}, SHIPPED) == Settings()

    def test_without_a_file_the_defaults_hold(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert load_settings({}) == Settings()

    def test_the_file_in_the_working_directory_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "config.yaml").write_text("trading_engine: {port: 9001}")
        monkeypatch.chdir(tmp_path)
        assert load_settings({}).trading_engine.port == 9001

    def test_config_file_names_another_which_must_exist(self, tmp_path: Path) -> None:
        file = written(tmp_path, "trading_engine: {port: 9002}")
        assert load_settings({"CONFIG_FILE": file}).trading_engine.port == 9002
        with pytest.raises(ConfigError, match=r"absent\.yaml: no such configuration file"):
            load_settings({"CONFIG_FILE": str(tmp_path / "absent.yaml")})

    def test_an_empty_file_and_an_empty_section_stand_for_the_defaults(
        self, tmp_path: Path
    ) -> None:
        assert load_settings({}, written(tmp_path, "")) == Settings()
        text = "trading_engine:\nservices:\n  execution:\n    breaker:\n"
        assert load_settings({}, written(tmp_path, text)) == Settings()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("risk:\n  x: [1\n", "line 3: not valid YAML"),
            ("risk: {}\nlog: {}\nrisk: {}\n", "line 3: not valid YAML: the key risk stands twice"),
            ("risk: !!python/object:os.system x", "line 1: not valid YAML"),
            ("{[1]: 2}", "line 1: not valid YAML: a key must be a plain text"),
            ("- a\n", "must hold sections"),
            ("text", "must hold sections"),
            ("a: \x01", "not valid YAML"),
            ("a: " + "[" * 1200, "not valid YAML"),
        ],
    )
    def test_what_is_no_configuration_is_one_line_with_file_and_line(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        file = written(tmp_path, text)
        lines = faults({}, file)
        assert len(lines) == 1
        assert lines[0].startswith(file)
        assert expected in lines[0]

    def test_a_folder_or_other_bytes_are_one_line_too(self, tmp_path: Path) -> None:
        assert "Is a directory" in faults({}, str(tmp_path))[0]
        file = tmp_path / "latin.yaml"
        file.write_bytes(b"a: \xff\xfe")
        assert "not UTF-8" in faults({}, str(file))[0]

    def test_a_date_and_a_switch_word_stay_texts(self, tmp_path: Path) -> None:
        text = "services: {market_data: {clock_start: 2025-01-01T00:00:00Z}}\non: 1\n"
        assert faults({}, written(tmp_path, text))[0].startswith("on: unknown key")
        text = text.replace("on: 1", "")
        started = load_settings({}, written(tmp_path, text)).services.market_data.clock_start
        assert started == "2025-01-01T00:00:00Z"


class TestTheEnvironment:
    """Variables over the file."""

    def test_a_variable_wins_over_the_file(self, tmp_path: Path) -> None:
        file = written(tmp_path, "trading_engine: {batch_size: 10, port: 9000}")
        settings = load_settings({"TRADING_ENGINE__BATCH_SIZE": "50"}, file)
        assert (settings.trading_engine.batch_size, settings.trading_engine.port) == (50, 9000)

    def test_levels_nest_as_deep_as_the_file(self) -> None:
        environ = {"SERVICES__EXECUTION__BREAKER__FAILURES": "9", "DATA_DIR": "/data"}
        settings = load_settings(environ, SHIPPED)
        assert settings.services.execution.breaker.failures == 9
        assert settings.services.execution.breaker.reset_s == 15
        assert settings.data_dir == "/data"

    def test_texts_and_decimals_keep_their_digits(self) -> None:
        environ = {
            "TRADING_ENGINE__ACCOUNT": "007",
            "TRADING_ENGINE__DEFAULT_TIMEFRAME": "1h",
            "RISK__MAX_ORDER_NOTIONAL": "0.1000000000000000055",
            "SELECTION__MIN_VOLUME_24H": "0",
            "SERVICES__EXECUTION__KEY": "0123",
            "SERVICES__MARKET_DATA__CLOCK_START": "2025-01-01",
        }
        settings = load_settings(environ, SHIPPED)
        assert settings.trading_engine.account == "007"
        assert settings.risk.max_order_notional == Decimal("0.1000000000000000055")
        assert settings.selection.min_volume_24h == 0
        assert settings.services.execution.key.get_secret_value() == "0123"
        assert settings.services.market_data.clock_start == "2025-01-01"

    def test_lists_and_structures_are_yaml_and_texts_may_be_split_at_commas(self) -> None:
        environ = {
            "TRADING_ENGINE__DEFAULT_SYMBOLS": "BTC/USD, SOL/USD",
            "SERVICES__MONITORING__WEBHOOKS": '["https://a.example/x"]',
            "SERVICES__STRATEGY__STRATEGIES": "[{name: macd, parameters: {fast: 5}}]",
            "FLOWER__ENABLED": "false",
            "EXITS__STOP": "0.03",
            "EXITS__TARGET": "",
        }
        settings = load_settings(environ, SHIPPED)
        assert settings.trading_engine.default_symbols == ("BTC/USD", "SOL/USD")
        assert [hook.url for hook in settings.services.monitoring.webhooks] == [
            "https://a.example/x"
        ]
        assert settings.services.strategy.strategies[0].id == "macd"
        assert settings.services.strategy.strategies[0].parameters == {"fast": 5}
        assert settings.flower.enabled is False
        assert settings.exits.stop is not None
        assert settings.exits.stop.amount == Decimal("0.03")
        assert settings.exits.target is None

    def test_variables_of_others_are_left_alone(self) -> None:
        environ = {
            "PATH": "/bin",
            "LOG": "x",
            "RISK": "high",
            "MY__VARIABLE": "1",
            "TRADING_ENGINE_HOME": "/srv",
            "trading_engine__port": "1",
            "REDIS_SERVICE_HOST": "10.0.0.1",
        }
        assert load_settings(environ, SHIPPED) == Settings()

    def test_an_unknown_key_of_a_known_section_is_a_fault(self) -> None:
        assert faults({"TRADING_ENGINE__BATCHSIZE": "5"}) == [
            (
                "trading_engine.batchsize (from TRADING_ENGINE__BATCHSIZE): unknown key (was 5); "
                "nearest known key: trading_engine.batch_size"
            )
        ]

    def test_the_well_known_names_are_honoured(self) -> None:
        environ = {
            "TRADING_ENGINE_API_KEY": "0042",
            "TRADING_ENGINE_API_KEYS_FILE": "keys.yaml",
            "REDIS_URL": "redis://r:6379/1",
            "DATABASE_URL": "postgresql+psycopg://u:p@db/ledger",
        }
        settings = load_settings(environ, SHIPPED)
        assert settings.api.key.get_secret_value() == "0042"
        assert settings.api.keys_file == "keys.yaml"
        assert settings.redis.url == "redis://r:6379/1"
        assert settings.ledger.url == "postgresql+psycopg://u:p@db/ledger"

    @pytest.mark.parametrize(
        ("environ", "url"),
        [
            ({"REDIS_HOST": "redis"}, "redis://redis:6379/0"),
            ({"REDIS_HOST": "redis", "REDIS_PORT": "7000"}, "redis://redis:7000/0"),
            (
                {"REDIS_HOST": "redis", "REDIS_PORT": "tcp://10.0.0.1:6380"},
                "redis://redis:6380/0",
            ),
            ({"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
            ({"REDIS_HOST": "redis", "REDIS_URL": "redis://other/0"}, "redis://redis:6379/0"),
            (
                {"REDIS_HOST": "redis", "REDIS_PASSWORD": "p/@:w"},
                "redis://:p%2F%40%3Aw@redis:6379/0",
            ),
            (
                {"REDIS_URL": "redis://redis:6379/0", "REDIS_PASSWORD": "pw"},
                "redis://:pw@redis:6379/0",
            ),
            ({"REDIS_URL": "redis://:own@redis/0", "REDIS_PASSWORD": "pw"}, "redis://:own@redis/0"),
            ({"REDIS_HOST": "", "REDIS_URL": ""}, ""),
        ],
    )
    def test_redis_is_one_complete_address(self, environ: dict[str, str], url: str) -> None:
        assert load_settings(environ, SHIPPED).redis.url == url

    def test_a_redis_port_that_is_none_is_a_fault(self) -> None:
        assert faults({"REDIS_HOST": "r", "REDIS_PORT": "x"}) == [
            "REDIS_PORT: was 'x'; allowed: a port number"
        ]


class TestSecretsFromFiles:
    """Every secret may stand in a file."""

    @pytest.mark.parametrize(
        "variable",
        [
            "TRADING_ENGINE_API_KEY_FILE",
            "API__KEY_FILE",
            "SERVICES__EXECUTION__KEY_FILE",
            "REDIS_PASSWORD_FILE",
            "REDIS__PASSWORD_FILE",
            "FLOWER__BASIC_AUTH_FILE",
            "DATABASE_URL_FILE",
        ],
    )
    def test_a_secret_is_read_from_the_file_that_a_variable_names(
        self, tmp_path: Path, variable: str
    ) -> None:
        file = tmp_path / "secret"
        secret = "postgresql://h/d" if "DATABASE" in variable else "canary-4711"
        file.write_text(f"{secret}\n")
        settings = load_settings({variable: str(file)}, SHIPPED)
        assert secret in secret_values(settings) or settings.ledger.url == secret

    @pytest.mark.parametrize(
        "variable", ["TRADING_ENGINE_API_KEY_FILE", "API__KEY_FILE", "SERVICES__STRATEGY__KEY_FILE"]
    )
    def test_a_file_that_is_missing_or_empty_is_a_fault(
        self, tmp_path: Path, variable: str
    ) -> None:
        (line,) = faults({variable: str(tmp_path / "absent")})
        assert variable in line
        assert "absent cannot be read: No such file" in line
        (tmp_path / "empty").write_text("\n")
        (line,) = faults({variable: str(tmp_path / "empty")})
        assert "empty is empty" in line

    def test_a_secret_given_twice_is_a_fault_that_shows_neither(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_text("canary-1")
        environ = {
            "TRADING_ENGINE_API_KEY": "canary-2",
            "TRADING_ENGINE_API_KEY_FILE": str(file),
            "SERVICES__EXECUTION__KEY": "canary-3",
            "SERVICES__EXECUTION__KEY_FILE": str(file),
        }
        lines = faults(environ)
        assert len(lines) == 2
        assert all("not both" in line for line in lines)
        assert "canary" not in "".join(lines)


class TestFaults:
    """One line each: full path, what it was, what is allowed, the nearest known key."""

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (
                "trading_engine: {batch_size: 0}",
                (
                    "trading_engine.batch_size: was 0; allowed: a whole number, at least 1, "
                    "at most 1000"
                ),
            ),
            (
                "trading_engine: {batch_size: many}",
                (
                    'trading_engine.batch_size: was "many"; allowed: a whole number, at least 1, '
                    "at most 1000"
                ),
            ),
            (
                "trading_engine: {batch_size: true}",
                (
                    "trading_engine.batch_size: was true; allowed: a whole number, at least 1, "
                    "at most 1000"
                ),
            ),
            (
                "trading_engine: {cycle_interval: .inf}",
                (
                    "trading_engine.cycle_interval: was Infinity; allowed: a number, at least 5, "
                    "at most 86400"
                ),
            ),
            (
                "trading_engine: {mode: demo}",
                'trading_engine.mode: was "demo"; allowed: one of paper live',
            ),
            (
                "risk: {max_drawdown: 1.5}",
                "risk.max_drawdown: was 1.5; allowed: a number, above 0, at most 1",
            ),
            (
                "risk: {max_daily_loss_soft: 0.2}",
                "risk: max_daily_loss_soft must not exceed max_daily_loss_hard",
            ),
            (
                "exits: {stop: 2 atrs}",
                (
                    'exits.stop: was "2 atrs"; allowed: "<number> atr", '
                    'a fraction such as "0.03", or ""'
                ),
            ),
            (
                "flower: {enabled: maybe}",
                'flower.enabled: was "maybe"; allowed: true or false',
            ),
            (
                "services: {execution: {url: 'ftp://u:pw@x'}}",
                (
                    'services.execution.url: was "ftp://u:***@x"; allowed: an http:// or https:// '
                    "address, or empty"
                ),
            ),
            (
                "redis: {url: 'http://redis'}",
                (
                    'redis.url: was "http://redis"; allowed: an address of the form '
                    "redis://host:port/0"
                ),
            ),
            (
                "services: {execution: {url: 'http://[x'}}",
                (
                    'services.execution.url: was "http://[x"; allowed: an address of the form '
                    "http://host:port"
                ),
            ),
            (
                "services: {monitoring: {webhooks: ['javascript:alert(1)']}}",
                (
                    'services.monitoring.webhooks: was "javascript:alert(1)"; allowed: an address '
                    "of the form https://host/path"
                ),
            ),
            ("riks: {}", "riks: unknown key (was {}); nearest known key: risk"),
            (
                "batch_size: 5",
                "batch_size: unknown key (was 5); nearest known key: trading_engine.batch_size",
            ),
            (
                "services: {strategy: {strategies: [{name: macd, parametres: {}}]}}",
                (
                    "services.strategy.strategies[0].parametres: unknown key (was {}); "
                    "nearest known key: services.strategy.strategies[0].parameters"
                ),
            ),
            (
                "services: {strategy: {strategies: [{id: macd}]}}",
                "services.strategy.strategies[0].name: missing",
            ),
            (
                "services: {strategy: {port: 8002}}",
                (
                    "services.strategy.port: was 8002; allowed: a port other than that of "
                    "services.market_data.port"
                ),
            ),
            (
                "services: {market_data: {feed: files}}",
                (
                    "services.market_data: path must name a .parquet or .csv file, or a folder, "
                    "for feed files"
                ),
            ),
        ],
    )
    def test_each_fault_is_one_such_line(self, tmp_path: Path, text: str, line: str) -> None:
        assert faults({}, written(tmp_path, text)) == [line]

    def test_all_faults_are_told_at_once(self, tmp_path: Path) -> None:
        text = "trading_engine: {port: -1, hots: x}\nlog: {level: loud}\n"
        assert len(faults({"RISK__MIN_CASH": "2"}, written(tmp_path, text))) == 4

    def test_a_key_that_resembles_none_is_told_what_there_is(self, tmp_path: Path) -> None:
        (line,) = faults({}, written(tmp_path, "log: {zzzzqq: 1}"))
        assert line == "log.zzzzqq: unknown key (was 1); known keys here: format level"

    def test_a_section_that_is_a_value_is_told_its_keys(self, tmp_path: Path) -> None:
        (line,) = faults({}, written(tmp_path, "log: 5"))
        assert line == "log: was 5; allowed: a section with format level"

    @pytest.mark.parametrize(
        "text",
        [
            "api: {key: [canary-9]}",
            "api: {ky: canary-9}",
            "redis: {pasword: canary-9}",
            "services: {execution: {key: {a: canary-9}}}",
            "redis: {url: ['redis://:canary-9@h']}",
        ],
    )
    def test_no_fault_shows_a_secret(self, tmp_path: Path, text: str) -> None:
        assert "canary" not in "".join(faults({}, written(tmp_path, text)))


class TestLiveMode:
    """Real money needs more than a default."""

    def test_live_mode_with_everything_said_is_accepted(self) -> None:
        assert load_settings(LIVE, SHIPPED).trading_engine.mode == "live"

    @pytest.mark.parametrize("acknowledged", [None, "", "other", "Paper"])
    def test_without_the_account_in_live_ack_it_is_refused(self, acknowledged: str | None) -> None:
        environ = {name: value for name, value in LIVE.items() if name != "LIVE_ACK"}
        environ |= {"LIVE_ACK": acknowledged} if acknowledged is not None else {}
        (line,) = faults(environ)
        assert "LIVE_ACK=paper" in line

    def test_every_limit_must_be_written_down(self, tmp_path: Path) -> None:
        lines = faults(LIVE, written(tmp_path, "risk: {max_drawdown: 0.1}"))
        named = {line.split(":")[0] for line in lines}
        assert "risk.max_drawdown" not in named
        assert {"risk.max_daily_loss_hard", "risk.stoploss_guard.stops"} <= named
        assert {"trading_engine.max_risk_per_trade", "risk.price_collar"} <= named
        assert all("set explicitly" in line for line in lines)

    def test_a_replayed_feed_and_the_paper_broker_are_refused(self) -> None:
        environ = LIVE | {
            "SERVICES__MARKET_DATA__FEED": "simulated",
            "SERVICES__EXECUTION__URL": "",
        }
        named = {line.split(":")[0] for line in faults(environ)}
        assert named == {"services.market_data.feed", "services.execution.url"}


class TestWhatIsShown:
    """The hash and the redacted form of the effective settings."""

    def test_no_secret_is_shown_and_an_empty_one_is_empty(self) -> None:
        environ = {
            "TRADING_ENGINE_API_KEY": "canary-1",
            "SERVICES__STRATEGY__KEY": "canary-2",
            "REDIS_HOST": "redis",
            "REDIS_PASSWORD": "canary-3",
            "DATABASE_URL": "postgresql+psycopg://engine:canary-4@db/ledger",
            "FLOWER__BASIC_AUTH": "ops:canary-5",
            "SERVICES__MONITORING__WEBHOOKS": "https://hooks.example/canary-6",
        }
        shown = redacted(load_settings(environ, SHIPPED))
        assert "canary" not in str(shown)
        assert shown["api"]["key"] == "***"
        assert shown["services"]["execution"]["key"] == ""
        assert shown["ledger"]["url"] == "postgresql+psycopg://engine:***@db/ledger"
        assert shown["services"]["monitoring"]["webhooks"] == ["https://hooks.example/***"]
        assert shown["trading_engine"]["max_risk_per_trade"] == "0.05"

    def test_the_hash_changes_with_a_setting_and_not_with_a_secret(self) -> None:
        base = config_hash(load_settings({}, SHIPPED))
        assert len(base) == 12
        assert config_hash(load_settings({"TRADING_ENGINE_API_KEY": "k"}, SHIPPED)) == base
        assert config_hash(load_settings({"TRADING_ENGINE__BATCH_SIZE": "26"}, SHIPPED)) != base
        assert config_hash(Settings()) == base

    def test_secret_values_are_all_secrets_and_no_empty_text(self) -> None:
        environ = {
            "API__KEY": "one",
            "SERVICES__PORTFOLIO__KEY": "two",
            "DATABASE_URL": "postgresql://u:th%2Free@h/d",
        }
        values = secret_values(load_settings(environ, SHIPPED))
        assert set(values) == {"one", "two", "th/ree", "th%2Free"}
        assert secret_values(Settings()) == ()

    def test_settings_never_print_a_secret(self) -> None:
        settings = load_settings({"TRADING_ENGINE_API_KEY": "canary"}, SHIPPED)
        assert settings.api.key == SecretStr("canary")
        assert "canary" not in repr(settings)
