"""What a guarded call may come to; the numbers index the counters that a policy keeps.

Success and failure are what the policy's owner says they are. Slow is a success that took too long: it counts as one,
and for the slow-call rate. Neutral says nothing about the other side (ignored exceptions, cancellation, the program's
end, refusals of our own): a neutral call gives back what it held and moves no verdict.
"""

from __future__ import annotations

SUCCESS = 0
FAILURE = 1
SLOW = 2
NEUTRAL = 3
BREAKER_OPEN = 4
RATE_LIMITED = 5
BULKHEAD_FULL = 6
DEADLINE = 7

NAMES = ("success", "failure", "slow", "neutral", "breaker_open", "rate_limited", "bulkhead_full", "deadline")
"""The value of the label ``outcome`` for each number."""
