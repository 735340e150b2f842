"""One tree of errors, sorted by what the caller must do.

TradingError
├── ConfigError          the operator must correct the configuration; nothing starts
├── LedgerUnavailable    the ledger cannot be read or written; nothing is sent
├── Refused              the request contradicts the current state; the caller reads why (HTTP 409)
├── NotFound             the named thing does not exist (HTTP 404)
├── DataQualityError     the datum is not used; its symbol is skipped
├── ServiceError         a service call failed; `service` names it
│   ├── ServiceUnavailable   no answer, or 5xx or 429: the degraded mode applies, a retry may help
│   │   └── CircuitOpen      not even asked: the breaker is open
│   ├── ServiceRejected      the service understood and said no (4xx): a retry does not help
│   └── BadPayload           an answer that does not hold to the contract: treated as garbage
└── OrderStateUnknown    an order was sent and its fate is not known: never assume, reconcile
"""

from __future__ import annotations


class TradingError(Exception):
    """Root of everything the engine raises on purpose."""


class ConfigError(TradingError):
    """The configuration cannot be used. `faults` holds one line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class LedgerUnavailable(TradingError):
    """The ledger did not answer. Nothing may be sent."""


class Refused(TradingError):
    """The request contradicts the current state; `reasons` says what must change first."""

    def __init__(self, message: str, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.reasons = reasons or []


class NotFound(TradingError):
    """The named thing does not exist."""


class DataQualityError(TradingError):
    """A market datum cannot be trusted; its symbol is skipped."""


class ServiceError(TradingError):
    """A call of a service failed. `service` is spelled as in the configuration."""

    def __init__(self, service: str, detail: str) -> None:
        super().__init__(f"{service}: {detail}")
        self.service = service
        self.detail = detail


class ServiceUnavailable(ServiceError):
    """No usable answer (refused, timed out, reset, 429, 5xx). A later try may succeed.

    `accepted` is False only where the service said explicitly that the request had no effect
    (`{"accepted": false}` on 429 or 503); None where nothing is known.
    """

    def __init__(self, service: str, detail: str, *, accepted: bool | None = None) -> None:
        super().__init__(service, detail)
        self.accepted = accepted


class CircuitOpen(ServiceUnavailable):
    """The breaker is open: the service was not asked, so the request had no effect."""

    def __init__(self, service: str, detail: str = "circuit open") -> None:
        super().__init__(service, detail, accepted=False)


class ServiceRejected(ServiceError):
    """A 4xx answer. `status` is the HTTP status, `kind` the last part of the problem's type."""

    def __init__(self, service: str, detail: str, *, status: int, kind: str = "") -> None:
        super().__init__(service, detail)
        self.status = status
        self.kind = kind


class BadPayload(ServiceError):
    """An answer that does not hold to the contract: HTML, half a JSON, wrong types, NaN."""


class OrderStateUnknown(TradingError):
    """An order was sent and no answer proves what became of it."""

    def __init__(self, client_order_id: str, detail: str) -> None:
        super().__init__(f"order {client_order_id}: {detail}")
        self.client_order_id = client_order_id
        self.detail = detail
