"""Which store is asked: what ``SECRETS_BACKEND`` names, else the cloud whose variable is set, else the environment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy.config.secrets import encrypted, failures, key
from roadworthy.config.secrets.aws import AwsStore
from roadworthy.config.secrets.azure import AzureStore
from roadworthy.config.secrets.backend import MAX_AGE, Backend
from roadworthy.config.secrets.dotenv import DotenvStore
from roadworthy.config.secrets.google import GoogleStore
from roadworthy.config.secrets.plain import EnvironmentStore, FolderStore
from roadworthy.config.secrets.vault import VaultStore
from roadworthy.errors import ConfigurationError

if TYPE_CHECKING:
    from roadworthy.config.secrets.store import Store
    from roadworthy.types import Secret

TIMEOUT = 5.0
"""Seconds that one network call to a store may take."""

_RECOGNISED = {"AWS_SECRET_NAME": "aws_secrets_manager", "AZURE_KEY_VAULT_URL": "azure_key_vault"}
"""Variables that choose a store by being set. Others (GOOGLE_CLOUD_PROJECT, VAULT_ADDR) are set for many reasons."""


def chosen(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the kind of store and what chose it; raises :class:`ConfigurationError` for a kind that there is not."""
    if given := environ.get("SECRETS_BACKEND"):
        if given not in BACKENDS:
            import difflib

            near = difflib.get_close_matches(given, BACKENDS, 1, 0.4)
            raise ConfigurationError(
                f"{given!r} is no secrets backend",
                why=f"It came from SECRETS_BACKEND; there are: {', '.join(BACKENDS)}.",
                hint=f"Did you mean {near[0]}?" if near else "Choose one of them.",
            )
        return given, "SECRETS_BACKEND"
    found = [variable for variable in _RECOGNISED if environ.get(variable)]
    if len(found) > 1:
        raise ConfigurationError(
            "it is not clear which secrets backend is meant",
            why=f"{' and '.join(found)} are set, and SECRETS_BACKEND is not.",
            hint=f"Set SECRETS_BACKEND, for example: SECRETS_BACKEND={_RECOGNISED[found[0]]}",
        )
    return (_RECOGNISED[found[0]], found[0]) if found else ("env", "default")


def open_backend(
    environ: Mapping[str, str] | None = None,
    *,
    kind: str = "",
    folder: Path | None = None,
    timeout: float = TIMEOUT,
    max_age: float = MAX_AGE,
    used: Callable[[str], object] | None = None,
    is_secret: Callable[[str, str], bool] = lambda _name, _value: True,
) -> Backend:
    """Return the backend that ``environ`` (else the process's own) chooses, or that of ``kind``; asks nothing yet.

    Files are looked for in ``folder``, the current one by default. ``timeout`` bounds each network call, ``max_age``
    how long a value is used before it is read again; ``used`` is called with the name of each secret asked for;
    ``is_secret(name, value)`` says which variables are listed. Raises :class:`ConfigurationError`.
    """
    environ = os.environ if environ is None else environ
    kind = kind or chosen(environ)[0]
    if kind not in BACKENDS:
        chosen({"SECRETS_BACKEND": kind})
    place = Path.cwd() if folder is None else folder
    store = EnvironmentStore(environ, is_secret) if kind == "env" else BACKENDS[kind](environ, place, timeout)
    return Backend(store, max_age=max_age, used=used)


def _env(environ: Mapping[str, str], _folder: Path, _timeout: float) -> Store:
    return EnvironmentStore(environ)


def _dotenv(environ: Mapping[str, str], folder: Path, _timeout: float) -> Store:
    return DotenvStore(dotenv_path(environ, folder))


def _encrypted(environ: Mapping[str, str], folder: Path, _timeout: float) -> Store:
    return encrypted_store(environ, folder)


def _systemd(environ: Mapping[str, str], _folder: Path, _timeout: float) -> Store:
    given = environ.get("CREDENTIALS_DIRECTORY", "")
    if not given:
        raise failures.variable_missing("CREDENTIALS_DIRECTORY", "systemd_credentials", "/run/credentials/my.service")
    return FolderStore(Path(given), "systemd_credentials", "the systemd credentials in")


