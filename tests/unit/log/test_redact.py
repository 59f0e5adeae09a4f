"""Redaction, both sides: planted secrets never come through, harmless text is left alone."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.log.redact import one_line, redact, redact_argv, redact_value, secret_key

S = "hunter2Xq9"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END RSA PRIVATE KEY-----"

SECRETS = [
    f"password={S}",
    f"PASSWORD: {S}",
    f"db_password = {S}",
    f"dbPassword={S}",
    f"passwd={S}&x=1",
    f"passphrase => {S}",
    f"{{'password': '{S} and more'}}",
    f'{{"api_key": "{S}"}}',
    f'{{\\"password\\": \\"{S}\\"}}',
    f"['password']='{S}'",
    f"login(password={S})",
    f"outer={{'a': {{'password': '{S}'}}}}",
    f"note='token={S}'",
    f'msg="password: {S}"',
    f"a:b:password:{S}",
    f"api key: {S}",
    f"apiKey={S}",
    f"client_secret={S}",
    f"AWS_SECRET_ACCESS_KEY={S}/+x",
    f"private_key: {S}",
    f"x-auth-token: {S}",
    f"credentials={S}",
    f"session_id={S}",
    f"Authorization: Bearer {S}abc.def",
    f"authorization: Digest username={S}",
    f"Authorization: Basic {S}",
    f"Proxy-Authorization: {S}",
    f"Cookie: a={S}; b={S}",
    f"Set-Cookie: sid={S}; Path=/",
    f"Bearer {S}{S}",
    f"https://host/?token={S}&b=1",
    f"postgres://user:{S}@host/db",
    f"redis://:{S}@host:6379/0",
    f"sk-{S}{S}",
    f"sk_live_{S}{S}",
    f"ghp_{S}{S}{S}",
    f"github_pat_{S}{S}",
    f"glpat-{S}{S}",
    f"xoxb-{S}{S}",
    f"AIza{S}{S}{S}{S}",
    f"eyJ{S}{S}.{S}.{S}",
    f"pypi-{S}{S}",
    f"hf_{S}{S}",
    PEM,
    f"token='{S}",
    f"--password={S}",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_does_not_come_through(text):
    for around in (text, f"before {text}", f"{text} after", f"GET /x\n{text}\nend", f"a=1, {text}"):
        assert S not in redact(around), redact(around)


@pytest.mark.parametrize("text", SECRETS)
def test_redacting_twice_changes_nothing(text):
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail bob@example.com now", "mail [email] now"),
        ("card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("card 4111-1111-1111-1111", "card [card]"),
        ("378282246310005", "[card]"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted] used"),
        ("password=x, user=bob", "password=[redacted], user=bob"),
        ("https://u:p@host/path", "https://u:[redacted]@host/path"),
    ],
)
def test_the_text_around_stays(text, expected):
    assert redact(text) == expected


HARMLESS = [
    "compass: north",
    "tokenizer: bpe",
    "keyboard: us",
    "max_tokens=512",
    "total_tokens: 90",
    "token_count=5",
    "tokens: 512",
    "monkey: banana",
    "key: value",
    "primary_key=3",
    "foreign key: id",
    "sort_key=a",
    "author: Bob",
    "bypass=1",
    "passed: 10, failed: 2",
    "passenger=Ann",
    "secretary: Ann",
    "session: started",
    "authenticated: True",
    "spin: 1",
    "password_reset_required: True",
    "cookie_name=sid",
    "GET /a:8000/x",
    "Basic training starts at 9",
    "bearer of bad news",
    "token ring network",
    "http://host:8000/a?b=c",
    "git@github.com:x/y",
    "@app.route: x",
    "x@y",
    "2026-11-21 12:00:00,123",
    "uuid 123e4567-e89b-12d3-a456-426614174000",
    "1700000000000000000",
    "4111111111111112",
    "hash: 5d41402abc4b2a76b9719d911017c592",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "version 1.2.3-rc.1+build.5",
    "risk-assessment-of-the-quarter",
    "eyJ is how a token begins",
    "the ghost-in-the-shell",
    "",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_left_alone(text):
    assert redact(text) == text


@given(
    st.text(max_size=200),
    st.sampled_from(["password", "api_key", "apiKey", "DB_SECRET", "auth-token", "client_secret"]),
    st.sampled_from(["=", ": ", " = ", "="]),
    st.text(string.ascii_letters + string.digits, min_size=12, max_size=40),
)
def test_a_planted_secret_is_never_in_the_output(before, key, between, secret):
    planted = f"pl4nted{secret}"
    assert planted not in redact(f"{before} {key}{between}{planted}")


@given(st.text(max_size=400))
def test_any_text_is_taken_and_once_is_enough(text):
    once = redact(text)
    assert redact(once) == once


@given(st.text(st.sampled_from("\"'=:@{}[]()\\ ,;pastoken_key-0123"), max_size=120))
def test_text_made_of_punctuation_is_taken_too(text):
    redact(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["a" * 200_000, "a=" * 50_000, "'" * 100_000, "password=" * 10_000, "1 " * 60_000, "a.b@" * 30_000]
)
def test_long_hostile_text_takes_no_long_time(text):
    assert len(redact(text)) <= 200_000


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("password", True),
        ("user.password", True),
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("api-key", True),
        ("X-Api-Key", True),
        ("accessToken", True),
        ("refresh_token", True),
        ("Authorization", True),
        ("private_key_pem", True),
        ("token2", True),
        ("email", True),
        ("compass", False),
        ("tokenizer", False),
        ("keyboard", False),
        ("key", False),
        ("tokens", False),
        ("max_tokens", False),
        ("password_length", False),
        ("author", False),
        ("trace_id", False),
        ("span_id", False),
        ("", False),
        ("…", False),
    ],
)
def test_keys_are_told_by_their_words(key, secret):
    assert secret_key(key) is secret


def test_a_value_is_hidden_by_its_key_or_its_shape():
    assert redact_value("password", "x") == "[redacted]"
    assert redact_value("note", "token=abc") == "token=[redacted]"
    assert redact_value("size", 7) == "7"


def test_one_line_forges_no_line_and_moves_no_cursor():
    assert one_line("plain ü text") == "plain ü text"
    assert one_line("a\nb\r\x1b[2Jc\x00\u202e\u2028") == "a\\nb\\r\\x1b[2Jc\\x00\\u202e\\u2028"


@given(st.text(max_size=200))
def test_one_line_is_always_one_line(text):
    assert len(one_line(text).splitlines()) <= 1
    assert one_line(one_line(text)) == one_line(text)


def test_a_command_line_hides_what_follows_a_secret_option():
    shown = redact_argv(["app.py", "--user", "bob", "--password", S, f"--token={S}", "--verbose"])
    assert shown == "app.py --user bob --password [redacted] --token=[redacted] --verbose"
