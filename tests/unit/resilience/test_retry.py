"""Retry decides by values and now alone."""

import asyncio
import time
import urllib.error
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import RoadworthyError
from roadworthy.resilience.arguments import BadArgument
from roadworthy.resilience.budget import Budget
from roadworthy.resilience.rejected import BreakerOpen, BulkheadFull, DeadlineExceeded, RateLimited, Rejected
from roadworthy.resilience.retry import MOST_ASKED, Retry, asked, seconds_of
from roadworthy.resilience.terms import Terms
from roadworthy.testing import MovableClock

NS = 1_000_000_000


def decide(retry, error=None, *, attempt=1, result=None, begun=0, now=0, deadline=None):
    return retry.pause(attempt, error, result, begun, now, deadline)


def plain(attempts=3, **options):
    return Retry(attempts, **{"on": ConnectionError, "backoff": (1.0, 8.0), "jitter": "none", **options})


class Answer:
    def __init__(self, status=503, **headers):
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), False),
        (ValueError(), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
        (GeneratorExit(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_only_what_on_names_is_tried_again(error, again):
    assert (decide(plain(), error) is not None) is again


@pytest.mark.parametrize("refusal", [BreakerOpen, RateLimited, BulkheadFull, DeadlineExceeded, Rejected])
@pytest.mark.parametrize("on", [Exception, (RoadworthyError, TimeoutError), lambda error: True])
def test_our_own_refusals_are_never_tried_again(refusal, on):
    assert decide(Retry(9, on=on), refusal("no")) is None


@pytest.mark.parametrize("error", [None, BreakerOpen("no"), KeyboardInterrupt(), ValueError()])
def test_what_is_not_covered_is_said_by_false_itself(error):
    assert plain().covers(error) is False


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), asyncio.CancelledError()])
def test_no_predicate_can_bring_back_what_is_no_exception(error):
    assert decide(Retry(9, on=lambda _: True), error) is None


def test_a_predicate_decides_on_exceptions_and_on_results():
    retry = plain(on=lambda error: "busy" in str(error), on_result=lambda answer: answer == "later")
    assert decide(retry, RuntimeError("busy")) == 1.0
    assert decide(retry, RuntimeError("broken")) is None
    assert decide(retry, result="later") == 1.0
    assert decide(retry, result="done") is None


def test_a_result_is_an_answer_unless_somebody_says_otherwise():
    assert decide(plain(), result=None) is None


def test_what_a_predicate_raises_passes():
    with pytest.raises(ZeroDivisionError):
        decide(plain(on=lambda _: 1 / 0), ConnectionError())


def test_attempts_count_the_first_one():
    retry = plain(3)
    assert [decide(retry, ConnectionError(), attempt=n) for n in (1, 2, 3, 4)] == [1.0, 2.0, None, None]
    assert decide(plain(1), ConnectionError()) is None


@pytest.mark.parametrize(
    ("total", "now", "pause"),
    [(None, 10**6, 1.0), (10, 8.9, 1.0), (10, 9.0, None), (10, 9.5, None), (10, 10**6, None)],
)
def test_no_attempt_starts_after_the_total_time(total, now, pause):
    for begun in (0, 5 * NS, 10**6 * NS):
        assert decide(plain(total=total), ConnectionError(), begun=begun, now=begun + int(now * NS)) == pause


@pytest.mark.parametrize(
    ("deadline", "pause"), [(None, 1.0), (1.5, 1.0), (1.0, None), (0.5, None), (0, None), (-1, None)]
)
def test_no_attempt_starts_that_the_deadline_cannot_hold(deadline, pause):
    at = None if deadline is None else int(deadline * NS)
    assert decide(plain(), ConnectionError(), deadline=at) == pause


def test_a_budget_is_asked_last_and_only_once():
    budget = Budget(0.0, 1, per=1000)
    now = budget._looked_ns
    retry = plain(budget=budget)
    assert decide(retry, ValueError(), now=now) is None
    assert decide(retry, ConnectionError(), now=now, deadline=now) is None
    assert decide(retry, ConnectionError(), now=now, attempt=3) is None
    assert decide(retry, ConnectionError(), now=now) == 1.0
    assert decide(retry, ConnectionError(), now=now) is None


