"""Security events: into the trail, to whoever asked, by themselves for the errors that matter, and never too many."""

import json
import ssl

import pytest

from roadworthy import _clock
from roadworthy.errors import Refused
from roadworthy.log import correlation, security, trail
from roadworthy.log import hook as hooks


class AuthenticationError(Exception):
    pass


class LoginDenied(PermissionError):
    pass


class AccessDenied(Exception):
    pass


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    monkeypatch.setenv("ROADWORTHY_APP", "shop")
    monkeypatch.setattr(security, "_app", "")
    monkeypatch.setattr(hooks, "failed", None)
    monkeypatch.setattr(hooks, "on_security_event", [])
    monkeypatch.setattr(security, "_causes", {})
    monkeypatch.setattr(security, "_window", [0.0, 0.0, 0.0])
    monkeypatch.setattr(_clock, "monotonic", lambda: 1000.0)
    state = tmp_path / "state" / "shop"
    state.mkdir(parents=True)
    return state


def records(state):
    return [json.loads(line) for line in (state / trail.FILE).read_text().splitlines()]


def test_an_event_is_a_structured_record_of_the_trail(house):
    token = correlation.bind("r-1")
    done = security.log_security_event(
        event_type="authentication_failure", description="three wrong", additional_data={"attempts": 3, "token": "abc"}
    )
    correlation.unbind(token)
    (found,) = records(house)
    assert done
    assert (found["act"], found["event_type"], found["severity"]) == ("security", "authentication_failure", "WARNING")
    assert (found["data"], found["app"], found["correlation_id"]) == (
        {"attempts": 3, "token": "[redacted]"},
        "shop",
        "r-1",
    )
    assert trail.verify(house).whole


def test_without_a_state_directory_only_the_hooks_hear_of_it(house):
    heard = []
    security.on_security_event(heard.append)
    security.on_security_event(heard.append)
    house.rmdir()
    assert not security.log_security_event("x", severity="critical")
    assert [one["severity"] for one in heard] == ["CRITICAL"]
    security.off_security_event(heard.append)
    security.off_security_event(heard.append)
    security.log_security_event("x")
    assert len(heard) == 1


def test_without_an_application_there_is_no_trail(house, monkeypatch):
    monkeypatch.delenv("ROADWORTHY_APP")
    assert not security.log_security_event("x")
    assert not (house / trail.FILE).exists()


def test_a_severity_that_is_none_is_kept_and_counts_as_a_warning(house):
    security.log_security_event("x", severity="panic")
    assert (records(house)[0]["severity"], records(house)[0]["data"]) == ("WARNING", {"severity_given": "panic"})


def test_nothing_that_fails_comes_out_and_it_is_told(house, monkeypatch):
    told = []
    monkeypatch.setattr(hooks, "failed", lambda place, error: told.append((place, type(error).__name__)) or False)

    def hook(_record):
        raise ValueError("mine")

    security.on_security_event(hook)
    (house / trail.FILE).mkdir()
    assert not security.log_security_event("x")
    assert not security.limited("cause", "x", "", "WARNING", {})
    assert told == [
        ("security event", "ValueError"),
        ("security.event", "Unavailable"),
        ("security event", "ValueError"),
        ("security.limited", "Unavailable"),
    ]


def test_what_is_not_ours_passes(house, monkeypatch):
    security.belongs_to("../shop")
    monkeypatch.setattr(hooks, "failed", lambda _place, _error: True)
    with pytest.raises(Exception, match="cannot be an application's name"):
        security.log_security_event("x")
    with pytest.raises(Exception, match="cannot be an application's name"):
        security.limited("cause", "x", "", "WARNING", {})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "no"), "permission_denied"),
        (LoginDenied(), "permission_denied"),
        (AccessDenied, "permission_denied"),
        ("django.core.exceptions.SuspiciousOperation", "permission_denied"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "tls_failure"),
        (ssl.SSLError(1, "bad record"), "tls_failure"),
        (ssl.SSLWantReadError(), ""),
        (ssl.SSLEOFError(), ""),
        (Refused("the token is wrong"), "refused"),
        (AuthenticationError("hunter2"), "authentication_failure"),
        ("jwt.exceptions.ExpiredSignatureError", "authentication_failure"),
        ("azure.core.exceptions.ClientAuthenticationError", "authentication_failure"),
        (ConnectionRefusedError(), ""),
        (ValueError("password"), ""),
        (KeyError, ""),
        ("AuthorNotFound", ""),
        ("TokenizeError", ""),
    ],
)
def test_which_errors_matter_for_security_is_told_by_their_type(error, kind):
    assert security.security_relevant(error) == kind
    assert security.security_relevant(error) == kind


def test_an_error_that_matters_makes_one_event_a_minute_for_each_cause(house, monkeypatch):
    for _ in range(3):
        security.raised(PermissionError(13, "no"), "aa", "PermissionError: no", handled=True, operation="open")
    security.raised(ValueError("no"), "bb", "ValueError: no", handled=True)
    security.raised(ValueError("no"), "cc", "ValueError: no", handled=False)
    monkeypatch.setattr(_clock, "monotonic", lambda: 1061.0)
    security.raised(PermissionError(13, "no"), "aa", "PermissionError: no", handled=False)
    told = [(one["event_type"], one["severity"], one["data"].get("held_back")) for one in records(house)]
    assert told == [
        ("permission_denied", "WARNING", None),
        ("critical_error", "CRITICAL", None),
        ("permission_denied", "CRITICAL", 2),
    ]


def test_what_a_failed_login_says_is_left_out(house):
    security.raised(
        AuthenticationError("tried s3cr3tpass"), "aa", "AuthenticationError: tried s3cr3tpass", handled=True
    )
    assert "s3cr3tpass" not in (house / trail.FILE).read_text()


def test_a_flood_of_causes_is_bounded_and_what_was_held_back_is_counted(house, monkeypatch):
    for number in range(security.MOST + 30):
        security.limited(f"cause {number}", "x", "", "WARNING", {})
    assert len(records(house)) == security.MOST
    monkeypatch.setattr(_clock, "monotonic", lambda: 1061.0)
    security.limited("new", "x", "", "WARNING", {})
    assert records(house)[-1]["data"] == {"held_back": 30}
