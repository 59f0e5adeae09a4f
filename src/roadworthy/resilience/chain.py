"""Another order than a policy's own: several policies, one around the other."""

from __future__ import annotations

from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.policy import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Chain:
    """Policies from the outermost to the innermost; made by :func:`chain`."""

    __slots__ = ("policies",)

    def __init__(self, policies: tuple[Policy, ...]) -> None:
        self.policies = policies

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return a function that goes through all of them, with the same signature and of the same kind."""
        made = function
        for policy in reversed(self.policies):
            made = policy(made)
        return made

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a plain function through all of them."""
        called: Any = function
        before: tuple[Any, ...] = ()
        for policy in reversed(self.policies):
            called, before = policy.call, (called, *before)
        result: R = called(*before, *args, **kwargs)
        return result

    async def acall(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await a coroutine function through all of them."""
        called: Any = function
        before: tuple[Any, ...] = ()
        for policy in reversed(self.policies):
            called, before = policy.acall, (called, *before)
        result: R = await called(*before, *args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"chain({', '.join(repr(policy.name) for policy in self.policies)})"


def chain(*policies: Policy) -> Chain:
    """Put policies around each other, the first one outermost.

    ``chain(Policy("db", breaker=…), Policy("db.retry", retry=…))`` has its breaker around the retry, so that it sees
    one outcome for all attempts. What one of them refuses is neutral for the others. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument` when one is no policy.
    """
    if not policies:
        raise BadArgument("policies", policies, "at least one Policy")
    for policy in policies:
        if not isinstance(policy, Policy):
            raise BadArgument("policies", policy, "a Policy")
    return Chain(policies)
