"""One entry of the operations API: what it answers, what it may be asked, and how that is checked.

Routes and the OpenAPI document are made from the same entries, so neither can know something that the other does not.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request, Mapping[str, Any]], Awaitable[Response]]

_LONGEST_SHOWN = 80
_COMMA = re.compile(r",(?![^{]*})")
"""Separates names; commas inside braces belong to a series' labels."""


class Problem(HTTPException):
    """A request that cannot be answered; the server renders it as ``application/problem+json``."""

    def __init__(
        self, status: int, code: str, detail: str, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter; ``default`` None means that it may be left out."""

    name: str
    type: Literal["string", "integer", "number", "flag", "list"]
    text: str
    default: Any = None
    least: float | None = None
    most: float | None = None

    def read(self, request: Request) -> Any:  # noqa: ANN401 - the type is the parameter's own
        """Return the value that was asked for; raises :class:`Problem` naming a value that is wrong."""
        given = request.query_params.getlist(self.name)
        if not given:
            return self.default if self.type not in {"list", "flag"} else [] if self.type == "list" else False
        if self.type == "flag":
            return given[-1].lower() not in {"0", "false", "no"}
        if self.type == "list":
            values = [part for value in given for part in _COMMA.split(value) if part]
            if self.most is not None and len(values) > self.most:
                raise self._wrong(f"{len(values)} values", f"at most {self.most:g} values")
            return values
        if self.type == "string":
            return given[-1]
        return self._number(given[-1])

    def _number(self, text: str) -> float | int:
        wanted = "a whole number" if self.type == "integer" else "a number"
        bounds = " and ".join(
            f"{word} {bound:g}"
            for word, bound in (("at least", self.least), ("at most", self.most))
            if bound is not None
        )
        wanted = f"{wanted}, {bounds}" if bounds else wanted
        try:
            value = int(text) if self.type == "integer" else float(text)
        except (ValueError, OverflowError):
            raise self._wrong(text, wanted) from None
        if (
            value - value != 0
            or (self.least is not None and value < self.least)
            or (self.most is not None and value > self.most)
        ):
            raise self._wrong(text, wanted)
        return value

    def _wrong(self, given: str, wanted: str) -> Problem:
        shown = given if len(given) <= _LONGEST_SHOWN else given[:_LONGEST_SHOWN] + "…"
        return Problem(400, "bad-parameter", f"The parameter {self.name!r} cannot be {shown!r}.", f"It is {wanted}.")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path and method; ``answers`` tells each status and what it means, ``media`` what a good answer is made of."""

    path: str
    handler: Handler
    summary: str
    tag: str
    method: str = "GET"
    parameters: tuple[Parameter, ...] = ()
    answers: tuple[tuple[int, str], ...] = ((200, "As asked."),)
    media: tuple[str, ...] = ("application/json",)
    schema: str = ""

    async def __call__(self, request: Request) -> Response:
        """Check the query and answer; under ``/api`` a parameter that does not exist is refused, by name."""
        if self.path.startswith("/api/"):
            known = [parameter.name for parameter in self.parameters]
            for name in request.query_params:
                if name not in known:
                    shown = name[:_LONGEST_SHOWN]
                    hint = f"It takes: {', '.join(known)}." if known else "It takes none."
                    raise Problem(400, "unknown-parameter", f"{self.path} takes no parameter {shown!r}.", hint)
        return await self.handler(request, {parameter.name: parameter.read(request) for parameter in self.parameters})
