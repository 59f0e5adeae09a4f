"""Errors: one cause has one fingerprint, every occurrence is counted, no secret is kept."""

import pytest

import roadworthy as rw
from roadworthy.app import errors


def raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - any
        return error
    raise AssertionError("nothing was raised")


def parse(text):
    raise ValueError(f"cannot parse {text!r}")


def load(path):
    raise ValueError(f"cannot parse {path!r}")


def chained(inner, outer=RuntimeError):
    try:
        raise inner  # noqa: TRY301 - the chain is the point
    except Exception as error:
        raise outer("it broke") from error


def recurse(n):
    if n:
        recurse(n - 1)
    raise ValueError("deep")


def test_the_same_place_and_cause_have_the_same_fingerprint():
    assert errors.fingerprint(raised(parse, "a")) == errors.fingerprint(raised(parse, "b"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (raised(parse, "a"), raised(load, "a")),
        (raised(chained, KeyError("k")), raised(chained, OSError("k"))),
        (raised(chained, KeyError("k")), raised(chained, KeyError("k"), ValueError)),
        (ValueError("disk"), ValueError("network")),
        (ValueError("x"), TypeError("x")),
    ],
)
def test_another_place_chain_message_or_type_has_another(one, other):
    assert errors.fingerprint(one) != errors.fingerprint(other)


def test_line_numbers_do_not_matter():
    source = "def broken():\n{}    raise ValueError('x')\n"
    found = set()
    for padding in ("", "    a = 1\n    b = 2\n"):
        space = {"__name__": "program"}
        exec(compile(source.format(padding), "program.py", "exec"), space)  # noqa: S102 - a program of our own
        found.add(errors.fingerprint(raised(space["broken"])))
    assert len(found) == 1


class Frame:
    """As much of a traceback as walking past it needs; its frame must not be asked for."""

    def __init__(self, number, tb_next):
        self.number, self.tb_next = number, tb_next


@pytest.mark.parametrize(
    ("depth", "most", "first"), [(0, 3, None), (2, 3, 0), (3, 3, 0), (4, 3, 1), (100_000, 3, 99_997)]
)
def test_of_a_deep_traceback_only_the_last_frames_are_looked_at(depth, most, first):
    trace = None
    for number in reversed(range(depth)):
        trace = Frame(number, trace)
    found = errors.last_frames(trace, most)
    assert (found and found.number) == first
    while trace is not None:
        trace = trace.tb_next  # taken apart from its beginning: freeing it as a whole would recurse


def test_the_depth_of_a_recursion_does_not_matter():
    assert errors.fingerprint(raised(recurse, 3)) == errors.fingerprint(raised(recurse, 300))


def test_frames_of_the_standard_library_do_not_matter():
    import json

    assert errors._own_frames(raised(json.loads, "{").__traceback__) == [f"{__name__}.raised"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("timeout after 30.5 s on host 10.0.0.7", "timeout after * s on host *"),
        ("object at 0x7f3a2b", "object at *"),
        ("job 123e4567-e89b-12d3-a456-426614174000 failed", "job * failed"),
        ("no such file: '/data/a b.sfc'", "no such file: *"),
        ("cannot open /var/lib/app/17.db now", "cannot open * now"),
        ("GET https://api.example.com/v1/x?y=2 failed", "GET * failed"),
        ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit *"),
        ('key "alpha" missing', "key * missing"),
        ("the deadbeat decade", "the deadbeat decade"),
        ("", ""),
    ],
)
def test_what_varies_is_taken_out_of_messages(message, expected):
    assert errors.normalise(message) == expected


def test_an_error_is_counted_and_remembered_with_its_traceback(seen):
    error = raised(parse, "x")
    found = rw.error(error, operation="reading")
    assert seen.count("errors", operation="reading", type="ValueError") == 1
    (event,) = seen.errors()
    assert event.fields["fingerprint"] == found == errors.fingerprint(error)
    assert event.fields["type"] == "ValueError"
    assert event.fields["operation"] == "reading"
    assert event.fields["handled"] == "true"
    assert "in parse" in event.fields["traceback"]
    assert event.text == "cannot parse 'x'"


def test_a_type_or_its_name_with_a_message_will_do(seen):
    rw.error("ExtractionError", "tile 7 is broken", "sprite_extraction")
    rw.error(KeyError, "k", "sprite_extraction")
    assert seen.count("errors", type="ExtractionError", operation="sprite_extraction") == 1
    assert seen.count("errors", type="KeyError") == 1
    assert [event.text for event in seen.errors()] == ["tile 7 is broken", "k"]


def test_the_same_exception_on_its_way_up_is_counted_once(seen):
    with pytest.raises(ValueError, match="x"), rw.operation("err.outer"), rw.operation("err.inner"):
        raise ValueError("x")
    assert seen.count("errors") == 1
    assert seen.count("operation.duration", outcome="failure") == 2


def test_the_same_error_again_is_counted_again(seen):
    for _ in range(5):
        with pytest.raises(ValueError, match="x"), rw.operation("err.again"):
            raise ValueError("x")
    assert seen.count("errors", operation="err.again") == 5
    assert len({event.fields["fingerprint"] for event in seen.errors()}) == 1


def test_what_nobody_caught_says_so_without_being_counted_twice(seen):
    error = raised(parse, "x")
    errors.record(error, operation="a")
    errors.record(error, operation="a", handled=False)
    assert seen.count("errors") == 1
    assert [event.fields["handled"] for event in seen.errors()] == ["true", "false"]


def test_no_secret_is_kept_in_message_traceback_or_context(seen):
    def login(password):
        raise PermissionError(f"refused: password={password} at https://bob:{password}@host/")

    rw.error(raised(login, "hunter2"), operation="login", token="hunter2")
    (event,) = seen.errors()
    assert "hunter2" not in repr(event)


def test_an_exception_whose_text_fails_is_recorded_all_the_same(seen):
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError("no text")

        __repr__ = __str__

    rw.error(Broken(), operation="broken")
    assert seen.count("errors", operation="broken") == 1


def test_a_circle_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert len(errors.fingerprint(first)) == 16


def test_an_error_outside_an_argument_belongs_to_the_operation_around(seen):
    with rw.operation("err.around"):
        rw.error("Odd", "x")
    assert seen.count("errors", operation="err.around", type="Odd") == 1


def test_what_is_remembered_is_bounded():
    for n in range(2000):
        errors.normalise("x" * n)
    assert len(errors._messages) <= errors._KEPT


def test_a_large_traceback_keeps_its_end(seen):
    error = raised(recurse, 900)
    text = errors.traceback_text(error)
    assert len(text) <= errors.LONGEST_TRACEBACK + 1
    assert text.endswith("ValueError: deep")


def test_sampled_errors_are_all_counted_and_the_kept_ones_say_for_how_many_they_stand(seen):
    errors.sample(0.25)
    try:
        for _ in range(10):
            rw.error("Sampled", "again and again", "sampling")
        errors.record(ValueError("nobody caught it"), handled=False)
    finally:
        errors.sample(1.0)
    told = seen.errors()
    assert seen.count("errors", operation="sampling", type="Sampled") == 10
    assert [event.fields.get("weight", "1") for event in told] == ["1", "4", "4", "1"]
    assert told[-1].fields["handled"] == "false"
