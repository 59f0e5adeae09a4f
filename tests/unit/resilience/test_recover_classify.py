"""What kind of error it is, how bad, and what it calls for: tables."""

import asyncio
import errno
import socket
import sqlite3
import ssl
import urllib.error
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy import errors, types
from roadworthy.resilience.recover import classify, failures
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction
from roadworthy.resilience.recover.decide import MOST_REPEATS, MOST_TRIES, Situation, decide
from roadworthy.resilience.recover.messages import message_for
from roadworthy.resilience.rejected import BreakerOpen, DeadlineExceeded


def made(name, *bases, **attributes):
    error = type(name, bases or (Exception,), {})("text")
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


def caused(cause, error):
    try:
        raise error from cause  # noqa: TRY301 - that is how it gets a cause
    except Exception as found:  # noqa: BLE001 - made here
        return found


class Response:
    def __init__(self, status_code, **headers):
        self.status_code = status_code
        self.headers = headers


def sqlite_error(code):
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyboardInterrupt(), "ending"),
        (SystemExit(1), "ending"),
        (GeneratorExit(), "ending"),
        (asyncio.CancelledError(), "ending"),
        (BreakerOpen("open"), "rejected"),
        (DeadlineExceeded("late"), "rejected"),
        (ConnectionResetError(), "connection"),
        (BrokenPipeError(), "connection"),
        (OSError(errno.EHOSTUNREACH, "no route"), "connection"),
        (socket.gaierror(-2, "unknown name"), "connection"),
        (made("ConnectError"), "connection"),
        (made("OperationalError", sqlstate="08006"), "connection"),
        (made("OperationalError", pgcode="57P01"), "connection"),
        (made("HTTPStatusError", response=Response(503)), "connection"),
        (made("HTTPStatusError", response=Response(429)), "rate_limit"),
        (made("ClientResponseError", status=429), "rate_limit"),
        (made("RateLimitError"), "rate_limit"),
        (urllib.error.HTTPError("http://x", 429, "slow down", Message(), None), "rate_limit"),
        (TimeoutError(), "timeout"),
        (made("ReadTimeout"), "timeout"),
        (OSError(errno.ETIMEDOUT, "late"), "timeout"),
        (made("QueryCanceled", sqlstate="57014"), "timeout"),
        (sqlite3.OperationalError("database is locked"), "locked"),
        (sqlite_error(5), "locked"),
        (sqlite_error(5 | 2 << 8), "locked"),
        (sqlite_error(13), "disk_full"),
        (sqlite_error(8), "permission"),
        (made("SerializationFailure", sqlstate="40001"), "locked"),
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "no memory"), "memory"),
        (OSError(errno.ENOSPC, "full"), "disk_full"),
        (OSError(errno.EDQUOT, "quota"), "disk_full"),
        (OSError(errno.EMFILE, "too many"), "descriptors"),
        (FileNotFoundError(2, "not there"), "file"),
        (NotADirectoryError(20, "no directory"), "file"),
        (OSError(errno.EIO, "broken"), "file"),
        (ModuleNotFoundError("no pandas", name="pandas"), "import"),
        (PermissionError(13, "no"), "permission"),
        (OSError(errno.EROFS, "read only"), "permission"),
        (made("HTTPStatusError", response=Response(403)), "permission"),
        (ssl.SSLCertVerificationError("bad certificate"), "security"),
        (made("OperationalError", sqlstate="28P01"), "security"),
        (ValueError("bad"), "input"),
        (KeyError("k"), "bug"),
        (TypeError("t"), "bug"),
        (RecursionError(), "bug"),
        (RuntimeError("r"), "unknown"),
        (made("Strange"), "unknown"),
        (caused(ConnectionError(), RuntimeError("wrapped")), "connection"),
        (caused(KeyError(), RuntimeError("wrapped")), "unknown"),
        (made("DBAPIError", orig=sqlite_error(5)), "locked"),
        (ExceptionGroup("both", [ValueError(), MemoryError()]), "memory"),
        (BaseExceptionGroup("both", [ValueError(), KeyboardInterrupt()]), "input"),
        (failures.DependencyTimedOut(), "timeout"),
        (failures.SecurityBreach(), "security"),
        (failures.ApplicationError(), "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}",
)
def test_each_error_is_of_the_kind_that_it_is(error, kind):
    assert classify.kind_of(error) == kind


def test_an_error_whose_text_cannot_be_had_is_classified_all_the_same():
    class Nasty(Exception):
        def __str__(self):
            raise ValueError

    assert classify.kind_of(Nasty()) == "unknown"


