"""``.env`` files are read as they are written, and rewritten so that nothing else in them changes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.config.secrets import dotenv
from roadworthy.config.secrets.dotenv import DotenvStore
from roadworthy.errors import ConfigurationError, NotFound, Refused, Unavailable
from support.crash_points import crash_points

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
PAGE = """\
# database
export DB_HOST=localhost   # where
DB_PASSWORD='p#ss w0rd'

KEY="line one
line two\\t\\"quoted\\" \\$HOME \\q"
EMPTY=
URL=postgres://u:p@h/db?a=b#frag
KEY2 = spaced
QUOTED="x"  # comment
LAST=no-line-feed"""


def test_each_form_is_read():
    assert dotenv.values(dotenv.parse(PAGE)) == {
        "DB_HOST": "localhost",
        "DB_PASSWORD": "p#ss w0rd",
        "KEY": 'line one\nline two\t"quoted" $HOME \\q',
        "EMPTY": "",
        "URL": "postgres://u:p@h/db?a=b#frag",
        "KEY2": "spaced",
        "QUOTED": "x",
        "LAST": "no-line-feed",
    }


def test_lines_together_are_the_file_and_have_their_numbers():
    lines = dotenv.parse(PAGE)
    assert "".join(line.raw for line in lines) == PAGE
    assert [line.number for line in lines if line.name] == [2, 3, 5, 7, 8, 9, 10, 11]


def test_line_ends_of_windows_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes('\ufeffA=1\r\nB="2"\r\n# c\r\n'.encode())
    assert dotenv.values(dotenv.read(path)) == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\nhush\n", 2), ("A='hush\n", 1), ('\nA="hush" hush\n', 2), ("=hush", 1), ("1A=hush", 1), ("A B=hush", 1)],
)
def test_what_is_no_assignment_is_said_with_its_line_and_not_quoted(text, line):
    with pytest.raises(ConfigurationError, match=rf"\.env, line {line} ") as caught:
        dotenv.parse(text)
    assert "hush" not in str(caught.value)


def test_what_is_no_text_is_said(tmp_path):
    for data in (b"\xff\xfe", b"A=1\0"):
        (tmp_path / ".env").write_bytes(data)
        with pytest.raises(ConfigurationError, match="not a text file"):
            dotenv.read(tmp_path / ".env")


@settings(max_examples=200)
@given(TEXT)
def test_any_value_is_read_back_as_it_was_written(value):
    text = f"A={dotenv.quoted(value)}\nB=b\n"
    assert dotenv.values(dotenv.parse(text)) == {"A": value, "B": "b"}


@settings(max_examples=200)
@given(TEXT)
def test_any_text_is_either_an_error_or_kept_whole(text):
    try:
        lines = dotenv.parse(text)
    except ConfigurationError:
        return
    assert "".join(line.raw for line in lines) == text


def test_a_line_shows_no_value():
    assert "hush" not in repr(dotenv.parse("A=hush"))


# -- as a store


def store_in(folder, text=PAGE, mode=0o600):
    (folder / ".env").write_text(text)
    (folder / ".env").chmod(mode)
    return DotenvStore(folder / ".env")


def text_of(folder):
    return (folder / ".env").read_text()


def test_a_value_is_changed_in_its_line_and_everything_else_stays(tmp_path):
    store = store_in(tmp_path)
    store.write("KEY", "new one")
    before, _, rest = PAGE.partition('KEY="')
    assert text_of(tmp_path) == before + "KEY='new one'\n" + rest.partition('\\q"\n')[2]


def test_a_new_value_comes_last_and_a_removed_one_takes_its_lines_with_it(tmp_path):
    store = store_in(tmp_path)
    store.write("NEW", "x")
    assert text_of(tmp_path) == PAGE + "\nNEW=x\n"
    for name in ("NEW", "KEY", "DB_PASSWORD"):
        store.remove(name)
    assert text_of(tmp_path) == (
        "# database\nexport DB_HOST=localhost   # where\n\nEMPTY=\nURL=postgres://u:p@h/db?a=b#frag\n"
        'KEY2 = spaced\nQUOTED="x"  # comment\nLAST=no-line-feed\n'
    )
    with pytest.raises(NotFound):
        store.remove("NEW")


def test_a_name_that_comes_twice_has_one_line_afterwards(tmp_path):
    store = store_in(tmp_path, "A=1\nB=b\nA=2")
    assert store.read("A")["A"].secret.reveal() == "2"
    store.write("A", "3")
    assert text_of(tmp_path) == "A=3\nB=b\n"


def test_an_empty_value_is_none(tmp_path):
    with pytest.raises(NotFound):
        store_in(tmp_path).read("EMPTY")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_file_that_others_may_read_is_refused_with_the_command_that_closes_it(tmp_path, mode):
    store = store_in(tmp_path, mode=mode)
    for act in (lambda: store.read("KEY"), store.entries, lambda: store.write("A", "b"), lambda: store.remove("KEY")):
        with pytest.raises(Refused, match="may be read by others") as caught:
            act()
        assert f"chmod 600 {tmp_path / '.env'}" in caught.value.hint


def test_without_a_file_there_is_nothing_and_the_first_value_makes_it(tmp_path):
    store = DotenvStore(tmp_path / ".env")
    assert store.entries() == ()
    with pytest.raises(NotFound):
        store.read("A")
    store.write("A", "1")
    assert text_of(tmp_path) == "A=1\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_is_said(tmp_path):
    (tmp_path / ".env").mkdir(mode=0o700)
    store = DotenvStore(tmp_path / ".env")
    for act in (lambda: store.read("KEY"), store.entries, lambda: store.write("A", "b")):
        with pytest.raises(Unavailable):
            act()


def test_a_link_stays_a_link(tmp_path):
    store_in(tmp_path, "A=1\n")
    (tmp_path / "link").symlink_to(".env")
    DotenvStore(tmp_path / "link").write("A", "2")
    assert (tmp_path / "link").is_symlink()
    assert text_of(tmp_path) == "A=2\n"


def test_a_crash_while_it_is_written_leaves_the_old_or_the_new_file(tmp_path):
    new = PAGE + "\nNEW=x\n"
    crashes = crash_points(
        lambda folder: DotenvStore(folder / ".env").write("NEW", "x"), tmp_path, store_in, power_cut=True
    )
    for crash in crashes:
        assert text_of(crash.folder) in ({new} if crash.finished else {PAGE, new}), crash
