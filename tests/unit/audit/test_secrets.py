"""A planted key is found, harmless text is not, and no finding shows what it found."""

import subprocess

import pytest

from roadworthy.audit.secrets import MARK, check, in_text, is_secret
from roadworthy.types import Secret

# Put together here, so that neither we nor anybody's scanner takes these lines for secrets.
PLANTED = {
    "anthropic": "sk-ant-api03-" + "Zk3vQ8xW1mT5rB7nL9pD2sF4gH6jK0cV",
    "openai": "sk-proj-" + "a8Kd93jfKs02LsmQpX71vbnR",
    "github": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "aws": "AKIA" + "Q3EGRT7HJ2KLM4NP",
    "slack": "xoxb-" + "1234567890-abcdefGHIJKL",
    "google": "AIza" + "SyD4k9fJ2mX8vQ1wE7rT5yU3iO6pA0sKLzx",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiI0MiJ9." + "dBjftJeZ4CVPmB92K27uhbUJU1p1r",
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("line", ["client = Client('{}')", "key: {}", "# old: {} (see wiki)", '{{"x": "{}"}}', "A={}"])
def test_a_planted_key_is_found_by_its_shape_in_any_file(kind, line):
    (found,) = in_text("\n" + line.format(PLANTED[kind]), "notes.txt")
    assert found.where == "notes.txt:2"
    assert PLANTED[kind] not in repr(found)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("app.py", "DB_PASSWORD = " + "'k3Jx92mQpLw8'"),
        ("app.py", 'connect(api_key="' + 'f00ba4ab12cd34ef")'),
        ("app.js", "const apiKey = " + "'9f8e7d6c5b4a3210'"),
        ("prod.env", "SECRET_KEY=" + "hg73jdk29fkslq01"),
        ("compose.yaml", "  - ELEVENLABS_API_KEY=" + "a91b82c73d64e55f"),
        ("app.toml", 'session_secret = "' + 'correcthorsebatterystaple"'),
        ("settings.json", '  "password": "' + 'tr0ub4dor&3xyz",'),
        ("notes.md", "postgres://shop:" + "h8s7d6f5@db.internal/shop"),
        ("id", "-----BEGIN RSA " + "PRIVATE KEY-----"),
        ("id", "-----BEGIN " + "PRIVATE KEY-----"),
        ("key.json", '"private": "-----BEGIN ' + 'PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0B"'),
        ("key", "# The key of a " + "roadworthy secrets file. Keep a copy in a safe place"),
    ],
)
def test_what_looks_like_a_secret_in_its_place_is_found(name, line):
    (found,) = in_text(line, name)
    assert found.hint
    assert line.rpartition("=")[2].strip("'\"),") not in found.what


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("app.py", 'password = os.environ["DB_PASSWORD"]'),
        ("app.py", "token: str = secrets.token_urlsafe(32)"),
        ("app.py", 'TOKEN_URL = "https://example.com/oauth2/token"'),
        ("app.py", 'password="password"'),
        ("app.py", 'api_key = "your-api-key-here-1234"'),
        ("app.py", 'key = "user_name_of_the_customer"'),
        ("app.py", 'max_tokens = "512 for the answer"'),
        (".env.example", "ANTHROPIC_API_KEY=sk-ant-your-key-goes-here"),
        (".env.example", "DATABASE_URL=postgres://user:password@localhost/db"),
        ("compose.yaml", "  PASSWORD: ${DB_PASSWORD}"),
        ("compose.yaml", "  PASSWORD_FILE: /run/secrets/db_password1"),
        ("app.toml", 'support_email = "help1@shop.example.org"'),
        ("app.toml", 'csrf_secret_name = "someCookie.nameOfIt"'),
        ("app.toml", 'auth_token = "NextPageToken.value"'),
        ("app.py", 'TOKEN_ENDPOINT = "https://login.shop.internal/v2/token"'),
        ("app.py", 'MARKER = "-----BEGIN PRIVATE KEY-----"'),
        ("app.py", 'KIND = "sk-ecdsa-sha2-nistp256@openssh.com"'),
        ("types.json", '"Shop::Store::ApiKey": "b899a0d240b53d9d"'),
        ("notes.md", "AKIAIOSFODNN7EXAMPLE"),
        ("notes.md", "the task-oriented-approach-of-risk-assessment-frameworks"),
        ("notes.md", "git@github.com:someone/something.git"),
        ("notes.md", "commit 3f786850e387550fdab836ed7e6dc881de23001b"),
        ("app.py", "KEY = '" + PLANTED["github"] + "'  # " + MARK),
    ],
)
def test_harmless_lines_are_passed_over(name, line):
    assert in_text(line, name) == []


