"""How the launcher asks whether a part answers. Every question is bounded and never raises."""

from __future__ import annotations

from collections.abc import Callable

import redis
import requests

ASK_S = 0.5
SERVER_FAULT = 500


def http(url: str, *, accept_any: bool = False) -> Callable[[], bool]:
    """Whether GET `url` answers below 500; with `accept_any`, whether it answers at all."""

    def answers() -> bool:
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy stands between parts of one machine
                reply = session.get(url, timeout=ASK_S, allow_redirects=False)
        except requests.RequestException:
            return False
        return accept_any or reply.status_code < SERVER_FAULT

    return answers


def ping(url: str) -> Callable[[], bool]:
    """Whether the Redis server at `url` answers PING (not while it still loads its data)."""

    def answers() -> bool:
        try:
            with redis.Redis.from_url(
                url, socket_timeout=ASK_S, socket_connect_timeout=ASK_S
            ) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    return answers
