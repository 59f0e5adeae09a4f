"""Azure Key Vault, through Azure's client: one secret a name in the vault at ``AZURE_KEY_VAULT_URL``.

Key Vault's names have no ``_`` and know no case: ``DB_PASSWORD`` is ``DB-PASSWORD`` there, and is listed in capitals.
Credentials are found as ``DefaultAzureCredential`` finds them: environment, workload or managed identity, command line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from roadworthy.config.secrets import failures
from roadworthy.config.secrets.remote import Client
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.errors import RoadworthyError, UsageError
from roadworthy.types import Secret

T = TypeVar("T")
_UNAUTHORIZED, _FORBIDDEN, _GONE, _TOO_MANY, _SERVER_ERROR = 401, 403, 404, 429, 500
_NOT_THE_SERVICE = "Check AZURE_KEY_VAULT_URL and what stands between this machine and the vault."


class AzureStore:
    """The secrets of one vault; each network call is bounded by ``timeout`` seconds and tried once.

    ``credential`` is one of azure-identity's, by default the one that it finds itself.
    """

    kind = "azure_key_vault"
    writable = True
    whole = False
    plain = False

    def __init__(self, url: str, timeout: float, credential: object = None) -> None:
        self._url = url
        self._timeout = timeout
        self._credential = credential
        self._client = Client(self._connect)
        self.place = f"Azure Key Vault {url}"

    def read(self, name: str) -> dict[str, Held]:
        """Return the latest version of the secret."""
        there = self._there(name)
        found = self._ask(name, lambda client: client.get_secret(there))
        if not isinstance(found.value, str):
            raise failures.malformed(name, self.place, "The answer has no value.", _NOT_THE_SERVICE)
        return {name: Held(Secret(found.value, name), _stamp(found.properties))}

    def entries(self) -> tuple[Entry, ...]:
        """Return the names in the vault, as environment variables are written."""
        found = self._ask("(all)", lambda client: list(client.list_properties_of_secrets()))
        return tuple(Entry(each.name.replace("-", "_").upper(), _stamp(each)) for each in found)

    def write(self, name: str, value: str) -> None:
        """Add a version of the secret, which is made when it is not there."""
        there = self._there(name)
        self._ask(name, lambda client: client.set_secret(there, value))

    def remove(self, name: str) -> None:
        """Delete the secret; vaults keep what is deleted for a while, under their own rules."""
        there = self._there(name)
        self._ask(name, lambda client: client.begin_delete_secret(there))

    def _there(self, name: str) -> str:
        if "." in name:
            raise UsageError(
                f"{name} cannot be the name of a secret in {self.place}",
                why="Names there have letters, digits and '-'.",
                hint="Name it as an environment variable, for example: ANTHROPIC_API_KEY",
            )
        return name.replace("_", "-")

    def _ask(self, name: str, call: Callable[[Any], T]) -> T:
        def ask() -> T:
            return call(self._client.get())

        return failures.asked(ask, lambda error: self._failure(name, error))

    def _connect(self) -> Any:  # noqa: ANN401 - loaded late
        try:
            from azure.identity import DefaultAzureCredential
            from azure.keyvault.secrets import SecretClient
        except ImportError:
            raise failures.extra_missing(self.place, "azure-keyvault-secrets", "azure") from None
        credential: Any = self._credential or DefaultAzureCredential(process_timeout=max(1, int(self._timeout)))
        return SecretClient(
            self._url,
            credential,
            connection_timeout=self._timeout,
            read_timeout=self._timeout,
            retry_total=0,
        )

    def _failure(self, name: str, error: Exception) -> RoadworthyError:
        from azure.core import exceptions

        if isinstance(error, exceptions.HttpResponseError) and error.status_code is not None:
            return self._refusal(name, error.status_code)
        if isinstance(error, exceptions.ClientAuthenticationError):
            return failures.forbidden(
                name,
                self.place,
                f"There is no way to sign in: {type(error).__name__}.",
                "Give the machine an identity, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET.",
            )
        if "timed out" in str(error).lower() or "Timeout" in type(error).__name__:
            return failures.timed_out(name, self.place, self._timeout)
        if isinstance(
            error, exceptions.DecodeError | exceptions.DeserializationError | ValueError | KeyError | TypeError
        ):
            return failures.malformed(name, self.place, "The answer is not what the service sends.", _NOT_THE_SERVICE)
        return failures.unreachable(name, self.place, f"Azure's client says {type(error).__name__}.")

    def _refusal(self, name: str, status: int) -> RoadworthyError:
        said = f"The service answered {status}."
        if status == _GONE:
            return failures.not_found(name, self.place)
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            return failures.forbidden(name, self.place, said, "Give its identity the role Key Vault Secrets User.")
        if status == _TOO_MANY or status >= _SERVER_ERROR:
            return failures.busy(name, self.place, said)
        if status < 400:  # noqa: PLR2004 - an answer that says it is good and cannot be read
            return failures.malformed(name, self.place, "The answer is not what the service sends.", _NOT_THE_SERVICE)
        return failures.unreachable(name, self.place, said)


def _stamp(properties: Any) -> float | None:  # noqa: ANN401 - loaded late
    when = properties.updated_on or properties.created_on
    return None if when is None else float(when.timestamp())
