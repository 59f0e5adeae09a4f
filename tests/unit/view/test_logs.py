"""Entries are taken out of what is written, chosen and drawn."""

import json
import re

import pytest

from roadworthy import log
from roadworthy.log import correlation, line, text
from roadworthy.view import logs
from roadworthy.view.logs import Entry, Wanted

AT = 1_767_225_600_123_000_000


def written(form, level=20, error=None, **fields):
    """Return the lines of an entry as our own pipeline writes it."""
    head = line.Head("app.talk", level, line.NAMES[level], line.static("web", "production", 42))
    bound, made = correlation.Bound("req-7"), line.body(fields, error)
    if form == "json":
        return line.as_json(head, AT, text.message("it went"), bound, made).split("\n")
    return line.for_people(head, AT, "it went", bound, made).split("\n")


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_our_pipeline_writes_is_read_back(form):
    try:
        1 / 0  # noqa: B018 - it is to fail
    except ZeroDivisionError as error:
        lines = written(form, 40, error, operation="detection", say='two "words"', n=7)
    (entry,) = logs.forwards(lines)
    assert (entry.at, entry.level, entry.source, entry.text) == (1_767_225_600.123, "error", "app.talk", "it went")
    assert (entry.correlation, entry.fields["operation"], entry.fields["say"]) == ("req-7", "detection", 'two "words"')
    assert str(entry.fields["n"]) == "7"
    assert entry.stack[0] == "Traceback (most recent call last):"
    assert entry.stack[-1] == "ZeroDivisionError: division by zero"
    assert entry.pid == (42 if form == "json" else None)


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_entry_that_was_only_printed_is_shown_as_one(form):
    event = {"kind": "output", "at": 1.0, "level": "info", "source": "stdout", "pid": 42, "text": written(form, 10)[0]}
    entry = logs.from_event(event)
    assert (entry.at, entry.level, entry.source, entry.text, entry.pid) == (
        1_767_225_600.123,
        "debug",
        "app.talk",
        "it went",
        42,
    )


@pytest.mark.parametrize("given", ["plain text", "{not json", "[1]", '{"a": ' * 2000, ""])
def test_what_is_no_entry_of_ours_is_shown_as_it_is(given):
    entry = logs.parse(given)
    assert (entry.at, entry.level, entry.text) == (None, "", given)


@pytest.mark.parametrize(
    "given",
    [
        {"timestamp": "2026-01-01T00:00:00Z", "level": "warning", "event": "structlog's"},
        {"timestamp": "nonsense", "levelname": "WARNING", "msg": "json logger's"},
    ],
)
def test_json_of_other_libraries_is_understood(given):
    entry = logs.parse(json.dumps(given))
    assert entry.level == "warning"
    assert entry.text.endswith("'s")


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(level=40), False),
        (Wanted(level=30), True),
        (Wanted(since=99.0), True),
        (Wanted(since=101.0), False),
        (Wanted(correlation="req-7"), True),
        (Wanted(correlation="t1"), True),
        (Wanted(correlation="other"), False),
        (Wanted(grep=re.compile("Haiku")), True),
        (Wanted(grep=re.compile("^WARNING app: slow")), True),
        (Wanted(grep=re.compile("frame 2")), True),
        (Wanted(grep=re.compile("Sonnet")), False),
    ],
)
def test_entries_are_chosen(wanted, takes):
    fields = {"correlation_id": "req-7", "trace_id": "t1", "model": "ClaudeHaikuModel"}
    assert wanted.takes(Entry(100.0, "warning", "app", "slow", fields, stack=("frame 1", "frame 2"))) is takes


def test_entries_of_several_workers_stand_in_their_order():
    entries = [Entry(2.0, "", "", "b"), Entry(None, "", "", "b2"), Entry(1.0, "", "", "a"), Entry(3.0, "", "", "c")]
    assert [entry.text for entry in logs.order(entries)] == ["a", "b", "b2", "c"]


def test_what_is_shown_is_redacted_and_clean_once_more():
    fields = {"token": "x", "say": "a b", "user": "joe@example.com"}
    stack = ("api_key=sk-abcdefghijklmnopqrstuvwxyz",)
    entry = Entry(0.0, "error", "app", "password=hunter22", fields, 7, stack)
    first, second = logs.draw(entry)
    assert first[24:] == 'ERROR    [7] app: password=[redacted]  token=[redacted] say="a b" user=[email]'
    assert second == "    | api_key=[redacted]"
    shown = json.loads(logs.to_json(entry))
    assert (shown["message"], shown["token"], shown["say"]) == ("password=[redacted]", "[redacted]", "a b")
    assert shown["stack"] == "api_key=[redacted]"
    assert logs.draw(Entry(0.0, "info", "app", "\x1b[2J"))[0].endswith("app: \\x1b[2J")
    assert "\x1b[31mERROR" in logs.draw(entry, colour=True)[0]


def test_what_is_not_known_is_shown_as_not_known():
    entry = logs.parse("plain")
    assert logs.draw(entry) == ["- -        plain"]
    assert json.loads(logs.to_json(entry)) == {
        "@timestamp": None, "severity": None, "logger": None, "message": "plain", "pid": None,
    }  # fmt: skip


def test_the_identifier_of_a_whole_process_is_not_shown_to_people():
    entry = Entry(0.0, "info", "app", "one", {"correlation_id": "process-0123", "nested": {"pin": 1, "n": [1]}})
    assert "process-" not in logs.draw(entry)[0]
    assert json.loads(logs.to_json(entry))["nested"] == {"pin": "[redacted]", "n": [1]}


def test_events_that_are_logs_or_errors_are_entries_and_others_are_not():
    event = {"kind": "error", "at": 1.0, "level": "error", "source": "GET /", "text": "boom", "pid": 7,
             "fields": {"traceback": "one\ntwo", "correlation_id": "req-7"}}  # fmt: skip
    entry = logs.from_event(event)
    assert (entry.at, entry.pid, entry.stack, entry.correlation) == (1.0, 7, ("one", "two"), "req-7")
    assert logs.from_event({**event, "kind": "usage"}) is None
    assert logs.from_event({"kind": "log"}).at is None


def test_the_security_log_is_read_like_the_others():
    assert log is not None
    assert logs.parse('{"severity":"WARNING","message":"m","event_type":"e","attempts":3}').fields == {"attempts": 3}
