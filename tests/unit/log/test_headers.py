"""What headers may bring in, and what they carry out."""

import pytest

from roadworthy.log import headers
from roadworthy.log.correlation import Bound

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "given",
    [f"00-{TRACE}-{SPAN}-01", f"  00-{TRACE}-{SPAN}-00 ", f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes"],
)
def test_a_valid_traceparent_is_taken(given):
    assert headers.parse_traceparent(given) == (TRACE, SPAN, given.strip()[53:55])


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[:-1]}-{SPAN}0-01",
        f"0-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        "x" * 10_000,
    ],
)
def test_an_invalid_one_is_passed_over(given):
    assert headers.parse_traceparent(given) is None
    assert headers.from_headers("", given) is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("req-7", "req-7"),
        (" a1B2:/+=._- ", "a1B2:/+=._-"),
        ("a" * 65, ""),
        ("two words", ""),
        ("forged\nline", ""),
        ("\x1b[31m", ""),
        ("", ""),
        ("ghp_" + "a1" * 18, ""),
    ],
)
def test_an_identifier_from_outside_has_the_form_of_one(given, kept):
    assert headers.identifier(given) == kept


def test_a_request_has_a_span_of_its_own_in_the_callers_trace():
    made = headers.from_headers("", f"00-{TRACE}-{SPAN}-01")
    assert (made.correlation, made.trace, made.flags) == (TRACE, TRACE, "01")
    assert made.span != SPAN
    assert headers.to_headers(made) == [
        ("X-Request-ID", TRACE),
        ("traceparent", f"00-{TRACE}-{made.span}-01"),
    ]


def test_the_request_id_is_the_correlation_where_both_are_given():
    made = headers.from_headers("req-7", f"00-{TRACE}-{SPAN}-01")
    assert (made.correlation, made.trace) == ("req-7", TRACE)


@pytest.mark.parametrize(
    ("bound", "sent"),
    [
        (Bound(), []),
        (Bound("req-7"), [("X-Request-ID", "req-7")]),
        (Bound("req-7", trace="no trace", span="x"), [("X-Request-ID", "req-7")]),
    ],
)
def test_only_what_is_valid_goes_out(bound, sent):
    assert headers.to_headers(bound) == sent
