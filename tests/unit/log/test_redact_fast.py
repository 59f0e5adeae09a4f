"""The short cuts of redaction never let through what the whole way would have found."""

import re

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.log import redact as module
from roadworthy.log.redact import keys, one_line, redact, secret_key


def test_every_secret_word_and_pair_holds_one_of_the_parts_that_are_looked_for():
    words = {*keys._SECRET_WORDS, *("".join(pair) for pair in keys._SECRET_PAIRS)}
    assert [word for word in words if not any(part in word for part in module.SECRET_PARTS)] == []


@given(st.text("pPaAsSwWoOrRdDkKeEyY_-.1é tTnNiI", max_size=16))
def test_what_is_passed_over_without_looking_is_no_secret_key(key):
    assert keys._may_be_secret(key) or not keys._is_secret(key)


def test_a_remembered_text_is_harmless_and_a_secret_is_never_remembered():
    for _ in range(2):
        assert redact("loaded 3 sprites: fine") == "loaded 3 sprites: fine"
        assert redact("password=hunter2") == "password=[redacted]"
    assert "loaded 3 sprites: fine" in module._harmless
    assert not any("hunter2" in text for text in module._harmless)


def test_what_is_remembered_is_bounded():
    for number in range(5000):
        redact(f"text {number}")
        secret_key(f"key{number}")
    assert len(module._harmless) <= module._MOST_KEPT
    assert len(keys._keys) <= module._MOST_KEPT


_CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@given(st.text(st.characters(codec=None), max_size=30))
def test_no_control_character_stays_on_a_line_and_nothing_else_changes(text):
    assert _CONTROL.search(one_line(text)) is None
    plain = _CONTROL.sub("", text)
    assert one_line(plain) == plain