def test_severities_are_those_of_the_vocabulary_and_every_kind_has_one():
    assert tuple(one.value for one in types.Severity) == classify.SEVERITIES
    kinds = {value for name, value in vars(classify).items() if name.isupper() and isinstance(value, str)}
    assert kinds - set(classify.SEVERITIES) == set(classify.SEVERITY)


@pytest.mark.parametrize(
    ("kind", "elsewhere", "critical"),
    [("timeout", "warning", "error"), ("connection", "error", "critical"), ("memory", "critical", "critical"),
     ("ending", "info", "info")],
)  # fmt: skip
def test_in_a_critical_component_errors_weigh_more(kind, elsewhere, critical):
    assert classify.severity_of(kind) == elsewhere
    assert classify.severity_of(kind, critical=True) == critical


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BreakerOpen("open", retry_after=7.5), 7.5),
        (made("HTTPStatusError", response=Response(429, **{"Retry-After": "120"})), 120.0),
        (made("HTTPStatusError", response=Response(429, **{"retry-after": "3"})), 3.0),
        (made("HTTPStatusError", response=Response(429, **{"Retry-After": "Wed, 21 Oct 2015"})), None),
        (made("HTTPStatusError", response=Response(429, **{"Retry-After": "-1"})), None),
        (made("HTTPStatusError", response=Response(429, **{"Retry-After": "nan"})), None),
        (ValueError(), None),
    ],
)
def test_what_the_other_side_asks_for_is_read(error, seconds):
    assert classify.retry_after_of(error) == seconds


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.PortInUse("x"), 4), (KeyboardInterrupt(), 130), (MemoryError(), 5), (PermissionError(), 6),
     (TimeoutError(), 75), (ConnectionError(), 4), (RuntimeError(), 1), (failures.NotAllowed(), 6),
     (failures.InvalidInput(), 2), (failures.DependencyBusy(), 75)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_exit_code_is_that_of_the_table(error, code):
    assert classify.exit_code_of(error) == code


def test_the_applications_exceptions_have_the_codes_and_kinds_that_the_tree_shows():
    tree = failures.__doc__
    shown = [
        one for one in vars(failures).values() if isinstance(one, type) and issubclass(one, failures.ApplicationError)
    ]
    assert len(shown) == 11
    for one in shown:
        line = next(line for line in tree.splitlines() if f" {one.__name__} " in line)
        assert f" {one.exit_code} " in line
        assert one.kind in classify.SEVERITY
        assert classify.exit_code_of(one()) == one.exit_code


def raised(function):
    try:
        function()
    except Exception as error:  # noqa: BLE001 - made here
        return error
    raise AssertionError


def test_errors_of_one_place_have_one_fingerprint_whatever_their_text():
    def fails(text):
        raise ValueError(text)

    def elsewhere(text):
        raise ValueError(text)

    one, same, other = raised(lambda: fails("a 1")), raised(lambda: fails("b 2")), raised(lambda: elsewhere("a 1"))
    mark = classify.fingerprint_of
    assert mark(one, "c", "o") == mark(same, "c", "o")
    assert mark(one, "c", "o") != mark(other, "c", "o")
    assert mark(one, "c", "o") != mark(one, "c", "p")
    assert classify.component_of(one) == __name__
    assert classify.component_of(ValueError()) == "unknown"


# -- what to do


@pytest.mark.parametrize(
    ("known", "action"),
    [
        ({"kind": "ending"}, "shutdown"),
        ({"kind": "connection"}, "retry"),
        ({"kind": "connection", "tries": MOST_TRIES}, "retry"),
        ({"kind": "connection", "tries": MOST_TRIES + 1}, "degrade"),
        ({"kind": "connection", "tries": MOST_TRIES + 1, "fallback": True}, "fallback"),
        ({"kind": "connection", "tries": 99, "repeats": 99, "restarts_left": 3}, "degrade"),
        ({"kind": "connection", "tries": 99, "critical": True}, "continue"),
        ({"kind": "rate_limit"}, "retry"),
        ({"kind": "locked"}, "retry"),
        ({"kind": "timeout"}, "retry"),
        ({"kind": "file"}, "continue"),
        ({"kind": "file", "repaired": True}, "retry"),
        ({"kind": "file", "repaired": True, "tries": MOST_TRIES + 1}, "continue"),
        ({"kind": "memory"}, "degrade"),
        ({"kind": "memory", "repaired": True}, "retry"),
        ({"kind": "memory", "critical": True}, "shutdown"),
        ({"kind": "memory", "critical": True, "restarts_left": 1}, "restart"),
        ({"kind": "disk_full", "critical": True, "restarts_left": 1}, "shutdown"),
        ({"kind": "import"}, "degrade"),
        ({"kind": "import", "critical": True}, "shutdown"),
        ({"kind": "bug"}, "continue"),
        ({"kind": "bug", "fallback": True}, "fallback"),
        ({"kind": "bug", "degradable": True}, "degrade"),
        ({"kind": "bug", "repeats": MOST_REPEATS, "restarts_left": 1}, "restart"),
        ({"kind": "bug", "repeats": MOST_REPEATS, "restarts_left": 0}, "continue"),
        ({"kind": "bug", "repeats": MOST_REPEATS, "restarts_left": 0, "critical": True}, "shutdown"),
        ({"kind": "bug", "repeats": MOST_REPEATS - 1, "restarts_left": 1}, "continue"),
        ({"kind": "input"}, "continue"),
        ({"kind": "permission"}, "continue"),
        ({"kind": "rejected"}, "continue"),
        ({"kind": "rejected", "fallback": True}, "fallback"),
    ],
)
def test_each_situation_has_its_action(known, action):
    kind = known.pop("kind")
    assert decide(Situation(kind, **known))[0] == action


