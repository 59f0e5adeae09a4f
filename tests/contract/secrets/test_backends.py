"""What holds of every store of secrets: the files, and the vendors' own clients over real HTTP."""

import itertools

import boto3
import pytest
from moto.server import ThreadedMotoServer

from roadworthy.config.secrets import BACKENDS, open_backend
from roadworthy.errors import NotFound, UsageError
from support.secret_places import PLACES

VALUES = [
    "sk-ant-api03-abcdefghijklmnop",
    "with blanks, 'single' and \"double\" quotes",
    "a#b $HOME `date` \\n %s {x}",
    "geheimnis-äöü-鍵",
    "two\nlines",
    "=leading",
]


WRITABLE = [kind for kind in PLACES if kind not in {"env", "systemd_credentials", "directory"}]


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "secretsmanager",
        endpoint_url=address,
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    yield address, client
    client.close()
    server.stop()


@pytest.fixture(params=list(PLACES))
def place(request, tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    extra = request.getfixturevalue("moto") if request.param == "aws_secrets_manager" else ()
    made = PLACES[request.param](tmp_path, *extra)
    if request.param == "azure_key_vault":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.server.certificate))
    made.put("API_KEY", VALUES[0])
    yield made
    made.stop()


def test_every_backend_is_tried_here():
    assert set(PLACES) == set(BACKENDS)


def test_a_secret_that_is_there_is_given_under_its_name(place):
    secret = place.opened().get("API_KEY")
    assert secret.reveal() == VALUES[0]
    assert secret.name == "API_KEY"


def test_one_that_is_not_there_is_said_so_with_its_name_and_the_store(place):
    backend = place.opened()
    with pytest.raises(NotFound) as caught:
        backend.get("OTHER_KEY")
    assert "OTHER_KEY" in str(caught.value)
    assert backend.describe().place in str(caught.value)
    assert VALUES[0] not in str(caught.value)
    assert backend.find("OTHER_KEY") is None


def test_names_are_listed_in_order(place):
    place.put("ANOTHER_KEY", "another-value")
    names = place.opened().names()
    assert [name for name in names if name.endswith("_KEY")] == ["ANOTHER_KEY", "API_KEY"]


def test_any_text_comes_back_as_it_is(place):
    backend = place.opened()
    for number, value in enumerate(VALUES):
        place.put(f"ODD_KEY_{number}", value)
    assert [backend.get(f"ODD_KEY_{number}").reveal() for number in range(len(VALUES))] == VALUES


def test_a_rotated_value_reaches_a_running_program_when_the_old_one_is_too_old(place):
    backend = place.opened(max_age=60)
    told = []
    backend.on_rotation(lambda name, secret: told.append((name, secret.reveal())))
    assert backend.get("API_KEY").reveal() == VALUES[0]
    place.put("API_KEY", "the-new-one")
    place.now += 59
    assert backend.get("API_KEY").reveal() == VALUES[0]
    assert told == []
    place.now += 2
    assert backend.get("API_KEY").reveal() == "the-new-one"
    assert told == [("API_KEY", "the-new-one")]


def test_a_rotated_value_reaches_a_running_program_at_once_when_it_is_told_to_look(place):
    backend = place.opened()
    told = []
    end = backend.on_rotation(lambda name, secret: told.append((name, secret.reveal())))
    backend.get("API_KEY")
    assert backend.refresh() == ()
    place.put("API_KEY", "the-new-one")
    assert backend.refresh() == ("API_KEY",)
    assert told == [("API_KEY", "the-new-one")]
    end()
    place.put("API_KEY", "a-newer-one")
    assert backend.refresh() == ("API_KEY",)
    assert len(told) == 1


def test_what_can_be_set_and_deleted_is_and_the_others_say_where(place):
    backend = place.opened()
    assert backend.describe().writable == (place.kind in WRITABLE)
    if place.kind in WRITABLE:
        backend.get("API_KEY")
        for value in (*VALUES, "the-last-one"):
            backend.set("NEW_KEY", value)
            assert backend.get("NEW_KEY").reveal() == value
        assert place.opened().get("NEW_KEY").reveal() == "the-last-one"
        assert backend.get("API_KEY").reveal() == VALUES[0]
        backend.delete("NEW_KEY")
        assert backend.find("NEW_KEY") is None
        with pytest.raises(NotFound):
            backend.delete("NEW_KEY")
    else:
        for change in (lambda: backend.set("NEW_KEY", "value"), lambda: backend.delete("API_KEY")):
            with pytest.raises(UsageError) as caught:
                change()
            assert caught.value.hint
    assert backend.get("API_KEY").reveal() == VALUES[0]


@pytest.mark.parametrize("place", WRITABLE, indirect=True)
def test_setting_a_value_that_is_in_use_tells_subscribers(place):
    backend = place.opened()
    told = []
    backend.on_rotation(lambda name, secret: told.append((name, secret.reveal())))
    backend.get("API_KEY")
    backend.set("API_KEY", "the-new-one")
    assert told == [("API_KEY", "the-new-one")]


def test_nothing_that_describes_it_shows_a_value(place):
    backend = place.opened()
    backend.get("API_KEY")
    assert VALUES[0] not in repr((backend.describe(), backend.entries(), backend.__dict__))


NAMES = ["", "../../etc/passwd", "A/B", "A B", "A\n", "1A", "x" * 201, "Ä"]


def test_a_name_that_could_lead_elsewhere_is_refused_before_the_store_is_asked(place):
    backend = place.opened()
    for call, name in itertools.product((backend.get, backend.delete, lambda name: backend.set(name, "value")), NAMES):
        with pytest.raises(UsageError, match="cannot be the name of a secret"):
            call(name)


def test_each_use_is_counted_by_name(place):
    used = []
    backend = place.opened(used=used.append)
    backend.get("API_KEY")
    backend.get("API_KEY")
    backend.find("OTHER_KEY")
    assert used == ["API_KEY", "API_KEY", "OTHER_KEY"]


def test_opening_one_asks_nothing_yet():
    assert open_backend({"SECRETS_BACKEND": "aws_secrets_manager", "AWS_SECRET_NAME": "x"}).describe().writable
