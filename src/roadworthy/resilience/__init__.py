"""Calls that survive: one policy of retry, breaker, limits, timeouts and fallback, and recovery that recovers."""
