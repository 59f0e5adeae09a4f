"""Planted secrets by format and as programs leak them: none comes through; real text stays as it is."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.unit.log.corpus import formats, leaks

from roadworthy import _known
from roadworthy.log.redact import learn, learn_file, one_line, redact, redact_argv, redact_value

EACH = 300
AROUND = ("{}", "before {} after", 'x "{}", y', "a=1;b={};c", "({})", "\n{}\n", "é {} ü", "[{}]", "/{}/", "_{}", "{}.")
EXTENDING = re.compile(r"[A-Za-z0-9_\-+/=.%@~]")


@pytest.fixture
def known():
    _known.forget()
    redact("the environment is learnt before a test says what is known")
    yield _known
    _known.forget()


@pytest.mark.parametrize("name", formats.FORMATS)
def test_no_token_of_a_published_format_comes_through(name):
    for number, token in enumerate(formats.tokens(name, EACH)):
        text = AROUND[number % len(AROUND)].format(token)
        assert formats.core(token) not in redact(text), text


@pytest.mark.parametrize("name", formats.FORMATS)
def test_a_redacted_token_is_redacted_once(name):
    for token in formats.tokens(name, EACH // 10):
        once = redact(f"x {token} y")
        assert redact(once) == once


@pytest.mark.parametrize("name", formats.FORMATS)
def test_no_token_comes_through_under_a_harmless_key(name):
    token = formats.tokens(name, 1)[0]
    assert formats.core(token) not in redact_value("note", token)
    assert formats.core(token) not in redact_value("note", token.encode())
    assert formats.core(token) not in redact_argv(["app", token])


@given(st.data(), st.sampled_from(sorted(formats.FORMATS)), st.randoms(use_true_random=False))
def test_a_token_in_any_text_that_does_not_extend_it_is_gone(data, name, chance):
    token = formats.FORMATS[name](chance)
    before = data.draw(st.text(max_size=40))
    after = data.draw(st.text(max_size=40))
    assume(not EXTENDING.match(before[-1:]) and not EXTENDING.match(after[:1]))
    assume(not before[-1:].isalnum() and not after[:1].isalnum())
    assert formats.core(token) not in redact(f"{before}{token}{after}")


@pytest.mark.parametrize("name", leaks.CASES)
def test_what_a_program_leaks_does_not_come_through(name):
    text = leaks.planted(leaks.CASES[name])
    for around in (text, f"2026-11-21 12:00:00 ERROR app: {text}", f"a=1\n{text}\nb=2"):
        found = redact(around)
        assert leaks.SECRET not in found
        assert redact(found) == found
        if name not in leaks.NOT_IN_JSON:
            assert leaks.SECRET not in redact(json.dumps({"message": around}, ensure_ascii=False))


@pytest.mark.parametrize("name", leaks.KNOWN_ONLY | leaks.CASES)
@pytest.mark.parametrize("secret", [leaks.SECRET, "pä§s wörd/+&?\"'\\x"])
def test_a_known_value_is_taken_out_in_each_of_its_forms(known, name, secret):
    template = (leaks.KNOWN_ONLY | leaks.CASES)[name]
    known.add(secret)
    found = redact(leaks.planted(template, secret))
    for form in leaks.known_forms(secret).values():
        assert form.strip("'\"=")[4:-4] not in found or form not in leaks.planted(template, secret)


def test_a_text_that_was_harmless_is_not_once_its_value_is_known(known):
    assert redact("door opened by kingfisher7") == "door opened by kingfisher7"
    known.add("kingfisher7")
    assert redact("door opened by kingfisher7") == "door opened by [redacted]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("api_key: abcdef123456", "api_key: [redacted]"),
        ("password=abcdef!x9 and on", "password=[redacted] and on"),
        ("password=abcdef, next=1", "password=[redacted], next=1"),
        ("the token=abcdef.", "the token=[redacted]."),
        ("secret: 12abcdef34", "secret: [redacted]"),
        ("password='abcdef34'", "password='[redacted]'"),
    ],
)
def test_of_a_secret_that_begins_like_a_known_one_nothing_is_left(known, text, shown):
    known.add("abcdef")
    assert redact(text) == shown
    assert redact(shown) == shown


def test_any_number_of_known_values_is_found(known):
    values = [f"value{number:04d}of{number * 7919 % 10007}" for number in range(_known.MOST)]
    for value in values:
        known.add(value)
    assert [value for value in values if value in redact(f"x{value}y")] == []
    assert redact("nothing of it is in here") == "nothing of it is in here"


@given(st.text(min_size=6, max_size=40), st.text(max_size=30), st.text(max_size=30))
@example("]abcdefg[", "[", "]")
@example("redacted", "", "")
def test_a_known_value_is_gone_from_any_text(value, before, after):
    _known.forget()
    redact("first")
    if _known.add(value):
        bare = value.strip().strip("[]")
        text = f"{before}{bare}{after}"
        assume(bare not in f"{before}[redacted]{after}")
        assert bare not in redact(text)
    _known.forget()


def test_known_values_are_bounded_in_number_and_length(known):
    for number in range(_known.MOST * 2):
        known.add(f"another value {number}")
    known.add("x" * 100_000)
    assert len(known.values) == _known.MOST
    assert len(known.values[0]) == _known.LONGEST


@pytest.mark.parametrize("value", ["short", "", "      ", "redacted", "[redacted]", "dacted"])
def test_what_would_be_found_everywhere_is_not_looked_for(known, value):
    assert known.add(value) is False
    assert known.values == ()


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"DB_PASSWORD": "correct-horse"}, ("correct-horse",)),
        ({"DATABASE_URL": "postgresql://bob:w1nter%2Fsale@db/app"}, ("w1nter%2Fsale", "w1nter/sale")),
        ({"REDIS_URL": "redis://:w1ntersale@cache:6379/0"}, ("w1ntersale",)),
        ({"POSTGRES_PASSWORD": "postgres"}, ()),
        ({"API_KEY": "1234567"}, ()),
        ({"SECRET_FILE": "/run/secrets/x"}, ()),
        ({"PASSWORD_STORE_DIR": "/home/bob/store"}, ()),
        ({"TOKEN_URL": "https://login.example.org/token"}, ()),
        ({"HOME": "/home/somebody", "LANG": "de_DE.UTF-8"}, ()),
    ],
)
def test_the_environment_tells_what_is_secret(known, variables, found):
    learn(variables)
    assert sorted(known.values) == sorted(found)


def test_a_variable_that_is_set_later_is_known_from_the_next_text_on(known, monkeypatch):
    monkeypatch.setenv("LATE_API_TOKEN", "kingfisher-on-the-wire")
    assert redact("tell kingfisher-on-the-wire") == "tell [redacted]"


def test_a_file_of_assignments_is_learnt(known, tmp_path):
    path = tmp_path / ".env"
    path.write_text(
        "# comment\nexport API_KEY='first-of-them'\nDB_PASSWORD=\"second one\"\nX_TOKEN=third-of-them # why\n"
        "DEBUG=yes-please\n"
    )
    learn_file(str(path))
    assert sorted(known.values) == ["first-of-them", "second one", "third-of-them"]


def test_a_file_that_is_not_there_or_no_text_teaches_nothing(known, tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00=\x01\n" * 10)
    learn_file(str(tmp_path / ".env"))
    learn_file(str(tmp_path / "none"))
    learn_file(str(tmp_path))
    assert known.values == ()


def _false(lines):
    """Return lines that were changed; an address of mail in them is one, and is counted on its own."""
    changed = []
    for line in lines:
        found = redact(line)
        if found != line and "[redacted]" in found and found.count("[redacted]") > line.count("[redacted]"):
            changed.append((line, found))
    return changed


def test_of_real_text_below_one_line_in_a_thousand_is_changed(known, capsys):
    lines: list[str] = []
    size = 0
    paths = sorted(Path(os.__file__).parent.rglob("*.py"))
    for path in [*paths[::2], *paths[1::2]]:  # a half from everywhere; more where the library is small
        if size < 5_500_000 and {"site-packages", "test", "tests"}.isdisjoint(path.parts):
            text = path.read_text("utf-8", "replace")
            lines += text.splitlines()
            size += len(text)
    logs = (Path(__file__).parent / "corpus" / "harmless.log").read_text("utf-8").splitlines()
    changed = _false(lines)
    with capsys.disabled():
        print(
            f"\n  redaction: {len(changed)} of {len(lines)} lines changed in {size / 1e6:.1f} MB of source "
            f"({len(changed) / len(lines):.3%}), {len(_false(logs))} of {len(logs)} log lines"
        )
    assert size > 5_000_000
    assert len(changed) / len(lines) < 0.001
    assert _false(logs) == []


def test_mail_addresses_and_cards_in_real_text_have_their_own_marks(known):
    assert redact("written by bob@example.org") == "written by [email]"
    assert redact("paid with 4111 1111 1111 1111") == "paid with [card]"


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_is_taken_and_doing_it_twice_changes_nothing(text):
    once = redact(text)
    assert redact(once) == once
    assert len(one_line(once).splitlines()) <= 1


PIECES = st.sampled_from(
    [
        "password",
        "token",
        "api_key",
        "--secret",
        "cookie:",
        "Authorization",
        "=",
        ":",
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ",",
        ";",
        "&",
        "%3D",
        "%22",
        "\\",
        "\\n",
        "|",
        "<",
        ">",
        "</",
        "@",
        "://",
        "x1y2z3",
        "[redacted]",
        "name",
        "value",
        "Basic",
        "Bearer",
        "\x1b[0m",
        "\u200b",
        "\uff1a",
        "is",
        "for",
        "\n",
        " ",
        "- ",
        "curl -u",
        "-----BEGIN PRIVATE KEY-----",
    ]
)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_text_made_of_what_the_rules_look_for_is_redacted_once(text):
    once = redact(text)
    assert redact(redact(once)) == redact(once)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece",
    ["password ", "token=(", "'password', ", "<password>", "name=x value=", "curl -u ", "--token ", "a://b:", "key%3D",
     "\x1b[", "password\u0440", '="', "-----BEGIN PRIVATE KEY-----", "value=x name=", "abc.", "AT", "sk-",
     "password for ", "A" * 64 + "\n", "-----END PRIVATE KEY-----"],
)  # fmt: skip
def test_long_text_of_one_piece_takes_no_long_time(piece):
    redact(piece * (65_536 // len(piece)))
