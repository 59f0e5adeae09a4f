"""Which store is asked follows from the environment, and what is missing for it is named."""

import subprocess
import sys

import pytest

from roadworthy.config import regular, secrets
from roadworthy.config.secrets import choose, document, open_backend
from roadworthy.config.secrets.plain import LARGEST, FolderStore
from roadworthy.errors import ConfigurationError, NotFound, Refused, Unavailable, UsageError


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, "env"),
        ({"SECRETS_BACKEND": ""}, "env"),
        ({"SECRETS_BACKEND": "dotenv"}, "dotenv"),
        ({"SECRETS_BACKEND": "directory"}, "directory"),
        ({"SECRETS_BACKEND": "encrypted_file", "HOME": "/home/me"}, "encrypted_file"),
        ({"SECRETS_BACKEND": "systemd_credentials", "CREDENTIALS_DIRECTORY": "/run/c"}, "systemd_credentials"),
        ({"AWS_SECRET_NAME": "oatie-ai-secrets"}, "aws_secrets_manager"),
        ({"AZURE_KEY_VAULT_URL": "https://your-vault.vault.azure.net/"}, "azure_key_vault"),
        ({"GOOGLE_CLOUD_PROJECT": "p"}, "env"),
        ({"VAULT_ADDR": "http://127.0.0.1:8200"}, "env"),
        ({"SECRETS_BACKEND": "env", "AWS_SECRET_NAME": "x"}, "env"),
        (
            {"SECRETS_BACKEND": "gcp_secret_manager", "GOOGLE_CLOUD_PROJECT": "p", "AWS_SECRET_NAME": "x"},
            "gcp_secret_manager",
        ),
        (
            {"SECRETS_BACKEND": "hashicorp_vault", "VAULT_ADDR": "a", "VAULT_TOKEN": "t", "VAULT_SECRET_PATH": "s/p"},
            "hashicorp_vault",
        ),
    ],
)
def test_the_environment_chooses(environ, kind):
    assert open_backend(environ).describe().kind == kind


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"SECRETS_BACKEND": "aws_secret_manager"}, "'aws_secret_manager' is no secrets backend"),
        ({"SECRETS_BACKEND": "?"}, "'?' is no secrets backend"),
        ({"AWS_SECRET_NAME": "x", "AZURE_KEY_VAULT_URL": "https://v"}, "not clear which secrets backend"),
        ({"SECRETS_BACKEND": "aws_secrets_manager"}, "AWS_SECRET_NAME is not set"),
        ({"SECRETS_BACKEND": "gcp_secret_manager"}, "GOOGLE_CLOUD_PROJECT is not set"),
        ({"SECRETS_BACKEND": "azure_key_vault"}, "AZURE_KEY_VAULT_URL is not set"),
        ({"AZURE_KEY_VAULT_URL": "http://your-vault"}, "is not the address of a vault"),
        ({"SECRETS_BACKEND": "systemd_credentials"}, "CREDENTIALS_DIRECTORY is not set"),
        ({"SECRETS_BACKEND": "encrypted_file"}, "no place for the key"),
        ({"SECRETS_BACKEND": "hashicorp_vault"}, "VAULT_ADDR is not set"),
        ({"SECRETS_BACKEND": "hashicorp_vault", "VAULT_ADDR": "a"}, "VAULT_TOKEN is not set"),
        ({"SECRETS_BACKEND": "hashicorp_vault", "VAULT_ADDR": "a", "VAULT_TOKEN": "t"}, "VAULT_SECRET_PATH is not set"),
        (
            {"SECRETS_BACKEND": "hashicorp_vault", "VAULT_ADDR": "a", "VAULT_TOKEN": "t", "VAULT_SECRET_PATH": "p"},
            "not the path of a document",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named_with_what_to_do(environ, said):
    with pytest.raises(ConfigurationError) as caught:
        open_backend(environ)
    assert said in caught.value.what
    assert caught.value.why
    assert caught.value.hint


def test_a_misspelt_kind_is_answered_with_the_nearest_one():
    with pytest.raises(ConfigurationError) as caught:
        open_backend({"SECRETS_BACKEND": "aws_secret_manager"})
    assert "aws_secrets_manager?" in caught.value.hint
    with pytest.raises(ConfigurationError):
        open_backend({}, kind="nothing-like-it")


def test_a_kind_that_is_given_goes_before_the_environment(tmp_path):
    assert open_backend({"SECRETS_BACKEND": "env"}, kind="dotenv", folder=tmp_path).describe().kind == "dotenv"


def test_the_dotenv_file_is_the_folders_or_the_one_that_is_named(tmp_path):
    assert choose.dotenv_path({}, tmp_path) == tmp_path / ".env"
    assert choose.dotenv_path({"ROADWORTHY_DOTENV": "/etc/shop.env"}, tmp_path).as_posix() == "/etc/shop.env"


def test_only_variables_that_are_secrets_are_listed():
    environ = {"API_KEY": "x", "PORT": "8000", "EMPTY_KEY": ""}
    backend = open_backend(environ, is_secret=lambda name, _value: "KEY" in name)
    assert backend.names() == ("API_KEY",)
    assert open_backend(environ).names() == ("API_KEY", "PORT")
    with pytest.raises(NotFound):
        backend.get("EMPTY_KEY")


def test_secret_of_asks_the_backend_of_the_process(monkeypatch):
    monkeypatch.setattr(choose, "_one", None)
    monkeypatch.delenv("SECRETS_BACKEND", raising=False)
    monkeypatch.setenv("SHOP_API_KEY", "value-of-it")
    assert secrets.secret_of("SHOP_API_KEY").reveal() == "value-of-it"
    assert secrets.secret_of("SHOP_OTHER_KEY") is None
    secrets.use(open_backend({"SHOP_OTHER_KEY": "other"}))
    assert secrets.secret_of("SHOP_OTHER_KEY").reveal() == "other"
    secrets.use(None)


def test_the_names_of_the_package_are_there_and_no_others():
    assert all(getattr(secrets, name) for name in secrets.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        secrets.nothing_like_it  # noqa: B018 - the access is what is tried


def test_opening_a_backend_loads_the_standard_library_only():
    program = (
        "import sys; from roadworthy.config import secrets; import roadworthy.config.secrets.choose;"
        "heavy = {'boto3', 'google', 'azure', 'hvac', 'cryptography', 'pydantic', 'requests'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""


# -- folders


def test_a_file_in_lower_case_is_found_too(tmp_path):
    (tmp_path / "db_password").write_text("value\n\n")
    store = FolderStore(tmp_path, "directory", "the folder")
    assert store.read("DB_PASSWORD")["DB_PASSWORD"].secret.reveal() == "value\n"
    assert [entry.name for entry in store.entries()] == ["db_password"]


@pytest.mark.parametrize(("data", "why"), [(b"\xff\xfe", "UTF-8"), (b"x" * (LARGEST + 1), "larger")])
def test_a_file_that_holds_no_secret_is_said(tmp_path, data, why):
    (tmp_path / "KEY").write_bytes(data)
    with pytest.raises(ConfigurationError, match="KEY") as caught:
        FolderStore(tmp_path, "directory", "the folder").read("KEY")
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(PermissionError(13, "Permission denied"), Refused), (OSError(5, "I/O error"), Unavailable)],
)
def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch, failure, expected):
    (tmp_path / "KEY").write_text("value")

    def fails(*_args, **_kwargs):
        raise failure

    monkeypatch.setattr(regular, "read", fails)
    with pytest.raises(expected, match="KEY"):
        FolderStore(tmp_path, "directory", "the folder").read("KEY")


