"""Each way in which a vendor's store can fail is one error of ours: typed, naming secret and store, without a value."""

import sys

import pytest

from roadworthy.config.secrets import Backend, open_backend
from roadworthy.config.secrets.azure import AzureStore
from roadworthy.config.secrets.google import _crc32c
from roadworthy.errors import ConfigurationError, NotFound, Refused, Temporary, Unavailable
from support import secret_servers
from support.servers import free_port

VALUE = "value-that-nobody-may-see"
KINDS = ["aws_secrets_manager", "gcp_secret_manager", "azure_key_vault", "hashicorp_vault"]


def server_of(kind, folder):
    if kind == "aws_secrets_manager":
        server = secret_servers.Amazon()
        server.secrets = {"SecretString": f'{{"API_KEY": "{VALUE}"}}'}
        return server
    if kind == "azure_key_vault":
        server = secret_servers.Azure(folder)
        server.secrets = {"API-KEY": VALUE}
        return server
    server = secret_servers.Google() if kind == "gcp_secret_manager" else secret_servers.Vault()
    server.secrets = {"API_KEY": VALUE}
    return server


def backend_of(kind, address, **options):
    if kind == "azure_key_vault":
        return Backend(AzureStore(address, options.get("timeout", 5.0), secret_servers.Credential()))
    environ = {
        "SECRETS_BACKEND": kind,
        "AWS_SECRET_NAME": "app/secrets",
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": secret_servers.TOKEN,
        "GOOGLE_CLOUD_PROJECT": "my-project",
        "SECRET_MANAGER_EMULATOR_HOST": address,
        "VAULT_ADDR": address,
        "VAULT_TOKEN": secret_servers.TOKEN,
        "VAULT_SECRET_PATH": "secret/my-app",
    }
    return open_backend(environ, **options)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def server(kind, tmp_path, monkeypatch):
    made = server_of(kind, tmp_path)
    if kind == "azure_key_vault":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.certificate))
    yield made
    made.stop()


def check(error, backend, name="API_KEY"):
    """See that the error says what it must and nothing that it must not, itself or in what lies behind it."""
    assert name in error.what
    assert backend.describe().place in error.what
    assert error.why
    assert error.hint
    assert error.__cause__ is None
    assert error.__context__ is None
    for hidden in (VALUE, secret_servers.TOKEN):
        assert hidden not in str(error)


def test_without_a_fault_the_value_comes(kind, server):
    assert backend_of(kind, server.address).get("API_KEY").reveal() == VALUE


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("missing", NotFound),
        ("forbidden", Refused),
        ("busy", Temporary),
        ("malformed", ConfigurationError),
        ("odd", Unavailable),
    ],
)
def test_what_the_store_answers_is_one_clear_error(kind, server, fault, expected):
    server.fault = fault
    backend = backend_of(kind, server.address)
    with pytest.raises(expected) as caught:
        backend.get("API_KEY")
    assert type(caught.value) is expected
    check(caught.value, backend)
    with pytest.raises(expected):
        backend.names()


def test_a_store_that_does_not_answer_is_given_up_in_time_and_asked_once(kind, server):
    server.fault = "hang"
    backend = backend_of(kind, server.address, timeout=0.2)
    with pytest.raises(Temporary) as caught:
        backend.get("API_KEY")
    check(caught.value, backend)
    assert "0.2 s" in caught.value.why
    assert len(server.asked) == 1