def test_the_value_of_a_secret_that_is_in_use_is_found_wherever_it_stands():
    (found,) = in_text("see hunter2hunter2 there", "notes.md", [("ADMIN_PASSWORD", "hunter2hunter2")])
    assert "ADMIN_PASSWORD" in found.what
    assert "hunter2" not in found.what


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("API_KEY", "x", True),
        ("DB_PASSWORD", "", True),
        ("PORT", "8000", False),
        ("ADMIN_EMAIL", "me@shop.example.org", False),
        ("MAX_TOKENS", "512", False),
        ("STRIPE_KEY", "abc12345xyz", True),
        ("STRIPE_PUBLISHABLE_KEY", "abc12345xyz", False),
        ("SORT_KEY", "column2name", False),
        ("ROW_KEY", "customer", False),
        ("DATABASE_URL", "postgres://shop:h8s7d6f5@db/shop", True),
        ("DATABASE_URL", "sqlite:///shop.db", False),
        ("SOMETHING", PLANTED["anthropic"], True),
        ("", "# old key " + PLANTED["anthropic"], True),
        ("", "# the password is in the safe", False),
    ],
)
def test_a_setting_is_a_secret_by_its_name_or_by_its_values_shape(name, value, secret):
    assert is_secret(name, value) is secret


# -- a project


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text(".env\n")
    (folder / "app.py").write_text("print('hello')\n")
    git(folder, "add", ".")
    return folder


def where(checked):
    return [violation.where for violation in checked.violations]


def test_a_clean_project_has_no_violation_and_says_how_much_was_looked_at(project):
    checked = check(project)
    assert (checked.violations, checked.notes, checked.files, checked.tracked) == ((), (), 2, True)


def test_a_planted_key_is_found_in_what_is_tracked_and_only_there(project):
    (project / "config.py").write_text(f"\nKEY = '{PLANTED['openai']}'\n")
    assert where(check(project)) == []
    git(project, "add", "config.py")
    assert where(check(project)) == ["config.py:2"]
    assert where(check(project, exclude=["config.*"])) == []


def test_values_of_secrets_are_looked_for_unless_they_are_too_short(project):
    (project / "app.py").write_text("a = 'hunter2hunter2'; b = 'short'\n")
    known = {"A": Secret("hunter2hunter2"), "B": Secret("short")}
    (violation,) = check(project, known).violations
    assert "secret A" in violation.what


def test_lock_files_binary_files_large_files_and_links_are_passed_over(project):
    line = PLANTED["github"] + "\n"
    (project / "poetry.lock").write_text(line)
    (project / "image.png").write_bytes(b"\0" + line.encode())
    (project / "big.txt").write_text(line * 60_000)
    (project / "link.txt").symlink_to("/etc/hostname")
    git(project, "add", "-f", ".")
    assert where(check(project)) == []


def test_a_dotenv_that_others_may_read_or_git_could_take_is_found(project):
    (project / ".env").write_text("API_KEY=x\n")
    (project / ".env").chmod(0o644)
    (project / ".env.production").write_text("API_KEY=x\n")
    (project / ".env.production").chmod(0o600)
    (project / ".env.example").write_text("API_KEY=\n")
    checked = check(project)
    assert [(violation.where, violation.what) for violation in checked.violations] == [
        (".env", "others may read it (mode 0644)"),
        (".gitignore", ".env.production is not ignored"),
    ]
    assert [note.partition(" ")[0] for note in checked.notes] == [".env", ".env.production"]


def test_a_dotenv_that_is_tracked_or_not_ignored_is_found(project):
    (project / ".env").write_text("API_KEY=x\n")
    (project / ".env").chmod(0o600)
    git(project, "add", "-f", ".env")
    assert [violation.what for violation in check(project).violations] == ["it is tracked by git"]
    (project / ".gitignore").write_text("*.log\n")
    assert [violation.what for violation in check(project).violations] == [
        ".env is not ignored",
        "it is tracked by git",
    ]


@pytest.mark.parametrize(
    ("ignored", "violations"), [(".env\n", []), ("# .env\n", [".gitignore"]), (None, [".gitignore"])]
)
def test_where_git_knows_nothing_all_files_are_looked_at(tmp_path, ignored, violations, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if ignored is not None:
        (tmp_path / ".gitignore").write_text(ignored)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.py").write_text(PLANTED["github"])
    (tmp_path / "a.py").write_text(PLANTED["github"])
    checked = check(tmp_path)
    assert where(checked) == ["a.py:1", *violations]
    assert not checked.tracked


def test_without_git_all_files_are_looked_at(project, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (project / "a.py").write_text(PLANTED["github"])
    assert where(check(project)) == ["a.py:1"]