@given(
    kind=st.sampled_from(sorted(classify.SEVERITY)), tries=st.integers(1, 50), repeats=st.integers(1, 50),
    flags=st.tuples(*[st.booleans()] * 4), left=st.integers(0, 3),
)  # fmt: skip
def test_whatever_is_known_there_is_one_action_and_it_can_be_carried_out(kind, tries, repeats, flags, left):
    critical, repaired, fallback, degradable = flags
    action, why = decide(
        Situation(
            kind, tries=tries, repeats=repeats, critical=critical, repaired=repaired, fallback=fallback,
            degradable=degradable, restarts_left=left,
        )
    )  # fmt: skip
    assert why
    assert action is not RecoveryAction.RETRY or tries <= MOST_TRIES
    assert action is not RecoveryAction.FALLBACK or fallback
    assert action is not RecoveryAction.DEGRADE or not critical
    assert action is not RecoveryAction.RESTART or left
    assert action is not RecoveryAction.SHUTDOWN or critical or kind == "ending"


def test_the_actions_are_those_of_the_specification():
    assert [one.name for one in RecoveryAction] == ["CONTINUE", "RETRY", "FALLBACK", "DEGRADE", "RESTART", "SHUTDOWN"]


def test_a_context_keeps_what_it_is_given_and_shows_no_values():
    context = ErrorContext("world_engine", "generate_world", 10, 600, password="hunter2")
    assert (context.component, context.operation, context.turn, context.frame) == (
        "world_engine",
        "generate_world",
        10,
        600,
    )
    assert context.extra == {"password": "hunter2"}
    assert "hunter2" not in repr(context)
    assert context == ErrorContext("world_engine", "generate_world", turn=10, frame=600, password="hunter2")
    assert ErrorContext("a") == ErrorContext("a", "", 0, 0)


# -- what people are told

SECRET = "postgres://app:hunter2@db/x?token=abc"


@pytest.mark.parametrize("kind", sorted(classify.SEVERITY))
@pytest.mark.parametrize("audience", ["user", "operator", "developer"])
def test_nobody_is_told_a_secret(kind, audience):
    error = raised(lambda: (_ for _ in ()).throw(made(SECRET[:8], kind=kind)))
    error.args = (SECRET,)
    said = message_for(error, audience, reference="ab12")
    assert "hunter2" not in said
    assert "token=abc" not in said
    assert "ab12" in said


def test_each_reader_is_told_something_else():
    error = raised(lambda: (_ for _ in ()).throw(ConnectionError(SECRET)))
    user, operator, developer = (message_for(error, one) for one in ("user", "operator", "developer"))
    assert user == "A service that we need cannot be reached. Please try again in a few minutes."
    assert "ConnectionError" not in user
    assert "See whether the other side runs" in operator
    assert "line " in developer
    assert __name__ in developer


def test_an_exception_may_bring_its_own_words_for_users():
    error = failures.InvalidInput(SECRET, public="The year must have four digits.")
    assert message_for(error, reference="ab12") == "The year must have four digits. (reference ab12)"
    assert "hunter2" not in message_for(error, "operator")


def test_of_a_very_deep_recursion_the_end_is_looked_at(monkeypatch):
    def outer(depth):
        inner(depth)

    def inner(depth):
        if depth:
            inner(depth - 1)
        raise ValueError("deep")

    found = {}
    for most in (3, classify._MOST_FRAMES):
        monkeypatch.setattr(classify, "_MOST_FRAMES", most)
        with pytest.raises(ValueError, match="deep") as caught:
            outer(20)
        found[most] = [function.rpartition(".")[2] for _, function in classify._frames(caught.value.__traceback__)]
    assert found == {
        3: ["inner"],
        2000: [test_of_a_very_deep_recursion_the_end_is_looked_at.__name__, "outer", "inner"],
    }
