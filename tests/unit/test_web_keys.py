"""Keys: who may do what, and what a server without keys refuses."""

from __future__ import annotations

import hashlib
import statistics
import time
from pathlib import Path

import pytest
from flask import Flask

from engine.errors import ConfigError
from web import KeyRing, caller, create_app, route
from web.keys import is_loopback


def guarded_app(keys: KeyRing, host: str = "127.0.0.1", name: str = "sample") -> Flask:
    app = create_app(name=name, title="Sample", version="1", description="", keys=keys, host=host)

    @route(app, "GET", "/read", summary="Read")
    def read() -> dict[str, str]:
        return {"caller": caller()}

    @route(app, "POST", "/halt", summary="Halt", scope="halt")
    def halt() -> dict[str, str]:
        return {"caller": caller()}

    @route(app, "GET", "/open", summary="Open", scope=None)
    def opened() -> dict[str, str]:
        return {"caller": caller()}

    return app


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def keys_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "keys.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_single_key_has_every_scope() -> None:
    client = guarded_app(KeyRing.single("k" * 43)).test_client()
    assert client.get("/read", headers=bearer("k" * 43)).status_code == 200
    assert client.post("/halt", headers=bearer("k" * 43)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic a2V5"},
        {"Authorization": "Bearer ключ".encode().decode("latin-1")},
        {"X-API-Key": "right"},
        {"Cookie": "key=right"},
    ],
)
def test_without_a_valid_bearer_key_the_answer_is_401(headers: dict[str, str]) -> None:
    client = guarded_app(KeyRing.single("right")).test_client()
    answer = client.get("/read", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.content_type == "application/problem+json"


def test_a_key_in_the_query_string_is_not_a_key() -> None:
    client = guarded_app(KeyRing.single("right")).test_client()
    assert client.get("/read?key=right").status_code == 401


def test_health_and_open_routes_need_no_key_and_know_who_asks() -> None:
    client = guarded_app(KeyRing.single("right", name="ops")).test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/open").get_json() == {"caller": "anonymous"}
    assert client.get("/open", headers=bearer("right")).get_json() == {"caller": "ops"}


def test_metrics_and_the_description_need_a_key() -> None:
    client = guarded_app(KeyRing.single("right")).test_client()
    assert client.get("/metrics").status_code == 401
    assert client.get("/openapi.json").status_code == 401


def test_a_read_key_beside_the_key_may_only_read() -> None:
    client = guarded_app(KeyRing.from_settings("root-key", "", "eyes")).test_client()
    assert client.get("/read", headers=bearer("eyes")).get_json() == {"caller": "read_key"}
    assert client.post("/halt", headers=bearer("eyes")).status_code == 403
    assert client.post("/halt", headers=bearer("root-key")).status_code == 200


def test_a_read_key_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"api\.key or api\.keys_file"):
        KeyRing.from_settings("", "", "eyes")


def test_scopes_of_a_keys_file_open_their_routes_only(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"desk-key").hexdigest()
    file = keys_file(
        tmp_path,
        "- {name: viewer, scopes: [read], key: viewer-key}\n"
        f"- {{name: desk, scopes: [halt], key_sha256: {digest.upper()}}}\n"
        "- {name: root, scopes: [admin], key: root-key}\n",
    )
    client = guarded_app(KeyRing.from_settings("", file)).test_client()
    assert client.get("/read", headers=bearer("viewer-key")).get_json() == {"caller": "viewer"}
    assert client.post("/halt", headers=bearer("viewer-key")).status_code == 403
    assert client.post("/halt", headers=bearer("desk-key")).get_json() == {"caller": "desk"}
    assert client.get("/read", headers=bearer("desk-key")).status_code == 403
    assert client.get("/read", headers=bearer("root-key")).status_code == 200
    assert client.post("/halt", headers=bearer("root-key")).status_code == 200


