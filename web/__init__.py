"""What every server here shares: typed routes, problems, request ids, keys, health, OpenAPI."""

from web.application import create_app, metrics_registry
from web.keys import KeyRing, Scope
from web.problems import FieldError, Problem, unprocessable
from web.requests import caller, cycle_id, request_id
from web.routing import Answer, route
from web.server import RunningServer, serve

__all__ = [
    "Answer",
    "FieldError",
    "KeyRing",
    "Problem",
    "RunningServer",
    "Scope",
    "caller",
    "create_app",
    "cycle_id",
    "metrics_registry",
    "request_id",
    "route",
    "serve",
    "unprocessable",
]
