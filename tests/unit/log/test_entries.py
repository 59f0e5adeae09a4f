"""What an entry becomes: its fields, redacted, on one line, whoever logs it."""

import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from roadworthy import _known, log
from roadworthy.log import correlation, fast, hook, line, pipeline, text
from roadworthy.log.correlation import CorrelationContext
from roadworthy.log.handler import Handler
from roadworthy.types import Secret


def test_an_entry_has_the_fields_that_queries_use(logs):
    with CorrelationContext("req-7", trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7"):
        log.logger("app.talk").info(
            "dialogue_generated",
            session_id="s1",
            response_time_ms=12,
            llm_response_time_ms=9.5,
            model="ClaudeHaikuModel",
        )
    entry = logs.entry()
    assert entry.pop("@timestamp").endswith("Z")
    assert entry.pop("pid") > 0
    assert entry == {
        "severity": "INFO",
        "message": "dialogue_generated",
        "event_type": "dialogue_generated",
        "logger": "app.talk",
        "service": "web",
        "environment": "production",
        "correlation_id": "req-7",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "session_id": text.session_mark("s1"),
        "response_time_ms": 12,
        "llm_response_time_ms": 9.5,
        "model": "ClaudeHaikuModel",
    }


def test_the_timestamp_is_iso_8601_in_utc_with_milliseconds():
    assert line.stamp(1_767_225_600_123_456_789) == "2026-01-01T00:00:00.123"


@pytest.mark.parametrize("who", ["ours", "logging", "structlog"])
def test_whoever_logs_the_entry_is_the_same(logs, who):
    if who == "structlog":
        import structlog

        log.configure_structlog(cache_logger_on_first_use=False)
        structlog.get_logger("app").warning("user_left", operation="detection", password="hunter22", n=1)
        structlog.reset_defaults()
    elif who == "logging":
        extra = {"operation": "detection", "password": "hunter22", "n": 1}
        logging.getLogger("app").warning("user_left", extra=extra)
    else:
        log.logger("app").warning("user_left", operation="detection", password="hunter22", n=1)
    entry = logs.entry()
    assert {key: entry[key] for key in ("severity", "message", "event_type", "operation", "password", "n")} == {
        "severity": "WARNING",
        "message": "user_left",
        "event_type": "user_left",
        "operation": "detection",
        "password": "[redacted]",
        "n": 1,
    }
    assert entry["correlation_id"].startswith("process-")
    assert entry["logger"] == "app"


@pytest.mark.parametrize("how", ["ours", "logging", "arguments"])
def test_an_exception_is_type_message_and_stack_without_secrets(logs, how):
    try:
        raise ValueError("api_key=sk-abcdefghijklmnopqrstuvwxyz for joe@example.com")  # noqa: TRY301 - it is to fail
    except ValueError as error:
        if how == "ours":
            log.logger("app").exception("it failed")
        elif how == "logging":
            logging.getLogger("app").exception("it failed")
        else:
            log.logger("app").error("it failed", exc_info=error)
    entry = logs.entry()
    assert entry["error.type"] == "ValueError"
    assert entry["error.message"] == "api_key=[redacted] for [email]"
    assert entry["error.stack"].startswith("Traceback (most recent call last):\n")
    assert "sk-abc" not in json.dumps(entry)


def test_a_session_is_told_by_a_mark_that_is_of_no_use_to_enter_it(logs, monkeypatch):
    token = correlation.bind_session("the-token-itself")
    log.logger("app").info("one")
    correlation.unbind(token)
    log.logger("app").info("two", session_id="the-token-itself")
    log.logger("app").info("three", nested={"session_id": "the-token-itself"})
    one, two, three = logs.entries()
    assert (
        one["session_id"] == two["session_id"] == three["nested"]["session_id"] == text.session_mark("the-token-itself")
    )
    assert "the-token" not in one["session_id"]
    monkeypatch.setattr(text, "sessions_plain", True)
    log.logger("app").info("four", session_id='pub"lic')
    assert logs.entry()["session_id"] == 'pub"lic'


def test_a_field_of_the_entry_replaces_that_of_the_context(logs):
    with CorrelationContext("outer", session_id="s1"):
        log.logger("app").info("one", correlation_id="own", session_id="s2")
    entry = logs.entry()
    assert (entry["correlation_id"], entry["session_id"]) == ("own", text.session_mark("s2"))


def test_the_event_type_may_be_given_and_is_the_name_otherwise(logs):
    log.logger("app").info("it went well", event_type="went_well")
    log.logger("app").info("went_well", event_type="other")
    log.logger("app").info("it went well")
    first, second, third = logs.entries()
    assert (first["event_type"], second["event_type"]) == ("went_well", "other")
    assert "event_type" not in third


def test_fields_that_are_called_like_ours_stand_beside_them(logs):
    log.logger("app").info("one", message="theirs", severity="theirs", logger="theirs")
    entry = logs.entry()
    assert (entry["message"], entry["severity"], entry["logger"]) == ("one", "INFO", "app")
    assert (entry["field_message"], entry["field_severity"], entry["field_logger"]) == ("theirs",) * 3


def test_extra_is_merged_as_logging_does_it(logs):
    log.logger("app").info("one", extra={"operation": "detection", "n": 2}, n=1)
    entry = logs.entry()
    assert (entry["operation"], entry["n"], "extra" in entry) == ("detection", 1, False)


def test_arguments_are_put_in_and_a_mistake_in_them_loses_nothing(logs):
    log.logger("app").info("%s of %d", "one", 2)
    log.logger("app").info("%d", "no number")
    log.logger("app").info("%(name)s", {"name": "value"})
    record = {"name": "app", "levelno": 20, "msg": "%d", "args": ("no number",)}
    Handler().handle(logging.makeLogRecord(record))  # not through the logger: pytest's own handler would object
    assert [entry["message"] for entry in logs.entries()] == ["one of 2", "%d no number", "value", "%d no number"]


def test_a_secret_that_is_split_over_arguments_is_found(logs):
    log.logger("app").info("password%s%s", "=", "hunter22")
    logging.getLogger("app").info("%s: %s", "api_key", "abcdef123456")
    assert [entry["message"] for entry in logs.entries()] == ["password=[redacted]", "api_key: [redacted]"]


def test_a_secret_value_that_becomes_known_is_found_in_what_was_written_before(logs):
    logger = log.logger("app")
    logger.info("opened with zebra-crossing-9", door="zebra-crossing-9")
    assert logs.entry()["door"] == "zebra-crossing-9"
    Secret("zebra-crossing-9")
    _known.add("zebra-crossing-9")
    text.forget_if_stale()
    assert text.messages == {}
    _known.forget()


def test_lines_cannot_be_forged_and_terminals_not_be_moved(logs):
    log.logger("app").info('x\n{"severity":"CRITICAL"}\x1b[2J\u2028', user="a\r\nb")
    raw = logs.getvalue()
    assert raw.count("\n") == 1
    entry = logs.entry()
    assert entry["message"] == 'x\\n{"severity":"CRITICAL"}\\x1b[2J\\u2028'
    assert entry["user"] == "a\\r\\nb"


def test_levels_are_those_of_logging_also_when_they_change(logs):
    logger = log.logger("app.levels")
    logging.getLogger("app.levels").setLevel(logging.WARNING)
    logger.info("no")
    logger.warning("yes")
    logging.getLogger("app.levels").setLevel(logging.NOTSET)
    logger.debug("yes")
    logging.disable(logging.INFO)
    logger.info("no")
    logging.disable(logging.NOTSET)
    logging.getLogger("app.levels").disabled = True
    logger.critical("no")
    logging.getLogger("app.levels").disabled = False
    logger.log("info", "yes")
    logger.log(15, "yes")
    assert [entry["message"] for entry in logs.entries()] == ["yes"] * 4
    assert logger.isEnabledFor(10)


def test_a_handler_of_the_programs_sees_our_entries_too(logs, monkeypatch):
    seen = []
    monkeypatch.setattr(fast, "_roots", logging.root.handlers)

    class Theirs(logging.Handler):
        def emit(self, record):
            seen.append((record.getMessage(), record.user))

    handler = Theirs()
    for owner in (logging.getLogger("app.sub"), logging.getLogger("app"), logging.root):
        log.logger("app.sub")._renew()
        owner.addHandler(handler)
        log.logger("app.sub").info("one of %s", 2, user="u", exc_info=None)
        owner.removeHandler(handler)
    assert seen == [("one of 2", "u")] * 3
    assert [entry["user"] for entry in logs.entries()] == ["u"] * 3


def test_without_a_configuration_entries_go_through_logging(clean, caplog):
    logging.root.addHandler(caplog.handler)
    log.logger("plain").warning("one", operation="x", name="theirs", stack_info=True)
    try:
        raise KeyError("k")  # noqa: TRY301 - it is to fail
    except KeyError:
        log.logger("plain").exception("two", extra={"a": 1})
    first, second = caplog.records
    assert (first.getMessage(), first.operation, first.field_name) == ("one", "x", "theirs")
    assert first.stack_info
    assert second.exc_info[0] is KeyError
    logging.root.removeHandler(caplog.handler)


def test_the_stack_of_who_logs_is_a_field_where_it_is_asked_for(logs):
    log.logger("app").info("one", stack_info=True)
    logging.getLogger("app").info("two", stack_info=True)
    for entry in logs.entries():
        assert "test_the_stack_of_who_logs" in entry["stack"]


def test_the_flight_recorder_is_told_of_entries_of_ours(logs):
    told = []
    hook.recorder = lambda *entry: told.append(entry)
    with CorrelationContext("req-7"):
        log.logger("app").info("one", n=1, password="hunter22", name="x", s=1.5)
        error = ValueError("x")
        log.logger("app").error("two", exc_info=error)
    first, second = told
    fields = ',"correlation_id":"req-7","n":1,"password":"[redacted]","name":"x","s":1.5'
    assert (first[:4], first[5]) == ((20, "app", "one", fields), None)
    assert second[:3] == (40, "app", "two")
    assert json.loads("{" + second[3][1:] + "}")["error.type"] == "ValueError"
    assert second[5] is error


def test_what_fails_in_a_log_call_does_not_reach_the_program(logs, monkeypatch):
    seen = []
    monkeypatch.setattr(hook, "failed", lambda place, error: seen.append((place, error)))
    monkeypatch.setattr(pipeline.current, "everything", (lambda made, now: 1 / 0,))
    log.logger("app").info("one")
    logging.getLogger("app").info("two")
    assert [place for place, _ in seen] == ["log", "log handler"]


def test_the_own_str_of_a_value_may_fail(logs):
    class Hostile:
        def __str__(self):
            raise RuntimeError

    class Lying(dict):
        def items(self):
            raise RuntimeError

    log.logger("app").info(Hostile(), value=Hostile(), map=Lying(a=1), number=10**5000, card=4111111111111111)
    entry = logs.entry()
    assert (entry["message"], entry["value"], entry["map"]) == ("<Hostile>", "<Hostile>", "<Lying>")
    assert entry["number"] == "a number of very many digits"
    assert entry["card"] == "[card]"


NESTED = {"a": {"token": "x", "b": [1, None, True, 2.5, ("t", b"\xff")], "c": {1}}, "deep": [[[[[[[["x"]]]]]]]]}


def test_nested_values_are_looked_through_to_their_ground(logs):
    round_ = []
    round_.append(round_)
    log.logger("app").info("one", nested=NESTED, round=round_, nan=float("nan"), data=b"\x00\xffabc")
    entry = logs.entry()
    assert entry["nested"]["a"] == {"token": "[redacted]", "b": [1, None, True, 2.5, ["t", "\\xff"]], "c": [1]}
    assert "x" not in json.dumps(entry["nested"]["deep"])
    assert "[…]" in json.dumps(entry["round"], ensure_ascii=False)
    assert entry["nan"] == "nan"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.characters()
VALUES = st.recursive(
    SCALARS | st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp", "Cf"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(message=VALUES, fields=st.dictionaries(st.text(max_size=12), VALUES, max_size=5), form=st.booleans())
@example(message="\ud800", fields={"\ud800": "\ud800\x1b"}, form=True)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_entry_is_one_valid_line_without_control_characters(logs, message, fields, form):
    pipe = pipeline.current
    pipe.json = form
    fields.pop("exc_info", None)
    fields.pop("stack_info", None)
    log.logger("law").info(message, **fields)
    pipe.write("law", 20, message, fields)
    raw = logs.getvalue()
    logs.seek(0)
    logs.truncate()
    pipe.json = True
    assert raw.count("\n") == 2
    assert raw.endswith("\n")
    assert not {unicodedata.category(char) for char in raw if char not in "\n\t"} & {"Cc", "Cs", "Zl", "Zp"}
    raw.encode()
    if form:
        for one in raw.splitlines():
            entry = json.loads(one, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
            assert entry["severity"] == "INFO"


def test_lines_for_people_are_readable_and_a_stack_is_marked_as_one(logs):
    pipeline.current.json = False
    with CorrelationContext("req-7"):
        log.logger("app").info("dialogue_generated", response_time_ms=12, name="two words")
    try:
        1 / 0  # noqa: B018 - it is to fail
    except ZeroDivisionError:
        log.logger("app").exception("it failed")
    first, second, *stack = logs.getvalue().splitlines()
    assert first[24:] == ' INFO     app: dialogue_generated response_time_ms=12 name="two words" correlation_id=req-7'
    assert second[24:] == ' ERROR    app: it failed error.type=ZeroDivisionError error.message="division by zero"'
    assert all(one.startswith("    | ") for one in stack)
    head, body = pipeline.current.head("app", 40), line.body({"n": 1})
    coloured = line.for_people(head, 0, "x", correlation.NOTHING, body, colour=True)
    assert coloured == "1970-01-01T00:00:00.000Z \x1b[31mERROR   \x1b[0m app: x\x1b[2m n=1\x1b[0m"


def test_structlog_processors_serve_a_chain_of_the_programs_own():
    event = {"event": "password=hunter22", "session_id": "s1", "token": "x", "n": 1, "nested": {"pin": "1"}}
    with CorrelationContext("req-7", session_id="s2"):
        made = log.redact_event(None, "info", log.add_correlation(None, "info", event))
    assert made == {
        "event": "password=[redacted]",
        "session_id": text.session_mark("s1"),
        "token": "[redacted]",
        "n": 1,
        "nested": '{"pin":"[redacted]"}',
        "correlation_id": "req-7",
    }


def test_structlogs_dictionaries_that_come_through_logging_are_fields(logs):
    logging.getLogger("app").warning({"event": "went", "n": 1, "_logger": 1, "_name": "x"})
    entry = logs.entry()
    assert (entry["message"], entry["n"], "_name" in entry) == ("went", 1, False)


def test_the_names_of_the_package_are_found_when_they_are_asked_for():
    assert sys.modules["roadworthy.log"].logger is log.logger
    assert "configure" in dir(log)
    with pytest.raises(AttributeError):
        log.nothing  # noqa: B018 - it is to fail