def test_the_single_key_and_a_keys_file_hold_together(tmp_path: Path) -> None:
    file = keys_file(tmp_path, "- {name: viewer, scopes: [read], key: viewer-key}\n")
    ring = KeyRing.from_settings("single", file)
    assert ring.identify("single") is not None
    assert ring.identify("viewer-key") is not None
    assert ring.identify("other") is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: x", "must be a list"),
        ("[", "not valid YAML"),
        ("- 5", "entry 1: must be"),
        ("- {name: a, scopes: [read], key: k, colour: red}", "unknown key colour"),
        ("- {name: a, scopes: [write], key: k}", "scopes must be a list out of read"),
        ("- {name: a, scopes: [], key: k}", "scopes must be"),
        ("- {scopes: [read], key: k}", "name must be a text"),
        ("- {name: a, scopes: [read]}", "give either key"),
        ("- {name: a, scopes: [read], key: k, key_sha256: zz}", "give either key"),
        ("- {name: a, scopes: [read], key_sha256: zz}", "give either key"),
        ("- {name: a, scopes: [read], key: k}\n- {name: a, scopes: [read], key: l}", "used twice"),
    ],
)
def test_a_faulty_keys_file_stops_the_start_with_a_line_that_says_where(
    tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        KeyRing.from_settings("", keys_file(tmp_path, text))
    assert len(caught.value.faults) == 1
    assert fault in caught.value.faults[0]
    assert "keys.yaml" in caught.value.faults[0]


def test_no_fault_of_a_keys_file_shows_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        KeyRing.from_settings("", keys_file(tmp_path, "- {name: a, key: canary-1\n: canary-2"))
    assert "canary" not in str(caught.value)


def test_a_missing_keys_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        KeyRing.from_settings("", str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "10.0.0.1", "example.org", "localhost.x"])  # noqa: S104
def test_off_loopback_a_server_without_a_key_refuses_to_start(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        guarded_app(KeyRing(), host=host)
    assert len(caught.value.faults) == 1
    assert "TRADING_ENGINE_API_KEY" in caught.value.faults[0]
    guarded_app(KeyRing.single("k"), host=host)


def test_the_refusal_names_the_service_that_lacks_a_key() -> None:
    with pytest.raises(ConfigError, match="SERVICES__EXECUTION__KEY"):
        guarded_app(KeyRing(), host="10.0.0.1", name="execution")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8001", "127.0.0.1:8001", "[::1]:8001", "LOCALHOST"]
)
def test_without_keys_loopback_names_are_answered(host: str) -> None:
    client = guarded_app(KeyRing()).test_client()
    answer = client.get("/read", headers={"Host": host})
    assert answer.get_json() == {"caller": "local"}


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[::", "10.1.1.1"]
)
def test_without_keys_a_foreign_host_is_403_even_for_health(host: str) -> None:
    client = guarded_app(KeyRing()).test_client()
    for path in ("/read", "/health", "/nowhere"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403, path
        assert answer.get_json()["type"].endswith("/foreign-host")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "https://localhost", ""]
)
def test_without_keys_another_origin_is_403(origin: str) -> None:
    client = guarded_app(KeyRing()).test_client()
    answer = client.post("/halt", headers={"Host": "localhost", "Origin": origin})
    assert answer.status_code == 403
    assert answer.get_json()["type"].endswith("/foreign-origin")


def test_without_keys_the_server_s_own_origin_is_answered() -> None:
    client = guarded_app(KeyRing()).test_client()
    headers = {"Host": "localhost:8001", "Origin": "http://localhost:8001"}
    assert client.post("/halt", headers=headers).status_code == 200


def test_with_a_key_the_name_it_is_reached_by_is_free() -> None:
    client = guarded_app(KeyRing.single("right")).test_client()
    headers = {"Host": "trading-engine:8001", **bearer("right")}
    assert client.get("/read", headers=headers).status_code == 200


def test_a_wrong_key_takes_the_same_time_wherever_it_is_wrong() -> None:
    """At its first byte and at its last; medians, so that what else runs here does not count."""
    right = "k" * 43
    ring = KeyRing((*KeyRing.single(right).keys, *KeyRing.single("other", "other").keys))
    wrong = {"first": f"x{right[1:]}", "last": f"{right[:-1]}x", "length": "x"}
    taken: dict[str, list[int]] = {name: [] for name in wrong}
    for _ in range(4000):
        for name, token in wrong.items():
            begun = time.perf_counter_ns()
            found = ring.identify(token)
            taken[name].append(time.perf_counter_ns() - begun)
            assert found is None
    medians = [statistics.median(times) for times in taken.values()]
    assert max(medians) < 1.25 * min(medians), taken.keys()


def test_a_key_is_compared_with_every_key_and_never_as_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("web.keys.hmac.compare_digest", compare)
    ring = KeyRing(tuple(KeyRing.single(name, name).keys[0] for name in ("a", "b", "c")))
    assert ring.identify("a") is not None
    digest = hashlib.sha256(b"a").hexdigest()
    assert [other for _, other in compared] == [digest] * 3