def test_a_call_that_must_not_be_repeated_is_not():
    with Terms(repeatable=False):
        assert decide(plain(), ConnectionError()) is None
    assert decide(plain(), ConnectionError()) == 1.0


def test_a_result_that_another_attempt_follows_is_handed_over():
    dropped = []
    retry = plain(on_result=lambda _: True)
    with Terms(repeatable=True, dropped=dropped.append):
        decide(retry, result="first")
        decide(retry, result="last", attempt=3)
        decide(retry, ConnectionError())
    assert dropped == ["first"]


@given(
    attempt=st.integers(1, 10**30),
    first=st.floats(0, 1e6),
    more=st.floats(0, 1e6),
    jitter=st.sampled_from(["full", "equal", "none"]),
)
def test_a_backoff_keeps_within_its_bounds_at_any_attempt(attempt, first, more, jitter):
    retry = Retry(on=OSError, backoff=(first, first + more), jitter=jitter)
    most = retry.most(attempt)
    drawn = retry.drawn(attempt)
    assert 0 <= drawn <= most <= first + more
    assert most >= min(first, most)
    assert retry.most(attempt + 1) >= most
    if jitter == "equal":
        assert drawn >= most / 2
    if jitter == "none":
        assert drawn == most


def test_a_backoff_doubles_up_to_its_end():
    retry = Retry(on=OSError, backoff=(0.1, 1.0), jitter="none")
    assert [retry.drawn(n) for n in (1, 2, 3, 4, 5, 10**9)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert [Retry(on=OSError, backoff=(0, 5), jitter="none").drawn(n) for n in (1, 2, 3, 2000)] == [0, 0, 0, 0]
    wide = Retry(on=OSError, backoff=(1, 100))
    assert [wide.most(n) for n in range(1, 10)] == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    assert Retry(on=OSError, backoff=(0, 0)).drawn(7) == 0
    assert Retry(on=OSError, backoff=(5e-324, 1e6)).most(10**6) == 1e6


@pytest.mark.parametrize(("jitter", "least"), [("full", 0.0), ("equal", 0.5)])
def test_jitter_uses_the_whole_of_its_range(jitter, least):
    retry = Retry(on=OSError, backoff=(1.0, 1.0), jitter=jitter)
    drawn = [retry.drawn(1) for _ in range(2000)]
    assert least <= min(drawn) < least + 0.05
    assert 0.95 < max(drawn) < 1
    assert -0.05 < sum(drawn) / len(drawn) - (least + 1) / 2 < 0.05


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("9" * 9, 999_999_999.0),
        ("9" * 10, float("inf")),
        ("9" * 5000, float("inf")),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun Nov  6 08:49:37 1994", 37.0),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 10:49:37 +0200", 37.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_understood_in_seconds_and_as_a_date(value, seconds):
    now = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC).timestamp()
    assert seconds_of(value, now) == seconds


def test_a_date_counts_from_now():
    with MovableClock() as clock:
        at = datetime.fromtimestamp(int(clock.wall()) + 90, UTC)
        assert seconds_of(format_datetime(at, usegmt=True)) == pytest.approx(90, abs=1)
        assert asked(None, Answer(Retry_After="Sun, 06 Nov 1994 08:49:37 GMT")) == 0.0


def test_a_date_without_a_zone_is_universal_time_wherever_the_program_runs(monkeypatch):
    now = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC).timestamp()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "EST5")
        time.tzset()
        seconds = seconds_of("Sun Nov  6 08:49:37 1994", now)
    time.tzset()
    assert seconds == 37.0


