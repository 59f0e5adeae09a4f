"""Policies, services and features over HTTP: what they are doing, and the acts that people may ask for.

Each act answers the same result object. What is refused is a problem document that names the field: 400 for a value,
404 for a name, 409 for what cannot be done now, 429 (with Retry-After) for what was done a moment ago.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from roadworthy.errors import NotFound, RoadworthyError, Temporary, UsageError
from roadworthy.types import BreakerState
from roadworthy.view import resilience
from roadworthy.view.web.endpoint import Endpoint, Parameter, Problem
from roadworthy.view.web.past import not_measured
from roadworthy.view.web.probes import answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from roadworthy.types import Snapshot, SnapshotSource

Act = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

BEGUN = "begun"
"""The outcome of an act that goes on after the answer (a restart)."""

_EMPTY = frozenset({b"", b"{}"})
"""Bodies that say nothing; some clients always send one."""

_ACTOR = re.compile(r"[A-Za-z0-9._@-]{1,64}\Z")
_REASON = Parameter("reason", "string", "Why, in a few words; it is shown and kept in the audit trail.")
_FOR = Parameter("for", "number", "Seconds after which it ends by itself; without it, when it is undone.")
_STATE = Parameter(
    "state",
    "string",
    f"{BreakerState.FORCED_OPEN.value} (refuse every call), {BreakerState.DISABLED.value} (let every call pass) or "
    f"{BreakerState.METRICS_ONLY.value} (let every call pass, and count).",
)
_ANSWERS = (
    (200, "It was done; `ok` tells whether it helped."),
    (202, "It was begun: workers are being replaced."),
    (403, "CSRF value or origin is wrong."),
    (404, "There is no such name."),
    (409, "It cannot be done now."),
    (429, "The same was done a moment ago; Retry-After tells when it may be done again."),
    (501, "This agent cannot do it."),
)


class ResilienceViews:
    """The endpoints; ``acts`` does what is asked, one name an act."""

    def __init__(self, source: SnapshotSource, acts: Mapping[str, Act]) -> None:
        self._source = source
        self._acts = acts

    def endpoints(self) -> list[Endpoint]:
        """Return the table."""
        errors, policy, feature = "/api/performance/errors/services", "/api/policies", "/api/features/{name}/off"
        return [
            self._read(errors, resilience.services, "How each service is, as error recovery sees it.", "performance"),
            self._read(policy, resilience.policies, "Policies: calls, rates, budgets, breakers.", "resilience"),
            self._read("/api/features", resilience.features, "Features that can be switched off.", "resilience"),
            self._act(f"{errors}/{{service}}/recover", "recover", "Run a service's recovery procedure.", (_REASON,)),
            self._act(
                f"{errors}/{{service}}/degrade", "degrade", "Switch a service to degraded mode.", (_REASON, _FOR)
            ),
            self._act(
                f"{errors}/{{service}}/degrade", "restore", "End a service's degraded mode.", (_REASON,), "DELETE"
            ),
            self._act(
                "/health/services/{service}/restart",
                "restart_service",
                "Restart the workers of a service, or the program, worker by worker.",
                (_REASON,),
            ),
            self._act(
                f"{policy}/{{name}}/force", "force", "Hold a policy's breaker in a state.", (_STATE, _FOR, _REASON)
            ),
            self._act(f"{policy}/{{name}}/reset", "reset", "End what was forced, and close the breaker.", (_REASON,)),
            self._act(feature, "feature_off", "Switch a feature off.", (_REASON, _FOR)),
            self._act(feature, "feature_on", "Switch a feature on again.", (_REASON,), "DELETE"),
        ]

    def _read(self, path: str, build: Callable[[Snapshot], dict[str, Any]], summary: str, tag: str) -> Endpoint:
        async def read(_request: Request, _asked: Mapping[str, Any]) -> Response:
            snapshot = self._source.latest()
            if snapshot is None:
                raise not_measured()
            return answer(build(snapshot))

        return Endpoint(path, read, summary, tag)

    def _act(
        self, path: str, name: str, summary: str, parameters: tuple[Parameter, ...], method: str = "POST"
    ) -> Endpoint:
        async def act(request: Request, asked: Mapping[str, Any]) -> Response:
            does = self._acts.get(name)
            if does is None:
                raise Problem(501, "cannot-do", f"This agent cannot {words}.", "It has nothing that could do it.")
            if (await request.body()).strip() not in _EMPTY:
                # Passed over, a time limit in it would be none: what was meant for a minute would hold for good.
                raise Problem(400, "no-body", "This takes no body.", "Put the parameters into the address: ?for=60")
            target = request.path_params.get("service") or request.path_params.get("name")
            try:
                done = await does({**asked, "name": target, "actor": actor(request)})
            except RoadworthyError as error:
                raise refused(error) from error
            return answer(done, 202 if done.get("outcome") == BEGUN else 200)

        words = summary[:1].lower() + summary[1:].rstrip(".")
        return Endpoint(path, act, summary, "resilience", method, parameters, _ANSWERS)


def refused(error: RoadworthyError) -> Problem:
    """Return the problem document for an act that was refused; nothing was changed then."""
    detail = f"{error.what.removesuffix('.')}. {error.why}" if error.why else error.what
    if isinstance(error, NotFound):
        return Problem(404, "no-such-name", detail, error.hint)
    if isinstance(error, UsageError):
        return Problem(400, "bad-parameter", detail, error.hint)
    wait = getattr(error, "retry_after", None)
    if isinstance(error, Temporary) and wait is not None:
        detail = f"{error.what}. {error.why}" if error.why else error.what
        return Problem(429, "too-soon", detail, error.hint, {"Retry-After": str(max(1, math.ceil(wait)))})
    detail = f"{error.what}. {error.why}" if error.why else error.what
    return Problem(409, "refused", detail, error.hint)


def actor(request: Request) -> str:
    """Return who asks, for the audit trail: the way in, the user that the command line names, and the address."""
    headers, client = request.headers, request.client
    where = client.host if client is not None else "unknown"
    named = headers.get("x-roadworthy-actor", "")
    if "origin" in headers:
        way = "dashboard"
    elif _ACTOR.match(named):
        way = f"command line, {named}"
    else:
        way = "api"
    return f"{way}, {where}"
