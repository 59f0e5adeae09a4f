"""HashiCorp Vault, through hvac: one document of the KV engine, version 2, whose keys are the names.

``VAULT_ADDR`` says where, ``VAULT_TOKEN`` who, ``VAULT_SECRET_PATH`` which document: the engine's mount, then the path
in it, ``secret/my-app``. ``VAULT_NAMESPACE`` and ``VAULT_CACERT`` work too. A change is check-and-set: none is lost.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from roadworthy.config.secrets import document, failures
from roadworthy.config.secrets.remote import Client
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.types import Secret

if TYPE_CHECKING:
    from roadworthy.errors import RoadworthyError

T = TypeVar("T")
_NOT_THE_SERVICE = "Check VAULT_ADDR and VAULT_SECRET_PATH, and that the engine is KV version 2."


class VaultStore:
    """One KV v2 document; each network call is bounded by ``timeout`` seconds and tried once."""

    kind = "hashicorp_vault"
    writable = True
    whole = True
    plain = False

    def __init__(self, address: str, token: str, path: str, environ: Mapping[str, str], timeout: float) -> None:
        self._address = address
        self._token = Secret(token, "VAULT_TOKEN")
        self._mount, _, self._path = path.strip("/").partition("/")
        self._environ = environ
        self._timeout = timeout
        self._client = Client(self._connect)
        self.place = f"HashiCorp Vault {address}, path {path},"

    def read(self, name: str) -> dict[str, Held]:
        """Return everything in the document."""
        found, _, changed = self._document(name)
        values = document.values(json.dumps(found), self._path, self.place, name)
        if name not in values:
            raise failures.not_found(name, self.place)
        return document.held(values, changed)

    def entries(self) -> tuple[Entry, ...]:
        """Return the names in the document; Vault keeps one time for all."""
        found, _, changed = self._document("(all)")
        return tuple(Entry(name, changed) for name in found)

    def write(self, name: str, value: str) -> None:
        """Add a version of the document with the value in it; raises Temporary when somebody else was faster."""
        found, version, _ = self._document(name, new=True)
        self._put(name, {**found, name: value}, version)

    def remove(self, name: str) -> None:
        """Add a version of the document without the name."""
        found, version, _ = self._document(name)
        if name not in found:
            raise failures.not_found(name, self.place)
        self._put(name, {key: value for key, value in found.items() if key != name}, version)

    def _document(self, name: str, *, new: bool = False) -> tuple[dict[str, Any], int, float | None]:
        def ask(kv: Any) -> tuple[Any, Any]:  # noqa: ANN401 - hvac has no types
            from hvac.exceptions import InvalidPath

            try:
                answer = kv.read_secret_version(path=self._path, mount_point=self._mount, raise_on_deleted_version=True)
            except InvalidPath:
                if not new:
                    raise
                return {}, {"version": 0}
            return answer["data"]["data"], answer["data"]["metadata"]

        found, about = self._ask(name, ask)
        version = about.get("version") if isinstance(about, dict) else None
        if not isinstance(found, dict) or not isinstance(version, int):
            raise failures.malformed(name, self.place, "The answer is not what Vault sends.", _NOT_THE_SERVICE)
        return found, version, _stamp(about.get("created_time"))

    def _put(self, name: str, secrets: dict[str, Any], version: int) -> None:
        self._ask(
            name,
            lambda kv: kv.create_or_update_secret(
                path=self._path, secret=secrets, cas=version, mount_point=self._mount
            ),
        )

    def _ask(self, name: str, call: Callable[[Any], T]) -> T:
        def ask() -> T:
            return call(self._client.get().secrets.kv.v2)

        return failures.asked(ask, lambda error: self._failure(name, error))

    def _connect(self) -> Any:  # noqa: ANN401 - hvac has no types
        try:
            import hvac
        except ImportError:
            raise failures.extra_missing(self.place, "hvac", "vault") from None
        return hvac.Client(
            url=self._address,
            token=self._token.reveal(),
            timeout=self._timeout,
            verify=self._environ.get("VAULT_CACERT") or True,
            namespace=self._environ.get("VAULT_NAMESPACE") or None,
        )

    def _failure(self, name: str, error: Exception) -> RoadworthyError:
        import requests
        from hvac import exceptions

        said = f"Vault answered {type(error).__name__}."
        if isinstance(error, exceptions.InvalidPath):
            return failures.not_found(
                name, self.place, "Check VAULT_SECRET_PATH: the engine's mount, then the path in it."
            )
        if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
            return failures.forbidden(
                name, self.place, said, "Renew VAULT_TOKEN, or give it a policy that may read there."
            )
        if isinstance(error, requests.exceptions.Timeout):
            return failures.timed_out(name, self.place, self._timeout)
        if isinstance(error, exceptions.InvalidRequest) and "check-and-set" in str(error):
            return failures.busy(name, self.place, "Somebody else has changed it at the same time.")
        if isinstance(error, exceptions.VaultDown | exceptions.RateLimitExceeded | exceptions.InternalServerError):
            return failures.busy(name, self.place, f"{said} It may be sealed or overloaded.")
        if isinstance(error, ValueError | KeyError | TypeError | AttributeError) and not isinstance(
            error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema
        ):
            return failures.malformed(name, self.place, "The answer is not what Vault sends.", _NOT_THE_SERVICE)
        return failures.unreachable(name, self.place, f"hvac says {type(error).__name__}.")


def _stamp(text: object) -> float | None:
    try:
        return dt.datetime.fromisoformat(str(text)[:19] + "+00:00").timestamp()
    except ValueError:
        return None
