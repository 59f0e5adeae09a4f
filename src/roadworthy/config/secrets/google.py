"""Google Secret Manager, through Google's client over REST: one secret a name in the project ``GOOGLE_CLOUD_PROJECT``.

Credentials are found as Google's libraries find them. With ``SECRET_MANAGER_EMULATOR_HOST`` (host:port, or an address
that begins with http) an emulator is asked instead, without credentials.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from roadworthy.config.secrets import failures
from roadworthy.config.secrets.remote import Client
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.errors import ConfigurationError, RoadworthyError, UsageError
from roadworthy.types import Secret

T = TypeVar("T")
_NOT_THE_SERVICE = "Check what stands between this machine and the service."


class GoogleStore:
    """The secrets of one Google Cloud project; each network call is bounded by ``timeout`` seconds and tried once."""

    kind = "gcp_secret_manager"
    writable = True
    whole = False
    plain = False

    def __init__(self, project: str, environ: Mapping[str, str], timeout: float) -> None:
        self._project = project
        self._environ = environ
        self._timeout = timeout
        self._client = Client(self._connect)
        self.place = f"Google Secret Manager, project {project},"

    def read(self, name: str) -> dict[str, Held]:
        """Return the latest version of the secret, with the service's own checksum tried."""
        path = f"{self._path(name)}/versions/latest"
        answer = self._ask(name, lambda client, bounds: client.access_secret_version(name=path, **bounds))
        payload = answer.payload
        if payload.data_crc32c and payload.data_crc32c != _crc32c(payload.data):
            raise failures.malformed(name, self.place, "What came does not have the checksum that came with it.")
        text = _decoded(payload.data)
        if text is None or not payload.data:
            raise failures.malformed(name, self.place, "It is empty or not UTF-8 text.")
        return {name: Held(Secret(text, name))}

    def entries(self) -> tuple[Entry, ...]:
        """Return the names of the project's secrets; when one was changed costs a call each and is not told."""
        parent = f"projects/{self._project}"
        found = self._ask("(all)", lambda client, bounds: list(client.list_secrets(parent=parent, **bounds)))
        return tuple(Entry(secret.name.rpartition("/")[2]) for secret in found)

    def write(self, name: str, value: str) -> None:
        """Add a version to the secret, which is made when it is not there."""

        def put(client: Any, bounds: dict[str, Any]) -> None:  # noqa: ANN401 - as everywhere here
            from google.api_core.exceptions import Conflict

            with contextlib.suppress(Conflict):  # it is there already
                client.create_secret(
                    parent=f"projects/{self._project}",
                    secret_id=name,
                    secret={"replication": {"automatic": {}}},
                    **bounds,
                )
            client.add_secret_version(parent=self._path(name), payload={"data": value.encode()}, **bounds)

        self._path(name)
        self._ask(name, put)

    def remove(self, name: str) -> None:
        """Delete the secret with all its versions."""
        path = self._path(name)
        self._ask(name, lambda client, bounds: client.delete_secret(name=path, **bounds))

    def _path(self, name: str) -> str:
        if "." in name:
            raise UsageError(
                f"{name} cannot be the name of a secret in {self.place}",
                why="Names there have letters, digits, '-' and '_'.",
                hint="Name it as an environment variable, for example: ANTHROPIC_API_KEY",
            )
        return f"projects/{self._project}/secrets/{name}"

    def _ask(self, name: str, call: Callable[[Any, dict[str, Any]], T]) -> T:
        def ask() -> T:
            return call(self._client.get(), {"timeout": self._timeout, "retry": None})

        return failures.asked(ask, lambda error: self._failure(name, error))

    def _connect(self) -> Any:  # noqa: ANN401 - loaded late
        try:
            from google.api_core.client_options import ClientOptions
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import secretmanager_v1
        except ImportError:
            raise failures.extra_missing(self.place, "google-cloud-secret-manager", "gcp") from None
        if emulator := self._environ.get("SECRET_MANAGER_EMULATOR_HOST"):
            address = emulator if emulator.startswith("http") else f"http://{emulator}"
            return secretmanager_v1.SecretManagerServiceClient(
                transport="rest",
                credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
                client_options=ClientOptions(api_endpoint=address),
            )
        return secretmanager_v1.SecretManagerServiceClient(transport="rest")

    def _failure(self, name: str, error: Exception) -> RoadworthyError:
        import requests
        from google.api_core import exceptions
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

        said = f"The service answered {type(error).__name__}."
        if isinstance(error, exceptions.NotFound):
            return failures.not_found(name, self.place)
        if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
            return failures.forbidden(
                name, self.place, said, "Give its identity the role Secret Manager Secret Accessor."
            )
        if isinstance(error, exceptions.DeadlineExceeded | exceptions.GatewayTimeout | requests.exceptions.Timeout):
            return failures.timed_out(name, self.place, self._timeout)
        if isinstance(error, exceptions.TooManyRequests | exceptions.ServerError):
            return failures.busy(name, self.place, said)
        if isinstance(error, exceptions.BadRequest) and _status(error) == "FAILED_PRECONDITION":
            return failures.not_found(name, self.place, "Its latest version is disabled or destroyed: add one.")
        if isinstance(error, DefaultCredentialsError):
            return ConfigurationError(
                f"there are no credentials to ask {self.place} for the secret {name}",
                why="Google's libraries found none.",
                hint="Run as a service account, or set GOOGLE_APPLICATION_CREDENTIALS to its key file.",
            )
        if isinstance(error, GoogleAuthError):
            return failures.forbidden(name, self.place, f"Signing in failed with {type(error).__name__}.")
        if isinstance(error, requests.exceptions.JSONDecodeError) or _not_an_answer(error):
            return failures.malformed(name, self.place, "The answer is not what the service sends.", _NOT_THE_SERVICE)
        return failures.unreachable(name, self.place, f"Google's client says {type(error).__name__}.")


def _status(error: Any) -> str:  # noqa: ANN401 - loaded late
    """Return the service's own word, which the client drops over REST."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def _not_an_answer(error: Exception) -> bool:
    return type(error).__name__ == "ParseError" or isinstance(error, ValueError | KeyError | AttributeError)


def _crc32c(data: bytes) -> int:
    """Return the CRC-32C of the data (reflected, polynomial 0x82F63B78)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
