"""One place for each kind of secret store, with secrets in it, that a test can open and change from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from roadworthy.config.secrets import Backend, open_backend
from roadworthy.config.secrets.azure import AzureStore
from support import secret_servers

if TYPE_CHECKING:
    from pathlib import Path

QUICK = 5.0


class Place:
    """A store with its surroundings: ``opened()`` returns a backend, ``put(name, value)`` changes it from outside."""

    kind = ""
    names_are_upper = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.environ = {"HOME": str(folder / "home"), "SECRETS_BACKEND": self.kind}

    def opened(self, **options) -> Backend:
        backend = open_backend(self.environ, folder=self.folder / "project", timeout=options.pop("timeout", QUICK))
        return Backend(backend.store, now=lambda: self.now, **options)

    def put(self, name: str, value: str) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Nothing to stop."""


class Environment(Place):
    kind = "env"

    def put(self, name, value):
        self.environ[name] = value


class Dotenv(Place):
    kind = "dotenv"

    def put(self, name, value):
        from roadworthy.config.secrets import dotenv

        path = self.folder / "project" / ".env"
        lines = dotenv.values(dotenv.parse(path.read_text())) if path.exists() else {}
        path.touch(0o600)
        text = "".join(f"{key}={dotenv.quoted(each)}\n" for key, each in {**lines, name: value}.items())
        path.write_text("# a comment\n\n" + text)


class EncryptedFile(Place):
    kind = "encrypted_file"

    def put(self, name, value):
        self.opened().set(name, value)


class Systemd(Place):
    kind = "systemd_credentials"

    def __init__(self, folder):
        super().__init__(folder)
        self.credentials = folder / "credentials"
        self.credentials.mkdir()
        self.environ["CREDENTIALS_DIRECTORY"] = str(self.credentials)

    def put(self, name, value):
        (self.credentials / name).write_text(value)


class Directory(Systemd):
    """As Kubernetes mounts it: links into a folder that is replaced as a whole."""

    kind = "directory"

    def __init__(self, folder):
        super().__init__(folder)
        self.environ["ROADWORTHY_SECRETS_DIRECTORY"] = str(self.credentials)
        self.generation = 0

    def put(self, name, value):
        old = self.credentials / f"..{self.generation}"
        self.generation += 1
        new = self.credentials / f"..{self.generation}"
        new.mkdir()
        for each in old.iterdir() if old.exists() else ():
            (new / each.name).write_bytes(each.read_bytes())
        (new / name).write_text(value + "\n")
        link = self.credentials / "..new"
        link.symlink_to(new.name)
        link.replace(self.credentials / "..data")
        if not (self.credentials / name).is_symlink():
            (self.credentials / name).symlink_to(f"..data/{name}")


class Amazon(Place):
    """Against moto's server, over HTTP."""

    kind = "aws_secrets_manager"

    def __init__(self, folder, address, client):
        super().__init__(folder)
        self.environ |= {
            "AWS_SECRET_NAME": f"app/{folder.parent.name}/{folder.name}",
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }
        self.client = client
        self.document: dict[str, object] = {}
        self.client.create_secret(Name=self.environ["AWS_SECRET_NAME"], SecretString="{}")

    def put(self, name, value):
        self.document[name] = value
        self.client.put_secret_value(SecretId=self.environ["AWS_SECRET_NAME"], SecretString=json.dumps(self.document))


class Google(Place):
    kind = "gcp_secret_manager"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = secret_servers.Google()
        self.environ |= {
            "GOOGLE_CLOUD_PROJECT": "my-project",
            "SECRET_MANAGER_EMULATOR_HOST": f"127.0.0.1:{self.server.port}",
        }

    def put(self, name, value):
        self.server.secrets[name] = value

    def stop(self):
        self.server.stop()


class Azure(Place):
    """The test trusts the server's certificate by ``REQUESTS_CA_BUNDLE``."""

    kind = "azure_key_vault"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = secret_servers.Azure(folder)

    def opened(self, **options):
        store = AzureStore(self.server.address, options.pop("timeout", QUICK), secret_servers.Credential())
        return Backend(store, now=lambda: self.now, **options)

    def put(self, name, value):
        self.server.secrets[name.replace("_", "-").lower()] = value

    def stop(self):
        self.server.stop()


class Vault(Place):
    kind = "hashicorp_vault"

    def __init__(self, folder):
        super().__init__(folder)
        self.server = secret_servers.Vault()
        self.environ |= {
            "VAULT_ADDR": self.server.address,
            "VAULT_TOKEN": secret_servers.TOKEN,
            "VAULT_SECRET_PATH": "secret/my-app",
        }

    def put(self, name, value):
        self.server.secrets[name] = value
        self.server.version += 1

    def stop(self):
        self.server.stop()


PLACES = {
    place.kind: place
    for place in (Environment, Dotenv, EncryptedFile, Systemd, Directory, Amazon, Google, Azure, Vault)
}