def _directory(environ: Mapping[str, str], _folder: Path, _timeout: float) -> Store:
    given = environ.get("ROADWORTHY_SECRETS_DIRECTORY") or "/run/secrets"
    return FolderStore(Path(given), "directory", "the folder")


def _aws(environ: Mapping[str, str], _folder: Path, timeout: float) -> Store:
    return AwsStore(_needed(environ, "AWS_SECRET_NAME", "aws_secrets_manager", "my-app-secrets"), environ, timeout)


def _google(environ: Mapping[str, str], _folder: Path, timeout: float) -> Store:
    return GoogleStore(_needed(environ, "GOOGLE_CLOUD_PROJECT", "gcp_secret_manager", "my-project"), environ, timeout)


def _azure(environ: Mapping[str, str], _folder: Path, timeout: float) -> Store:
    url = _needed(environ, "AZURE_KEY_VAULT_URL", "azure_key_vault", "https://your-vault.vault.azure.net/")
    if not url.startswith("https://"):
        raise ConfigurationError(
            f"AZURE_KEY_VAULT_URL={url} is not the address of a vault",
            why="It has to begin with https://: a token is sent there.",
            hint="For example: AZURE_KEY_VAULT_URL=https://your-vault.vault.azure.net/",
        )
    return AzureStore(url, timeout)


def _vault(environ: Mapping[str, str], _folder: Path, timeout: float) -> Store:
    kind = "hashicorp_vault"
    address = _needed(environ, "VAULT_ADDR", kind, "https://vault.example.com:8200")
    token = _needed(environ, "VAULT_TOKEN", kind, "hvs...")
    path = _needed(environ, "VAULT_SECRET_PATH", kind, "secret/my-app")
    if "/" not in path.strip("/"):
        raise ConfigurationError(
            f"VAULT_SECRET_PATH={path} is not the path of a document",
            why="It needs the engine's mount and the path in it.",
            hint="For example: VAULT_SECRET_PATH=secret/my-app",
        )
    return VaultStore(address, token, path, environ, timeout)


BACKENDS: dict[str, Callable[[Mapping[str, str], Path, float], Store]] = {
    "env": _env,
    "dotenv": _dotenv,
    "encrypted_file": _encrypted,
    "systemd_credentials": _systemd,
    "directory": _directory,
    "aws_secrets_manager": _aws,
    "gcp_secret_manager": _google,
    "azure_key_vault": _azure,
    "hashicorp_vault": _vault,
}
"""Each value of ``SECRETS_BACKEND``, and what makes its store."""


def dotenv_path(environ: Mapping[str, str], folder: Path) -> Path:
    """Return which ``.env`` is meant: ``ROADWORTHY_DOTENV``, else the one in ``folder``."""
    return folder / (environ.get("ROADWORTHY_DOTENV") or ".env")


def encrypted_store(environ: Mapping[str, str], folder: Path) -> encrypted.EncryptedStore:
    """Return the encrypted file: ``ROADWORTHY_SECRETS_FILE``, else the one in ``folder``; its key is outside."""
    path = folder / (environ.get("ROADWORTHY_SECRETS_FILE") or encrypted.DEFAULT)
    home = environ.get("HOME")
    return encrypted.EncryptedStore(path, key.place(environ), key.project_of(path, Path(home) if home else None))


def _needed(environ: Mapping[str, str], variable: str, kind: str, example: str) -> str:
    value = environ.get(variable, "")
    if not value:
        raise failures.variable_missing(variable, kind, example)
    return value


_one: Backend | None = None
_making = threading.Lock()


def use(backend: Backend | None) -> None:
    """Have :func:`secret_of` ask this backend from now on; None: the one that the environment chooses."""
    global _one  # noqa: PLW0603 - one a process, as the environment is
    with _making:
        _one = backend


def default() -> Backend:
    """Return the backend of this process, opened at first use; raises :class:`ConfigurationError`."""
    global _one  # noqa: PLW0603 - as above
    with _making:
        if _one is None:
            _one = open_backend()
        return _one


def secret_of(name: str) -> Secret | None:
    """Return the secret of that name, None when the store has none; raises otherwise as :meth:`Backend.get`."""
    return default().find(name)
