"""Log records are seen whatever the program does with logging, and formatted once."""

import io
import logging
import logging.config
import os
import subprocess
import sys

import pytest

from roadworthy.app import start
from roadworthy.app.inject import patch
from roadworthy.app.integrations import logs, series
from roadworthy.arena import reader
from roadworthy.arena.writer import Arena
from roadworthy.log import hook, security


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """This process's logging, watched for one test."""
    made = Arena.create(tmp_path / "arenas", "test")
    monkeypatch.setattr(start, "_arena", made)
    original = logging.Logger.callHandlers
    series.forget()
    logs._counters.clear()
    logs.install(logging)
    yield made
    logging.Logger.callHandlers = original
    series.forget()
    logs._counters.clear()
    made.close()


def told(arena):
    with reader.Reader(arena.path) as view:
        return [(event.source, event.level, event.text) for event in view.events(dead=False)[0] if event.kind == "log"]


def counted(arena):
    with reader.Reader(arena.path) as view:
        return {
            tuple(dict(found.labels).values()): found.value for found in view.series() if found.name == "log.records"
        }


class Loud:
    """Counts how often it is formatted."""

    def __init__(self):
        self.times = 0

    def __str__(self):
        self.times += 1
        return "loud"


def test_a_message_is_formatted_once_and_by_the_programs_handler(watched):
    loud = Loud()
    logger = logging.getLogger("one.two.three")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logger.warning("it is %s", loud)
    assert loud.times == 1
    assert told(watched)[-1] == ("one.two.three", 30, "it is loud")
    assert counted(watched)["warning", "one.two"] == 1


def test_a_record_without_handlers_counts_and_is_formatted_by_us(watched):
    logger = logging.getLogger("alone")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.error("password=%s", "hunter2")
    assert told(watched)[-1] == ("alone", 40, "password=[redacted]")


def test_what_the_level_holds_back_is_not_counted(watched):
    logger = logging.getLogger("quiet")
    logger.setLevel(logging.ERROR)
    logger.warning("held back")
    assert ("warning", "quiet") not in counted(watched)


def test_arguments_that_do_not_fit_raise_nothing_of_ours(watched, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger = logging.getLogger("unfit")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.error("%d", "no number")
    assert told(watched)[-1][2] == "%d"


def test_configuring_logging_anew_keeps_it_watched(watched):
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING", "handlers": []}}
    )
    logging.getLogger("after").error("seen")
    assert counted(watched)["error", "after"] == 1


def test_an_exception_in_a_handler_passes_and_the_record_counts(watched):
    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("no disk")

    logger = logging.getLogger("broken.handler")
    logger.propagate = False
    logger.addHandler(Broken())
    with pytest.raises(OSError, match="no disk"):
        logger.error("seen")
    assert counted(watched)["error", "broken.handler"] == 1


def test_structlogs_event_dictionary_is_told_by_its_event(watched):
    logger = logging.getLogger("structured")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.warning({"event": "order placed", "order": 7, "api_key": "abc"})
    with reader.Reader(watched.path) as view:
        event = view.events(dead=False)[0][-1]
    assert (event.text, event.fields["order"], event.fields["api_key"]) == ("order placed", "7", "[redacted]")


@pytest.mark.parametrize(("name", "label"), [("a", "a"), ("a.b", "a.b"), ("a.b.c.d", "a.b"), ("", "")])
def test_a_loggers_label_is_its_first_two_parts(name, label):
    assert logs.short(name) == label


def test_a_critical_record_is_a_security_event_once_a_minute_and_ours_are_none(watched, monkeypatch):
    heard = []
    monkeypatch.setattr(hook, "on_security_event", [heard.append])
    monkeypatch.setattr(security, "_causes", {})
    monkeypatch.setattr(security, "_window", [0.0, 0.0, 0.0])
    monkeypatch.setattr(security, "_app", "")
    monkeypatch.delenv("ROADWORTHY_APP", raising=False)
    for name in ("shop", "shop", "roadworthy.own"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        for level in (logging.ERROR, logging.CRITICAL):
            logger.log(level, "the till is open")
    (event,) = heard
    told = (event["event_type"], event["severity"], event["description"], event["data"])
    assert told == ("critical_error", "CRITICAL", "the till is open", {"logger": "shop"})


def test_the_wrapper_looks_like_the_original(watched):
    assert logging.Logger.callHandlers.__name__ == "callHandlers"
    assert getattr(logging.Logger.callHandlers, patch.MARK)


def test_importing_the_boot_module_loads_no_library_to_instrument():
    code = (
        "import sys; from roadworthy.app.inject import boot; "
        "print([m for m in ('logging', 'socket', 'asyncio', 'http', 'sqlite3', 'subprocess') if m in sys.modules])"
    )
    # Where the tests are measured, the measuring itself would load some of these.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def access_logger():
    logger = logging.getLogger("uvicorn.access")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.NullHandler())
    return logger


def test_an_access_log_is_counted_whole_but_kept_in_rations(watched):
    logger = access_logger()
    for number in range(200):
        logger.info('%s - "GET /items/%d" 200', "127.0.0.1", number)
    assert counted(watched)["info", "uvicorn.access"] == 200
    kept = [text for source, _, text in told(watched) if source == "uvicorn.access"]
    assert logs.KEPT_A_SECOND <= len(kept) < 100, "as many as the seconds that it took allow"
    assert kept[0] == '127.0.0.1 - "GET /items/0" 200'


def test_warnings_of_an_access_log_are_kept_always(watched):
    logger = access_logger()
    for number in range(50):
        logger.warning("slow %d", number)
    assert [text for _, _, text in told(watched)] == [f"slow {number}" for number in range(50)]


def test_a_ration_is_renewed_each_second_and_when_the_clock_was_set():
    source = logs.Source(series_counter(), rationed=True)
    first = [source.may_keep(1000.0) for _ in range(logs.KEPT_A_SECOND + 5)]
    assert first == [True] * logs.KEPT_A_SECOND + [False] * 5
    assert source.full_until == 1001.0
    assert not source.may_keep(1000.9)
    assert source.may_keep(1001.1)
    assert source.may_keep(500.0), "the clock was set back"


def series_counter():
    from roadworthy.arena import files, hot

    memory = files.private_memory(4096)
    return hot.Counter(hot.Cell(memory.q, memory.d, memory.b), 8, 0)
