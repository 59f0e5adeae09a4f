"""Small real HTTP servers that answer as the secret stores do, and can be told to fail: for the vendors' own clients.

Written after the published REST references of Google Secret Manager, Azure Key Vault and HashiCorp Vault's KV engine.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

NOT_THE_SERVICE = b"<html>a proxy's page</html>"
TOKEN = "token-of-the-test-0123456789"


class Emulator:
    """A server on a free loopback port; ``fault`` is what it does instead of answering.

    forbidden, missing, busy, malformed, hang (until :meth:`stop`).
    """

    scheme = "http"
    errors: dict[str, tuple[int, dict[str, object]]] = {}  # noqa: RUF012 - set once by each subclass

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.fault = ""
        self.asked: list[str] = []
        self._released = threading.Event()
        emulator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                emulator.handle(self)

            def __getattr__(self, name: str) -> object:
                if name.startswith("do_"):
                    return self.handle_any
                raise AttributeError(name)

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.wrap()
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def wrap(self) -> None:
        """Put TLS around the socket, where it is needed."""

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._released.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length) if length else b""
        self.asked.append(f"{request.command} {request.path}")
        headers: dict[str, str] = {}
        if self.fault == "hang":
            self._released.wait(20)
            request.close_connection = True
            return
        if self.fault == "malformed":
            status, data = 200, NOT_THE_SERVICE
        else:
            if self.fault:
                status, document = self.errors[self.fault]
            else:
                parts = urlsplit(request.path)
                status, document, headers = self.answer(
                    request.command, parts.path, parse_qs(parts.query), request.headers, json.loads(body or b"{}")
                )
            data = json.dumps(document).encode()
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data)

    def answer(self, method, path, query, headers, body):
        raise NotImplementedError


class Amazon(Emulator):
    """Fails as AWS Secrets Manager does; what works is tried against moto."""

    errors = {  # noqa: RUF012 - as above
        "forbidden": (400, {"__type": "AccessDeniedException", "Message": "not authorized to perform"}),
        "missing": (400, {"__type": "ResourceNotFoundException", "Message": "can't find the specified secret"}),
        "busy": (400, {"__type": "ThrottlingException", "Message": "Rate exceeded"}),
        "deleted": (400, {"__type": "InvalidRequestException", "Message": "it was marked for deletion"}),
        "odd": (400, {"__type": "InternalServiceError", "Message": "odd"}),
    }

    def answer(self, method, path, query, headers, body):
        return 200, {"Name": body["SecretId"], **self.secrets}, {}


class Google(Emulator):
    @staticmethod
    def error(code, status):
        return code, {"error": {"code": code, "message": "as told", "status": status}}

    errors = {  # noqa: RUF012 - as above
        "forbidden": error(403, "PERMISSION_DENIED"),
        "missing": error(404, "NOT_FOUND"),
        "busy": error(429, "RESOURCE_EXHAUSTED"),
        "disabled": error(400, "FAILED_PRECONDITION"),
        "late": error(504, "DEADLINE_EXCEEDED"),
        "odd": error(409, "ABORTED"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.checksum: str | None = None

    def answer(self, method, path, query, headers, body):  # noqa: PLR0911 - a return is an answer
        base = "/v1/projects/my-project/secrets"
        name = path.removeprefix(base).strip("/").split("/")[0].split(":")[0]
        if path == base and method == "GET":
            return 200, {"secrets": [{"name": f"{base[4:]}/{each}"} for each in self.secrets]}, {}
        if path == base:
            (name,) = query["secretId"]
            if name in self.secrets:
                return *self.error(409, "ALREADY_EXISTS"), {}
            self.secrets[name] = ""
            return 200, {"name": f"{base[4:]}/{name}"}, {}
        if name not in self.secrets:
            return *self.error(404, "NOT_FOUND"), {}
        if method == "DELETE":
            del self.secrets[name]
            return 200, {}, {}
        if path.endswith(":addVersion"):
            self.secrets[name] = base64.b64decode(body["payload"]["data"]).decode()
            return 200, {"name": f"{base[4:]}/{name}/versions/2"}, {}
        payload = {"data": base64.b64encode(self.secrets[name].encode()).decode()}
        if self.checksum is not None:
            payload["dataCrc32c"] = self.checksum
        return 200, {"name": f"{base[4:]}/{name}/versions/2", "payload": payload}, {}


class Azure(Emulator):
    """Key Vault, over TLS, because its client sends no token without; challenges whoever comes without one."""

    scheme = "https"

    @staticmethod
    def error(code, word):
        return code, {"error": {"code": word, "message": "as told"}}

    errors = {  # noqa: RUF012 - as above
        "forbidden": error(403, "Forbidden"),
        "missing": error(404, "SecretNotFound"),
        "busy": error(429, "Throttled"),
        "odd": error(409, "Conflict"),
    }

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        certify(self.certificate, self.key)
        super().__init__()

    def wrap(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def answer(self, method, path, query, headers, body):
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            # The client sends its token only where the host ends in the resource's: 127.0.0.1 does in 0.0.1.
            challenge = f'Bearer authorization="https://login.invalid/tenant", resource="https://0.0.1:{self.port}"'
            return *self.error(401, "Unauthorized"), {"WWW-Authenticate": challenge}
        name = path.removeprefix("/secrets").strip("/").split("/")[0]
        known = {each.upper(): each for each in self.secrets}
        if not name:
            return 200, {"value": [self._about(each) for each in self.secrets], "nextLink": None}, {}
        if method == "PUT":
            self.secrets[known.get(name.upper(), name)] = body["value"]
            return 200, {"value": body["value"], **self._about(name)}, {}
        if name.upper() not in known:
            return *self.error(404, "SecretNotFound"), {}
        if method == "DELETE":
            del self.secrets[known[name.upper()]]
            return 200, {"recoveryId": f"{self.address}/deletedsecrets/{name}", **self._about(name)}, {}
        return 200, {"value": self.secrets[known[name.upper()]], **self._about(name)}, {}

    def _about(self, name):
        return {"id": f"{self.address}/secrets/{name}/1", "attributes": {"enabled": True, "created": 1, "updated": 2}}


class Credential:
    """What azure-identity would give."""

    def get_token(self, *_scopes, **_options):
        from azure.core.credentials import AccessToken

        return AccessToken(TOKEN, 4_000_000_000)


class Vault(Emulator):
    """KV version 2 at ``secret/my-app``."""

    errors = {  # noqa: RUF012 - as above
        "forbidden": (403, {"errors": ["permission denied"]}),
        "missing": (404, {"errors": []}),
        "busy": (503, {"errors": ["Vault is sealed"]}),
        "odd": (418, {"errors": ["odd"]}),
        "raced": (400, {"errors": ["check-and-set parameter did not match the current version"]}),
    }

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.document: dict[str, object] | None = None

    def answer(self, method, path, query, headers, body):
        if headers.get("X-Vault-Token") != TOKEN:
            return *self.errors["forbidden"], {}
        if path != "/v1/secret/data/my-app":
            return *self.errors["missing"], {}
        about = {"version": self.version, "created_time": "2026-01-02T03:04:05.678901Z"}
        if method in {"POST", "PUT"}:
            if body["options"]["cas"] != self.version:
                return *self.errors["raced"], {}
            self.secrets = body["data"]
            self.version += 1
            return 200, {"data": about}, {}
        if not self.version and not self.secrets:
            return *self.errors["missing"], {}
        return 200, {"data": {"data": self.document or self.secrets, "metadata": about}}, {}


def certify(certificate: Path, key: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
