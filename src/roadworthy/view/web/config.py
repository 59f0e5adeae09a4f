"""Settings over HTTP: which are in force and why, and the acts that change them while the program runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from roadworthy.errors import ConfigurationError, RoadworthyError
from roadworthy.view.web.endpoint import Endpoint, Parameter, Problem
from roadworthy.view.web.probes import answer
from roadworthy.view.web.resilience import actor, refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Act = Callable[[Mapping[str, Any]], Any]

_KEY: Final = Parameter("key", "string", "The setting, by its dotted name.")
_VALUE: Final = Parameter("value", "string", "Its new value, as a variable has it.")
_FOR: Final = Parameter("for", "number", "Seconds after which it ends by itself; without it, with the run.")
_REASON: Final = Parameter("reason", "string", "Why, in a few words; it is kept in the audit trail.")
_ANSWERS: Final = (
    (200, "It was done; `changed` tells what is different, `needs_restart` what has to wait."),
    (400, "The value, or the setting, cannot be that; nothing was changed."),
    (403, "CSRF value or origin is wrong."),
    (404, "There is no such setting."),
    (409, "The configuration is wrong as a whole, or cannot be read; nothing was changed."),
    (501, "This agent cannot do it."),
)


class ConfigViews:
    """The endpoints; ``acts`` does what is asked."""

    def __init__(self, acts: Mapping[str, Act]) -> None:
        self._acts = acts

    def endpoints(self) -> list[Endpoint]:
        """Return the table."""
        show = self._answered("config-show")
        base = "/api/config"
        return [
            Endpoint(base, show, "Every setting in force, with its origin; secrets are redacted.", "config"),
            self._act(f"{base}/reload", "config-reload", "Read the configuration anew.", (_REASON,)),
            self._act(f"{base}/set", "config-set", "Set one setting.", (_KEY, _VALUE, _FOR, _REASON)),
            self._act(f"{base}/set", "config-unset", "Take back what was set.", (_KEY, _REASON), "DELETE"),
        ]

    def _act(
        self, path: str, name: str, summary: str, parameters: tuple[Parameter, ...], method: str = "POST"
    ) -> Endpoint:
        return Endpoint(path, self._answered(name), summary, "config", method, parameters, _ANSWERS)

    def _answered(self, name: str) -> Callable[[Request, Mapping[str, Any]], Awaitable[Response]]:
        async def act(request: Request, asked: Mapping[str, Any]) -> Response:
            does = self._acts.get(name)
            if does is None:
                raise Problem(501, "cannot-do", "This agent cannot tell or change settings.", "It has none to change.")
            try:
                done = does({**asked, "actor": actor(request)})
                return answer(await done if isinstance(done, Awaitable) else done)
            except ConfigurationError as error:
                detail = ". ".join(part for part in (error.what, error.why) if part)
                raise Problem(409, "wrong-configuration", detail, error.hint) from error
            except RoadworthyError as error:
                raise refused(error) from error

        return act