def test_a_store_that_is_not_there_cannot_be_reached(kind):
    scheme = "https" if kind == "azure_key_vault" else "http"
    backend = backend_of(kind, f"{scheme}://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable) as caught:
        backend.get("API_KEY")
    check(caught.value, backend)


@pytest.mark.parametrize(
    ("kind", "modules", "extra"),
    [
        ("aws_secrets_manager", ["boto3"], "aws"),
        ("gcp_secret_manager", ["google.cloud.secretmanager_v1", "google.cloud"], "gcp"),
        ("azure_key_vault", ["azure.keyvault.secrets"], "azure"),
        ("hashicorp_vault", ["hvac"], "vault"),
    ],
)
def test_a_client_that_is_not_installed_is_named_with_the_command_that_installs_it(kind, modules, extra, monkeypatch):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    backend = backend_of(kind, "https://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="is not installed") as caught:
        backend.get("API_KEY")
    assert f"pip install 'roadworthy[{extra}]'" in caught.value.hint


def test_a_program_goes_on_with_the_last_value_while_the_store_cannot_be_asked(kind, server):
    now = [0.0]
    backend = Backend(backend_of(kind, server.address).store, max_age=60, max_stale=600, now=lambda: now[0])
    assert backend.get("API_KEY").reveal() == VALUE
    server.fault = "busy"
    now[0] = 61
    assert backend.get("API_KEY").reveal() == VALUE
    assert backend.describe().stale == ("API_KEY",)
    asked = len(server.asked)
    assert backend.get("API_KEY").reveal() == VALUE
    assert len(server.asked) == asked, "it is not asked again at once"
    now[0] = 601
    with pytest.raises(Temporary):
        backend.get("API_KEY")
    server.fault = ""
    assert backend.get("API_KEY").reveal() == VALUE
    assert backend.describe().stale == ()


def test_a_right_that_is_taken_away_is_gone_at_once(kind, server):
    now = [0.0]
    backend = Backend(backend_of(kind, server.address).store, max_age=60, now=lambda: now[0])
    backend.get("API_KEY")
    server.fault = "forbidden"
    now[0] = 61
    with pytest.raises(Refused):
        backend.get("API_KEY")


def test_a_refresh_that_fails_says_so_and_leaves_what_is_there(kind, server):
    backend = backend_of(kind, server.address)
    backend.get("API_KEY")
    server.fault = "busy"
    with pytest.raises(Temporary):
        backend.refresh()
    assert backend.get("API_KEY").reveal() == VALUE
    server.fault = "missing"
    assert backend.refresh() == ("API_KEY",)
    server.fault = ""


# -- what is peculiar to one of them


@pytest.fixture
def amazon():
    server = server_of("aws_secrets_manager", None)
    yield server, backend_of("aws_secrets_manager", server.address)
    server.stop()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"SecretString": f'{{"API_KEY": "{VALUE}", }}'}, "no JSON"),
        ({"SecretString": f'{{"API_KEY": ["{VALUE}"]}}'}, "one text"),
        ({"SecretBinary": "//79"}, "UTF-8"),
        ({}, "neither text"),
    ],
)
def test_a_document_that_cannot_be_understood_is_not_quoted(amazon, answer, why):
    server, backend = amazon
    server.secrets = answer
    with pytest.raises(ConfigurationError) as caught:
        backend.get("API_KEY")
    assert why in caught.value.why
    check(caught.value, backend)


def test_a_plain_secret_at_aws_is_found_under_its_own_name(amazon):
    server, backend = amazon
    server.secrets = {"SecretString": VALUE}
    assert backend.names() == ("SECRETS",)
    assert backend.get("SECRETS").reveal() == VALUE
    with pytest.raises(NotFound):
        backend.get("API_KEY")
    server.secrets = {"SecretBinary": "YWJjZGVm"}
    backend.refresh()
    assert backend.get("SECRETS").reveal() == "abcdef"


def test_a_secret_that_is_marked_for_deletion_is_not_there(amazon):
    server, backend = amazon
    server.fault = "deleted"
    with pytest.raises(NotFound, match="API_KEY") as caught:
        backend.get("API_KEY")
    assert "deletion" in caught.value.hint


