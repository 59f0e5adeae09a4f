"""Measure successful calls through policies, round by round: bare, ours, the peers, and again; plain and in a loop.

    python -m benchmarks.probes.policy CASE --arms "roadworthy;pybreaker" --rounds 40 --slice 10 --out FILE

Writes what :mod:`benchmarks.probes.calls` writes. Each arm is the library's public decorator on an empty function. Ours
refuses to be measured without the arena's counters attached: that is what a program under ``roadworthy run`` pays.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.probes.arms import Arm, empty
from benchmarks.probes.calls import GC, MILLISECOND, Timed, turns, wait_for_agent


async def aempty() -> None:
    """Do nothing: the user's coroutine function."""


class Awaited:
    """Calls of a coroutine function, awaited one after another in one task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> None:
        self._loop = loop
        self._function = function

    def timeit(self, number: int) -> float:
        """Return the seconds that so many calls took."""
        return self._loop.run_until_complete(self._run(number))

    async def _run(self, number: int) -> float:
        function = self._function
        numbers = range(number)
        begun = time.perf_counter()
        for _ in numbers:
            await function()
        return time.perf_counter() - begun


def _ours(**parts: bool) -> Any:  # noqa: ANN401 - a policy
    import roadworthy as rw
    from roadworthy.resilience import CircuitBreaker, Policy, Retry, hook

    rw.start("benchmark")
    policy = Policy(
        "benchmark",
        retry=Retry(3, on=ConnectionError) if parts.get("retry") else None,
        breaker=CircuitBreaker() if parts.get("breaker") else None,
        attempt_timeout=5.0 if parts.get("timeout") else None,
    )
    if hook._listener is None:  # noqa: SLF001 - to see that what is measured is what a program pays
        raise SystemExit("the counters in the arena are not attached")
    return policy


def _pybreaker() -> Any:  # noqa: ANN401 - peers are not typed here, all of them
    import pybreaker

    return pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60)


def _circuitbreaker() -> Any:  # noqa: ANN401
    from circuitbreaker import circuit

    return circuit(failure_threshold=5, recovery_timeout=60)


def _aiobreaker() -> Any:  # noqa: ANN401
    from aiobreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5)


def _purgatory() -> Any:  # noqa: ANN401
    from purgatory import AsyncCircuitBreakerFactory

    return AsyncCircuitBreakerFactory()("benchmark")


def _hyx_breaker() -> Any:  # noqa: ANN401
    from hyx.circuitbreaker import consecutive_breaker

    return consecutive_breaker(exceptions=ConnectionError, failure_threshold=5, recovery_time_secs=60)


def _hyx(function: Callable[[], Any]) -> Any:  # noqa: ANN401
    from hyx.retry import retry
    from hyx.timeout import timeout

    return retry(on=ConnectionError, attempts=3)(_hyx_breaker()(timeout(5.0)(function)))


def _hyx_retry() -> Any:  # noqa: ANN401
    from hyx.retry import retry

    return retry(on=ConnectionError, attempts=3)


def _pyresilience(**parts: bool) -> Any:  # noqa: ANN401
    from pyresilience import CircuitBreakerConfig, RetryConfig, TimeoutConfig, resilient

    return resilient(
        retry=RetryConfig() if parts.get("retry") else None,
        circuit_breaker=CircuitBreakerConfig() if parts.get("breaker") else None,
        timeout=TimeoutConfig(5.0) if parts.get("timeout") else None,
    )


def _tenacity() -> Any:  # noqa: ANN401
    from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return retry(
        retry=retry_if_exception_type(ConnectionError),
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(0.1, 5),
        reraise=True,
    )


def _stamina() -> Any:  # noqa: ANN401
    import stamina

    return stamina.retry(on=ConnectionError, attempts=3)


def _backoff() -> Any:  # noqa: ANN401
    import backoff

    return backoff.on_exception(backoff.expo, ConnectionError, max_tries=3)


def _tenacity_stack(function: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Combine what is combined by hand today: tenacity around aiobreaker around asyncio.timeout."""

    async def limited() -> Any:  # noqa: ANN401
        async with asyncio.timeout(5.0):
            return await function()

    return _tenacity()(_aiobreaker()(limited))


async def _within(decorate: Callable[[Callable[[], Any]], Any]) -> Any:  # noqa: ANN401
    """Decorate in a running loop: hyx's timeout can be used nowhere else."""
    return decorate(aempty)


def _same(function: Callable[[], Any]) -> Any:  # noqa: ANN401
    return function


CASES: dict[str, dict[str, Callable[[], Callable[[Callable[[], Any]], Any]]]] = {
    "breaker": {
        "roadworthy": lambda: _ours(breaker=True),
        "pybreaker": _pybreaker,
        "circuitbreaker": _circuitbreaker,
        "pyresilience": lambda: _pyresilience(breaker=True),
    },
    "breaker-async": {
        "roadworthy": lambda: _ours(breaker=True),
        "circuitbreaker": _circuitbreaker,
        "aiobreaker": _aiobreaker,
        "purgatory": _purgatory,
        "hyx": _hyx_breaker,
        "pyresilience": lambda: _pyresilience(breaker=True),
    },
    "retry": {
        "roadworthy": lambda: _ours(retry=True),
        "tenacity": _tenacity,
        "stamina": _stamina,
        "backoff": _backoff,
        "pyresilience": lambda: _pyresilience(retry=True),
    },
    "retry-async": {
        "roadworthy": lambda: _ours(retry=True),
        "tenacity": _tenacity,
        "stamina": _stamina,
        "backoff": _backoff,
        "hyx": _hyx_retry,
        "pyresilience": lambda: _pyresilience(retry=True),
    },
    "stack": {
        "roadworthy": lambda: _ours(retry=True, breaker=True, timeout=True),
        "hyx": lambda: _hyx,
        "pyresilience": lambda: _pyresilience(retry=True, breaker=True, timeout=True),
        "tenacity+aiobreaker+asyncio.timeout": lambda: _tenacity_stack,
    },
}
"""For each row, who does it: a function that returns the decorator, as its documentation says to make it."""

AWAITED = frozenset({"breaker-async", "retry-async", "stack"})


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--arms", required=True, help="separated by semicolons")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--slice", type=float, default=10.0, help="milliseconds that one arm runs in one round")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    makers = {"bare": lambda: _same, **CASES[options.case]}
    loop = asyncio.new_event_loop()
    timers: dict[str, Timed] = {}
    for name in ["bare", *(name.strip() for name in options.arms.split(";"))]:
        decorate = makers[name]()
        if options.case in AWAITED:
            timers[name] = Awaited(loop, loop.run_until_complete(_within(decorate)))
        else:
            arm = Arm("f()", {"f": decorate(empty)})
            timers[name] = timeit.Timer(arm.statement, "gc.enable()", globals={**arm.names, **GC})
    attached = wait_for_agent()
    found = turns(timers, {}, options.rounds, options.slice * MILLISECOND)
    options.out.write_text(json.dumps({"attached": attached, "ns": found}), encoding="utf-8")
    loop.close()


if __name__ == "__main__":
    main()
