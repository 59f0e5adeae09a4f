"""Calls that survive: one policy of retry, breaker, limits, timeouts and fallback, and recovery that recovers.

::

    db = Policy("db", retry=Retry(3, on=ConnectionError), breaker=CircuitBreaker(), deadline=10)

    @db
    async def load(id): ...

A plain library: it needs nothing of roadworthy's runtime. Where that runs, it shows and steers what is declared here.
The names are resolved lazily: importing this package loads nothing else.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.resilience import recover as recovery
    from roadworthy.resilience.arguments import BadArgument
    from roadworthy.resilience.breaker import CircuitBreaker, CircuitBreakerConfig
    from roadworthy.resilience.budget import Budget
    from roadworthy.resilience.bulkhead import Bulkhead
    from roadworthy.resilience.chain import chain
    from roadworthy.resilience.degrade import DegradationManager, ServiceFallback, degradation_manager
    from roadworthy.resilience.fallback import Fallback, is_degraded
    from roadworthy.resilience.feature import feature
    from roadworthy.resilience.hedge import Hedge
    from roadworthy.resilience.offload import run_in_thread
    from roadworthy.resilience.policy import Policy
    from roadworthy.resilience.rate_limit import RateLimiter
    from roadworthy.resilience.recover import (
        ErrorContext,
        ErrorRecoveryManager,
        RecoveryAction,
        error_recovery_manager,
        get_error_recovery,
        handle_error_with_context,
        initialize_error_recovery,
    )
    from roadworthy.resilience.rejected import BreakerOpen, BulkheadFull, DeadlineExceeded, RateLimited, Rejected
    from roadworthy.resilience.retry import Retry
    from roadworthy.resilience.timeout import (
        AdjustingTimeout,
        deadline,
        deadline_from_header,
        deadline_header,
        deadline_remaining,
    )

__all__ = [
    "AdjustingTimeout",
    "BadArgument",
    "BreakerOpen",
    "Budget",
    "Bulkhead",
    "BulkheadFull",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "DeadlineExceeded",
    "DegradationManager",
    "ErrorContext",
    "ErrorRecoveryManager",
    "Fallback",
    "Hedge",
    "Policy",
    "RateLimited",
    "RateLimiter",
    "RecoveryAction",
    "Rejected",
    "Retry",
    "ServiceFallback",
    "chain",
    "deadline",
    "deadline_from_header",
    "deadline_header",
    "deadline_remaining",
    "degradation_manager",
    "error_recovery_manager",
    "feature",
    "get_error_recovery",
    "handle_error_with_context",
    "initialize_error_recovery",
    "is_degraded",
    "recovery",
    "run_in_thread",
]

_HOMES = {
    "arguments": ("BadArgument",),
    "breaker": ("CircuitBreaker", "CircuitBreakerConfig"),
    "budget": ("Budget",),
    "bulkhead": ("Bulkhead",),
    "chain": ("chain",),
    "degrade": ("DegradationManager", "ServiceFallback", "degradation_manager"),
    "fallback": ("Fallback", "is_degraded"),
    "feature": ("feature",),
    "hedge": ("Hedge",),
    "offload": ("run_in_thread",),
    "policy": ("Policy",),
    "rate_limit": ("RateLimiter",),
    "recover": (
        "ErrorContext",
        "ErrorRecoveryManager",
        "RecoveryAction",
        "error_recovery_manager",
        "get_error_recovery",
        "handle_error_with_context",
        "initialize_error_recovery",
    ),
    "rejected": ("BreakerOpen", "BulkheadFull", "DeadlineExceeded", "RateLimited", "Rejected"),
    "retry": ("Retry",),
    "timeout": ("AdjustingTimeout", "deadline", "deadline_from_header", "deadline_header", "deadline_remaining"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


class _Package(type(sys)):  # type: ignore[misc]  # the class of modules, without importing types
    """Keeps ``chain`` and ``feature`` the functions: an import sets the module of that name in its package."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in {"chain", "feature"} and isinstance(value, type(sys)):
            value = getattr(value, name)
        super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    home = "recover" if name == "recovery" else _HOME_OF.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    place = f"{__name__}.{home}"
    __import__(place)
    value: object = sys.modules[place] if name == "recovery" else getattr(sys.modules[place], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


sys.modules[__name__].__class__ = _Package
