"""``roadworthy secrets``: values come by standard input, are shown only when asked for; changes are in the trail."""

import json
import stat
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from roadworthy import _clock
from roadworthy.cli import secrets as module
from roadworthy.cli.secrets import secrets
from roadworthy.errors import EXIT_SECURITY, ConfigurationError, NotFound, Refused, Unavailable, UsageError

VALUE = "sk-ant-" + "0123456789abcdef"


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    """Be in a project of its own, with the encrypted file as the store."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / ".gitignore").write_text(".env\n")
    for name in ("AWS_SECRET_NAME", "AZURE_KEY_VAULT_URL", "CREDENTIALS_DIRECTORY", "ROADWORTHY_SECRETS_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SECRETS_BACKEND", "encrypted_file")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(folder)
    return folder


def run(*arguments, stdin="", code=0):
    """Run the command; raise what it raises, return what it prints."""
    done = CliRunner().invoke(secrets, list(arguments), input=stdin, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert done.return_value == code, done.output
    return done.output


def trail(tmp_path, app="shop"):
    path = tmp_path / "home" / "state" / app / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def acts(tmp_path):
    return [(record["act"], record["target"], record["result"]) for record in trail(tmp_path)]


def test_a_secret_is_set_by_standard_input_found_and_listed(tmp_path, monkeypatch):
    assert "API_KEY is in the encrypted file" in run("set", "API_KEY", "--reason", "new", stdin=VALUE + "\n")
    assert VALUE not in Path("secrets.enc.json").read_text()
    assert acts(tmp_path) == [("secrets set", "API_KEY", "done")]
    assert trail(tmp_path)[0]["reason"] == "new"
    assert trail(tmp_path)[0]["actor"]
    shown = run("get", "API_KEY")
    assert VALUE not in shown
    assert "API_KEY is there: 20 to 39 characters, from the encrypted file" in shown
    assert "changed just now" in shown
    assert run("list").splitlines()[0] == "API_KEY  changed just now"
    wall = _clock.wall()
    monkeypatch.setattr(_clock, "wall", lambda: wall + 2 * 86400 + 5)
    assert run("list").splitlines()[0] == "API_KEY  changed 2 days ago"
    assert run("list").splitlines()[1].startswith("1 secret in the encrypted file")


def test_only_reveal_prints_the_value_and_that_is_in_the_trail(tmp_path):
    run("set", "API_KEY", stdin=VALUE)
    assert run("get", "API_KEY", "--reveal") == VALUE + "\n"
    assert json.loads(run("get", "API_KEY", "--reveal", "--json")) == {"name": "API_KEY", "value": VALUE}
    assert acts(tmp_path)[1:] == [("secrets get --reveal", "API_KEY", "done")] * 2
    assert VALUE not in json.dumps(trail(tmp_path))


def test_machines_read_what_is_there_too():
    run("set", "API_KEY", stdin=VALUE)
    told = json.loads(run("get", "API_KEY", "--json"))
    assert (told["name"], told["length"]) == ("API_KEY", "20 to 39 characters")
    (row,) = json.loads(run("list", "--json"))["secrets"]
    assert row["name"] == "API_KEY"
    assert row["changed"] is not None


@pytest.mark.parametrize(
    ("length", "said"),
    [(1, "shorter than 8"), (8, "8 to 19"), (19, "8 to 19"), (20, "20 to 39"), (40, "40 characters or more")],
)
def test_of_a_length_only_the_class_is_told(length, said):
    run("set", "API_KEY", stdin="x" * length)
    assert said in run("get", "API_KEY")


def test_a_value_keeps_its_own_line_feeds_and_loses_the_last_one():
    run("set", "PEM", stdin="line one\nline two\n\n")
    assert run("get", "PEM", "--reveal") == "line one\nline two\n\n"


def test_at_a_terminal_the_value_is_asked_for_without_showing_it(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_terminal", lambda: True)
    monkeypatch.setattr(click, "prompt", lambda text, **options: asked.append((text, options["hide_input"])) or VALUE)
    run("set", "API_KEY")
    assert asked == [("Value of API_KEY", True)]
    assert run("get", "API_KEY", "--reveal") == VALUE + "\n"


def test_an_empty_value_is_refused():
    with pytest.raises(UsageError, match="value of API_KEY is empty"):
        run("set", "API_KEY", stdin="\n")


def test_no_value_is_taken_from_the_command_line():
    with pytest.raises(click.UsageError):
        run("set", "API_KEY", VALUE)


def test_what_is_not_there_is_said():
    with pytest.raises(NotFound, match="OTHER"):
        run("get", "OTHER")
    assert run("list").startswith("0 secrets in")


def test_a_store_that_is_read_only_says_where_to_put_it_and_the_trail_says_that_it_failed(tmp_path):
    with pytest.raises(UsageError) as caught:
        run("set", "API_KEY", "--backend", "env", stdin=VALUE)
    assert "SECRETS_BACKEND=encrypted_file" in caught.value.hint
    assert acts(tmp_path) == [("secrets set", "API_KEY", "failed")]
    with pytest.raises(ConfigurationError):
        run("list", "--backend", "nothing")


def test_of_the_environment_only_secrets_are_listed(monkeypatch):
    monkeypatch.setenv("SHOP_API_KEY", VALUE)
    monkeypatch.setenv("SHOP_PORT", "8000")
    shown = run("list", "--backend", "env")
    assert "SHOP_API_KEY" in shown
    assert "unknown" in shown
    assert "SHOP_PORT" not in shown


def test_a_removed_secret_is_gone(tmp_path):
    run("set", "API_KEY", stdin=VALUE)
    run("remove", "API_KEY", "--app", "till")
    with pytest.raises(NotFound):
        run("get", "API_KEY")
    assert [record["act"] for record in trail(tmp_path, "till")] == ["secrets remove"]


def test_a_trail_that_cannot_be_written_is_told_and_the_change_stays(tmp_path, monkeypatch, capsys):
    def full(_state, _record):
        raise Unavailable("cannot write the trail")

    monkeypatch.setattr("roadworthy.log.trail.append", full)
    shown = run("set", "API_KEY", stdin=VALUE)
    assert "the audit trail could not be written: cannot write the trail" in shown + capsys.readouterr().err
    assert run("get", "API_KEY")


# -- encrypt


def test_the_secrets_of_a_dotenv_are_moved_and_the_rest_stays(shop, tmp_path):
    (shop / ".env").write_text(f"# shop\nPORT=8000\nAPI_KEY={VALUE}\nKEEP_TOKEN=abcdefgh\n# was {VALUE}\n")
    before = (shop / ".env").read_text()
    assert "API_KEY would move" in run("encrypt", "--dry-run")
    assert (shop / ".env").read_text() == before
    assert trail(tmp_path) == []
    shown = run("encrypt", "--keep", "KEEP_TOKEN")
    assert "API_KEY moved" in shown
    assert "SECRETS_BACKEND=encrypted_file" in shown
    assert VALUE not in shown
    left = (shop / ".env").read_text()
    assert "PORT=8000" in left
    assert "KEEP_TOKEN=abcdefgh" in left
    assert f"API_KEY={VALUE}" not in left
    assert stat.S_IMODE((shop / ".env").stat().st_mode) == 0o600
    assert run("get", "API_KEY", "--reveal").strip() == VALUE
    assert acts(tmp_path)[0] == ("secrets encrypt", str(shop / ".env"), "done")


def test_a_comment_with_a_secret_in_it_is_told_by_its_line(shop, capsys):
    (shop / ".env").write_text(f"API_KEY=abcdefgh\n# was {VALUE}\n")
    assert ".env, line 2: a secret seems to stand in this comment" in run("encrypt") + capsys.readouterr().err


def test_a_dotenv_without_secrets_or_without_itself_is_said(shop):
    (shop / ".env").write_text("PORT=8000\n")
    assert "no secret in" in run("encrypt")
    with pytest.raises(UsageError, match="is not there"):
        run("encrypt", "--file", "absent.env")


# -- rotate


def test_a_value_is_renewed_confirmed_and_taken_back(tmp_path):
    run("set", "API_KEY", stdin="value-one")
    assert "kept until" in run("rotate", "API_KEY", stdin="value-two")
    assert run("get", "API_KEY", "--reveal") == "value-two\n"
    run("rotate", "API_KEY", "--undo")
    assert run("get", "API_KEY", "--reveal") == "value-one\n"
    run("rotate", "API_KEY", stdin="value-three")
    assert "is forgotten" in run("rotate", "API_KEY", "--confirm")
    with pytest.raises(NotFound, match="previous value"):
        run("rotate", "API_KEY", "--undo")
    assert acts(tmp_path)[-1] == ("secrets rotate --undo", "API_KEY", "failed")
    with pytest.raises(NotFound, match="OTHER"):
        run("rotate", "OTHER", stdin="value")


def test_the_key_is_renewed(tmp_path):
    run("set", "API_KEY", stdin=VALUE)
    before = Path("secrets.enc.json").read_text()
    assert "stays for copies" in run("rotate")
    assert Path("secrets.enc.json").read_text() != before
    assert "is forgotten" in run("rotate", "--forget-old-key")
    assert run("get", "API_KEY", "--reveal").strip() == VALUE
    assert acts(tmp_path)[1:3] == [("secrets rotate", "the key", "done")] * 2


@pytest.mark.parametrize(
    "options", [["--confirm"], ["--undo"], ["A", "--confirm", "--undo"], ["A", "--forget-old-key"]]
)
def test_options_that_do_not_go_together_are_refused(options):
    with pytest.raises(UsageError):
        run("rotate", *options)


# -- check


def test_a_planted_key_is_found_with_the_exit_code_of_security(shop):
    (shop / "app.py").write_text(f"KEY = '{VALUE}'\n")
    shown = run("check", code=EXIT_SECURITY)
    assert "app.py:1: a word with the shape of a key or token stands here" in shown
    assert "1 violation in 2 files" in shown
    assert "git does not tell" in shown
    assert VALUE not in shown
    told = json.loads(run("check", "--json", code=EXIT_SECURITY))
    assert [row["where"] for row in told["violations"]] == ["app.py:1"]
    assert run("check", "--exclude", "app.py").endswith("no violations in 1 file\n")


def test_the_values_of_the_projects_own_secrets_are_looked_for(shop):
    run("set", "SHOP_WORD", stdin="swordfish-and-chips")
    (shop / ".env").write_text("SHOP_PASSWORD=open-sesame-now\n")
    (shop / ".env").chmod(0o600)
    (shop / "notes.md").write_text("swordfish-and-chips\nopen-sesame-now\n")
    subprocess.run(["git", "init", "-q"], cwd=shop, check=True, timeout=60)
    subprocess.run(["git", "add", "."], cwd=shop, check=True, timeout=60)
    shown = run("check", code=EXIT_SECURITY)
    assert "notes.md:1: the value of the secret SHOP_WORD stands here" in shown
    assert "notes.md:2: the value of the secret SHOP_PASSWORD stands here" in shown
    assert "note: .env is plain text" in shown


def test_a_store_that_cannot_be_opened_is_noted(shop, tmp_path):
    run("set", "API_KEY", stdin=VALUE)
    (tmp_path / "config" / "roadworthy" / "secrets.key").chmod(0o644)
    assert "its values were not looked for" in run("check")
    with pytest.raises(Refused, match="may be read by others"):
        run("get", "API_KEY")