@pytest.mark.parametrize(
    ("missing", "named"),
    [("AWS_REGION", "AWS_REGION is not set"), ("AWS_ACCESS_KEY_ID", "no credentials"), ("profile", "AWS_PROFILE")],
)
def test_what_boto3_misses_is_said(amazon, missing, named, monkeypatch, tmp_path):
    server, _ = amazon
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environ = {
        "AWS_SECRET_NAME": "app/secrets",
        "AWS_ENDPOINT_URL": server.address,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    if missing == "profile":
        environ["AWS_PROFILE"] = "nobody"
    else:
        environ = {key: value for key, value in environ.items() if not key.startswith(missing.replace("_ID", "")[:14])}
        environ.pop("AWS_SECRET_ACCESS_KEY", None)
    with pytest.raises(ConfigurationError, match=named):
        open_backend(environ).get("API_KEY")


@pytest.fixture
def google():
    server = server_of("gcp_secret_manager", None)
    yield server, backend_of("gcp_secret_manager", server.address)
    server.stop()


def test_googles_checksum_is_tried(google):
    server, backend = google
    server.checksum = str(_crc32c(VALUE.encode()))
    assert backend.get("API_KEY").reveal() == VALUE
    server.checksum = "7"
    backend = backend_of("gcp_secret_manager", server.address)
    with pytest.raises(ConfigurationError, match="API_KEY") as caught:
        backend.get("API_KEY")
    check(caught.value, backend)


def test_the_checksum_is_that_of_the_published_example():
    assert _crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(("fault", "expected"), [("disabled", NotFound), ("late", Temporary)])
def test_what_else_google_answers(google, fault, expected):
    server, backend = google
    server.fault = fault
    with pytest.raises(expected):
        backend.get("API_KEY")


def test_without_googles_credentials_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    backend = open_backend({"SECRETS_BACKEND": "gcp_secret_manager", "GOOGLE_CLOUD_PROJECT": "my-project"})
    with pytest.raises(ConfigurationError, match="no credentials"):
        backend.get("API_KEY")


@pytest.mark.parametrize("kind", ["gcp_secret_manager", "azure_key_vault"])
def test_a_name_that_the_store_cannot_have_is_said(kind):
    backend = backend_of(kind, "https://127.0.0.1:1")
    with pytest.raises(Exception, match=r"a\.b cannot be the name"):
        backend.get("a.b")


def test_azure_needs_somebody_to_be(tmp_path, monkeypatch):
    server = server_of("azure_key_vault", tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))

    class Nobody:
        def get_token(self, *_scopes, **_options):
            from azure.core.exceptions import ClientAuthenticationError

            raise ClientAuthenticationError(message="no identity here")

    backend = Backend(AzureStore(server.address, 5.0, Nobody()))
    with pytest.raises(Refused, match="API_KEY") as caught:
        backend.get("API_KEY")
    check(caught.value, backend)
    server.stop()


def test_the_change_of_somebody_else_in_vault_is_not_overwritten():
    server = server_of("hashicorp_vault", None)
    backend = backend_of("hashicorp_vault", server.address)
    server.version = 1
    backend.set("OTHER_KEY", "other")
    assert server.secrets == {"API_KEY": VALUE, "OTHER_KEY": "other"}
    real = server.answer

    def somebody_else_first(method, *rest):
        server.version += method in {"POST", "PUT"}
        return real(method, *rest)

    server.answer = somebody_else_first
    with pytest.raises(Temporary, match="OTHER_KEY"):
        backend.set("OTHER_KEY", "mine")
    assert server.secrets["OTHER_KEY"] == "other"
    server.stop()


def test_a_token_that_vault_does_not_know_is_forbidden():
    server = server_of("hashicorp_vault", None)
    environ = {
        "SECRETS_BACKEND": "hashicorp_vault",
        "VAULT_ADDR": server.address,
        "VAULT_TOKEN": "wrong",
        "VAULT_SECRET_PATH": "secret/my-app",
    }
    with pytest.raises(Refused):
        open_backend(environ).get("API_KEY")
    server.stop()