def test_a_folder_that_is_not_there_cannot_be_listed(tmp_path):
    with pytest.raises(Unavailable, match="absent"):
        FolderStore(tmp_path / "absent", "directory", "the folder").entries()


# -- documents


@pytest.mark.parametrize(
    ("called", "name"),
    [("oatie-ai-secrets", "OATIE_AI_SECRETS"), ("prod/shop/db.password", "DB_PASSWORD"), ("2nd", "_2ND"), ("--", "_")],
)
def test_a_plain_document_is_called_as_a_variable_would_be(called, name):
    assert document.values("the value", called, "the store", name) == {name: "the value"}


def test_the_values_of_a_document_are_texts_numbers_and_truths():
    text = '{"A": "a", "B": 1.5, "C": true, "D": null, "E": [], "F": {}}'
    assert document.values(text, "x", "the store", "A") == {"A": "a", "B": "1.5", "C": "true"}
    with pytest.raises(ConfigurationError, match="secret D"):
        document.values(text, "x", "the store", "D")


def test_a_change_keeps_what_else_is_in_the_document():
    text = '{"A": "a", "D": null}'
    assert document.changed(text, "x", "B", "b", "the store") == '{"A": "a", "D": null, "B": "b"}'
    assert document.changed(text, "x", "A", None, "the store") == '{"D": null}'
    assert document.changed(None, "x", "A", "a", "the store") == '{"A": "a"}'
    assert document.changed("plain", "x-y", "X_Y", "new", "the store") == "new"
    for name, value in (("A", "a"), ("X_Y", None)):
        with pytest.raises(UsageError, match="one plain value"):
            document.changed("plain", "x-y", name, value, "the store")
    with pytest.raises(ConfigurationError):
        document.changed("{broken", "x", "A", "a", "the store")
