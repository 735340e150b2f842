"""Where Redis is, and a client for it that never blocks longer than it may."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.settings import Settings


def redis_url(settings: Settings) -> str:
    """The configured address, or that of the embedded server on its port."""
    if settings.redis.url:
        return settings.redis.url
    password = settings.redis.password.get_secret_value()
    secret = f":{quote(password)}@" if password else ""
    return f"redis://{secret}127.0.0.1:{settings.redis.port or 6379}/0"


def redis_credentials(url: str) -> dict[str, str]:
    """Username and password of a Redis address, as far as it has them: a client's options."""
    parts = urlsplit(url)
    found = {"username": parts.username, "password": parts.password}
    return {name: unquote(value) for name, value in found.items() if value}


def without_credentials(url: str) -> str:
    """The address alone."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def redis_client(settings: Settings) -> redis.Redis:
    """A client bounded by `redis.timeout_s`, without retries: bytes in, bytes out."""
    client: redis.Redis = redis.Redis.from_url(
        redis_url(settings),
        socket_timeout=settings.redis.timeout_s,
        socket_connect_timeout=settings.redis.timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return client