def test_the_pause_that_an_answer_asks_for_is_found_where_clients_have_it():
    error = RuntimeError("status 429")
    error.response = Answer(Retry_After="3")
    assert asked(None, Answer(Retry_After="2")) == 2.0
    assert asked(None, Answer(retry_after="2")) == 2.0
    assert asked(error, None) == 3.0
    headers = Message()
    headers["retry-after"] = "4"
    assert asked(urllib.error.HTTPError("http://x", 503, "busy", headers, None), None) == 4.0
    assert asked(None, Answer()) is None
    assert asked(None, {"not": "an answer"}) is None
    assert asked(ConnectionError(), None) is None
    own = ConnectionError()
    own.retry_after = 1.5
    assert asked(own, None) == 1.5
    for said, seconds in ((0, 0.0), (0.25, 0.25), (7, 7.0), (-1, None), (float("inf"), None), ("soon", None)):
        own.retry_after = said
        assert asked(own, None) == seconds


def test_the_pause_is_never_shorter_than_the_answer_asks_for():
    retry = Retry(5, on_result=lambda answer: answer.status == 503, on=OSError, backoff=(1.0, 1.0))
    assert all(2.0 <= decide(retry, result=Answer(Retry_After="2")) <= 3.0 for _ in range(50))
    assert decide(retry, result=Answer(Retry_After="2"), deadline=2 * NS) is None
    for wanted in (0.25, 1.0, 3.5):
        asking = plain(retry_after=lambda error, result, wanted=wanted: wanted)
        assert decide(asking, ConnectionError()) == 1.0 + wanted


@pytest.mark.parametrize(
    ("wanted", "total", "again"),
    [
        (MOST_ASKED, None, True),
        (MOST_ASKED + 1, None, False),
        (MOST_ASKED + 1, 600, True),
        (700, 600, False),
        (float("inf"), None, False),
        (float("inf"), 600, False),
        (float("nan"), 600, True),  # no number: as if nothing had been asked for
        (-5, None, True),
    ],
)
def test_a_longer_pause_than_there_is_time_ends_it(wanted, total, again):
    retry = plain(total=total, retry_after=lambda error, result: wanted)
    assert (decide(retry, ConnectionError()) is not None) is again


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"attempts": 0}, "attempts"),
        ({"attempts": -1}, "attempts"),
        ({"attempts": 2.5}, "attempts"),
        ({"attempts": True}, "attempts"),
        ({"on": BaseException}, "on"),
        ({"on": (OSError, KeyboardInterrupt)}, "on"),
        ({"on": asyncio.CancelledError}, "on"),
        ({"on": BreakerOpen}, "on"),
        ({"on": (OSError, DeadlineExceeded)}, "on"),
        ({"on": ()}, "on"),
        ({"on": "OSError"}, "on"),
        ({"on": None}, "on"),
        ({"on_result": 5}, "on_result"),
        ({"backoff": (1.0, 0.5)}, "backoff"),
        ({"backoff": (-1.0, 0.5)}, "backoff[0]"),
        ({"backoff": (0.1, float("inf"))}, "backoff[1]"),
        ({"backoff": (0.1, float("nan"))}, "backoff[1]"),
        ({"backoff": 3}, "backoff"),
        ({"backoff": ("0.1", 1)}, "backoff[0]"),
        ({"jitter": "some"}, "jitter"),
        ({"total": 0}, "total"),
        ({"total": -1}, "total"),
        ({"retry_after": 3}, "retry_after"),
        ({"budget": 0.1}, "budget"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(options, field):
    with pytest.raises(BadArgument) as refused:
        Retry(**{"on": OSError, **options})
    assert refused.value.field == field
    assert str(refused.value).startswith(field)
    assert isinstance(refused.value, ValueError)


def test_what_to_try_again_has_no_default():
    with pytest.raises(TypeError, match="on"):
        Retry(3)


def test_it_describes_itself_in_plain_values():
    assert plain(on=(OSError, ValueError), budget=Budget()).describe() == {
        "attempts": 3,
        "on": ["OSError", "ValueError"],
        "on_result": None,
        "backoff": [1.0, 8.0],
        "jitter": "none",
        "total": None,
        "budget": {"ratio": 0.1, "minimum": 3.0, "per": 10.0},
    }
    described = Retry(on=OSError).describe()
    assert (described["attempts"], described["backoff"], described["jitter"]) == (3, [0.1, 5.0], "full")
    assert repr(plain()) == "Retry(3, on=ConnectionError, backoff=(1.0, 8.0), jitter='none')"
