"""A regular expression that is compiled when it is first needed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable


class Pattern:
    """A regular expression, compiled, and ``re`` imported, when it is first needed: that costs milliseconds."""

    __slots__ = ("_dotall", "_ignorecase", "_text", "_verbose", "findall", "match", "search", "sub")

    findall: Callable[[str], list[str]]
    match: Callable[..., re.Match[str] | None]
    search: Callable[..., re.Match[str] | None]
    sub: Callable[[str | Callable[[re.Match[str]], str], str], str]

    def __init__(self, text: str, *, verbose: bool = False, dotall: bool = False, ignorecase: bool = False) -> None:
        self._text = text
        self._verbose = verbose
        self._dotall = dotall
        self._ignorecase = ignorecase

    def __getattr__(self, name: str) -> object:
        import re

        flags = re.VERBOSE * self._verbose | re.DOTALL * self._dotall | re.IGNORECASE * self._ignorecase
        compiled = re.compile(self._text, flags)
        self.findall, self.match, self.search, self.sub = (
            compiled.findall,
            compiled.match,
            compiled.search,
            compiled.sub,
        )
        return object.__getattribute__(self, name)
