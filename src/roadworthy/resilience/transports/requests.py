"""requests sessions whose every request goes through a policy.

::

    from roadworthy.resilience.transports.requests import Adapter

    session = requests.Session()
    session.mount("https://", Adapter(policy))
"""

from __future__ import annotations

from roadworthy.resilience.terms import Terms
from roadworthy.resilience.timeout import deadline_remaining
from roadworthy.resilience.transports import IDEMPOTENT, DeadlineHeader, methods_of, missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from requests import PreparedRequest, Response
    from requests.adapters import BaseAdapter

    from roadworthy.resilience.policy import Policy
else:
    # requests asks an adapter for its methods only, so that this module needs no requests to be imported.
    BaseAdapter = object

_SHORTEST = 0.001


class Adapter(BaseAdapter):
    """Send each request of a session through ``policy``, then through ``inner`` (default: HTTPAdapter).

    Requests with a method in ``methods``, and a body that is not a stream or file, may be repeated. Raises
    :class:`~roadworthy.errors.Unavailable` when requests is not installed, and
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    def __init__(
        self, policy: Policy, inner: BaseAdapter | None = None, *, methods: Iterable[str] = IDEMPOTENT
    ) -> None:
        self.policy = policy
        self._methods = methods_of(methods)
        if inner is None:
            try:
                from requests.adapters import HTTPAdapter
            except ImportError as error:
                raise missing("requests") from error
            inner = HTTPAdapter()
        self._inner = inner

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - as requests calls it
        timeout: Any = None,  # noqa: ANN401 - seconds, a pair of them, or urllib3's Timeout
        verify: bool | str = True,  # noqa: FBT001, FBT002 - as requests calls it
        cert: Any = None,  # noqa: ANN401 - a path or a pair of them
        proxies: Any = None,  # noqa: ANN401 - a mapping
    ) -> Response:
        """Return the answer; raises what requests or the policy raises."""
        header = DeadlineHeader(request.headers)

        def send(request: PreparedRequest) -> Response:
            header.write(request.headers)
            return self._inner.send(
                request, stream=stream, timeout=_within(timeout), verify=verify, cert=cert, proxies=proxies
            )

        in_memory = request.body is None or isinstance(request.body, str | bytes)
        repeatable = in_memory and (request.method or "").upper() in self._methods
        with Terms(repeatable=repeatable, dropped=_close):
            return self.policy.call(send, request)

    def close(self) -> None:
        """Close the inner adapter."""
        self._inner.close()


def _within(timeout: Any) -> Any:  # noqa: ANN401 - as above
    """Return the session's timeout, shortened to what is left of the deadline."""
    left = deadline_remaining()
    if left is None:
        return timeout
    left = max(left, _SHORTEST)
    if timeout is None:
        return left
    if isinstance(timeout, tuple):
        return tuple(left if seconds is None else min(seconds, left) for seconds in timeout)
    return min(timeout, left) if isinstance(timeout, int | float) else timeout


def _close(response: object) -> None:
    response.close()  # type: ignore[attr-defined] # a Response; whatever else a policy's function returns is not dropped
