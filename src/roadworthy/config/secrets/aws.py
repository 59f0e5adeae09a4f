"""AWS Secrets Manager, through boto3: the secret that ``AWS_SECRET_NAME`` names, a JSON object or a plain value.

Region, credentials and endpoint are found as boto3 finds them; ``AWS_ENDPOINT_URL`` overrides the address. A
change writes the whole document: of two at the same moment the later one stays (the service offers nothing better).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy.config.secrets import document, failures
from roadworthy.config.secrets.remote import Client
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.errors import ConfigurationError, RoadworthyError

_FORBIDDEN = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "DecryptionFailure", "ExpiredToken", "ExpiredTokenException",
        "IncompleteSignature", "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken",
        "NotAuthorized", "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip
_BUSY = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
_SERVER_ERROR = 500


class AwsStore:
    """One secret of AWS Secrets Manager; each network call is bounded by ``timeout`` seconds and tried once."""

    kind = "aws_secrets_manager"
    writable = True
    whole = True
    plain = False

    def __init__(self, called: str, environ: Mapping[str, str], timeout: float) -> None:
        self._called = called
        self._environ = environ
        self._timeout = timeout
        self._client = Client(self._connect)
        self.place = f"AWS Secrets Manager, secret {called},"

    def read(self, name: str) -> dict[str, Held]:
        """Return everything in the document."""
        text, changed = self._document(name)
        found = document.values(text, self._called, self.place, name)
        if name not in found:
            raise failures.not_found(name, self.place)
        return document.held(found, changed)

    def entries(self) -> tuple[Entry, ...]:
        """Return the names in the document; the service keeps one time for all."""
        text, changed = self._document("(all)")
        return tuple(Entry(name, changed) for name in document.values(text, self._called, self.place, "(all)"))

    def write(self, name: str, value: str) -> None:
        """Put the value into the document; a new version of the secret."""
        text, _ = self._document(name)
        self._put(name, document.changed(text, self._called, name, value, self.place))

    def remove(self, name: str) -> None:
        """Take the name out of the document."""
        text, _ = self._document(name)
        if name not in document.values(text, self._called, self.place, name):
            raise failures.not_found(name, self.place)
        self._put(name, document.changed(text, self._called, name, None, self.place))

    def _document(self, name: str) -> tuple[str, float | None]:
        answer = self._ask(name, "get_secret_value", SecretId=self._called)
        created = answer.get("CreatedDate")
        changed = None if created is None else float(created.timestamp())
        text = answer.get("SecretString")
        if text is None:
            text = _decoded(answer.get("SecretBinary"))
        if text is None:
            raise failures.malformed(name, self.place, "It is neither text nor UTF-8 bytes.")
        return text, changed

    def _put(self, name: str, text: str) -> None:
        self._ask(name, "put_secret_value", SecretId=self._called, SecretString=text)

    def _ask(self, name: str, call: str, **arguments: str) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            answer: dict[str, Any] = getattr(self._client.get(), call)(**arguments)
            return answer

        return failures.asked(ask, lambda error: self._failure(name, error))

    def _connect(self) -> Any:  # noqa: ANN401 - boto3 has no types
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise failures.extra_missing(self.place, "boto3", "aws") from None
        env = self._environ
        session = boto3.session.Session(
            aws_access_key_id=env.get("AWS_ACCESS_KEY_ID") or None,
            aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY") or None,
            aws_session_token=env.get("AWS_SESSION_TOKEN") or None,
            region_name=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None,
            profile_name=env.get("AWS_PROFILE") or None,
        )
        return session.client(
            "secretsmanager",
            endpoint_url=env.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or env.get("AWS_ENDPOINT_URL") or None,
            config=Config(connect_timeout=self._timeout, read_timeout=self._timeout, retries={"total_max_attempts": 1}),
        )

    def _failure(self, name: str, error: Exception) -> RoadworthyError:
        from botocore import exceptions

        if isinstance(error, exceptions.ClientError):
            return self._refusal(name, error)
        if isinstance(error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError):
            return failures.timed_out(name, self.place, self._timeout)
        if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
            return ConfigurationError(
                f"there are no credentials to ask {self.place} for the secret {name}",
                why="boto3 found none in the environment, its files or the machine's role.",
                hint="Give the machine a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )
        if isinstance(error, exceptions.NoRegionError):
            return failures.variable_missing("AWS_REGION", self.kind, "eu-central-1")
        if isinstance(error, exceptions.ProfileNotFound):
            return ConfigurationError(
                f"{self.place} cannot be asked for the secret {name}: AWS_PROFILE names no profile",
                why="It stands in none of the files of the AWS command line.",
                hint="Name another one, or unset AWS_PROFILE.",
            )
        if type(error).__name__ == "ResponseParserError" or isinstance(error, ValueError | KeyError):
            return failures.malformed(name, self.place, "The answer is not what the service sends.", _NOT_THE_SERVICE)
        return failures.unreachable(name, self.place, f"boto3 says {type(error).__name__}.")

    def _refusal(self, name: str, error: Any) -> RoadworthyError:  # noqa: ANN401 - botocore has no types
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "ResourceNotFoundException":
            return failures.not_found(name, self.place, f"Check AWS_SECRET_NAME ({self._called}) and the region.")
        if code in _FORBIDDEN:
            return failures.forbidden(name, self.place, f"The service answered {code}.")
        if code in _BUSY or status >= _SERVER_ERROR:
            return failures.busy(name, self.place, f"The service answered {code or status}.")
        if code == "InvalidRequestException":
            return failures.not_found(name, self.place, "The secret is marked for deletion; restore it at AWS.")
        return failures.unreachable(name, self.place, f"The service answered {code or status}.")


_NOT_THE_SERVICE = "Check AWS_ENDPOINT_URL and what stands between this machine and the service."


def _decoded(data: object) -> str | None:
    try:
        return data.decode() if isinstance(data, bytes) else None
    except UnicodeDecodeError:
        return None
