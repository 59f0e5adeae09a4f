"""Policies, services and features over HTTP: documents, acts, and what is refused, through the real gate."""

import json

import httpx
import jsonschema
import pytest

from roadworthy.agent.acts import Acts
from roadworthy.agent.resilience import Declaration, Resilience
from roadworthy.agent.server import Server
from roadworthy.agent.switches import Switches
from roadworthy.log import trail
from roadworthy.types import BreakerState, FeatureSummary, Kind, PolicySummary, Series, ServiceCondition, ServiceSummary
from roadworthy.view.snapshot import from_json, schema, to_json
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import NOW, quiet
from unit.view.sources import Past, Source, clock

pytestmark = pytest.mark.anyio

TOKEN = "t" * 40
LOGIN = {"Authorization": f"Bearer {TOKEN}"}
ERRORS = "/api/performance/errors/services"
ACTS = [
    ("POST", "/api/policies/db/force?state=forced_open&for=60&reason=why"),
    ("POST", "/api/policies/db/reset"),
    ("POST", "/api/features/reports/off?reason=high_load"),
    ("DELETE", "/api/features/reports/off"),
    ("POST", f"{ERRORS}/database/degrade?reason=high_load"),
    ("DELETE", f"{ERRORS}/database/degrade"),
    ("POST", f"{ERRORS}/database/recover"),
    ("POST", "/health/services/database/restart"),
]


class Apps:
    told = {  # noqa: RUF012 - never changed
        "policies": [Declaration(7, 0, {"name": "db", "breaker": {"state": "closed"}})],
        "services": [Declaration(7, 0, {"name": "database", "state": "up", "recover": True, "restart": True})],
        "features": [Declaration(7, 0, {"name": "reports", "off": False})],
    }

    def declared(self, kind):
        return self.told[kind]

    async def recover(self, _pid, _name, _timeout):
        return {"ok": True, "detail": "reconnected", "took": 0.01}


class House:
    def __init__(self, state):
        self.state = state
        self.switches = Switches(state)
        self.picture = Resilience(self.switches, Apps())
        self.picture.look(0)
        self.requests = []
        acts = Acts(
            self.picture,
            self.switches,
            Apps(),
            request=lambda what, slot: self.requests.append((what, slot)) or True,
            slots=lambda: range(4),
            audit=lambda record: trail.append(state, record) or True,
            note=lambda _text, _level: None,
        )
        self.server = Server(
            routes(Source(snapshot()), Past(), controls=acts.table(), now_ns=clock(0.5)), token=TOKEN, public=PUBLIC
        )

    def client(self, **headers):
        transport = httpx.ASGITransport(self.server.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9900", headers=headers)

    def changed(self):
        return self.requests or (self.state / "switches.json").exists() or (self.state / trail.FILE).exists()


def snapshot(**changes):
    recoveries = [
        Series(
            "resilience.recoveries",
            Kind.COUNTER,
            (("action", "reconnect"), ("component", "database"), ("kind", "ConnectionError"), ("outcome", outcome)),
            value=value,
        )
        for outcome, value in (("success", 3.0), ("failure", 1.0))
    ]
    return quiet(
        **{
            "policies": (
                PolicySummary(
                    "db", BreakerState.OPEN, NOW - 5, "6 of 10 failed", NOW + 5, {"success": 4, "failure": 6}
                ),
                PolicySummary("cache"),
            ),
            "services": (
                ServiceSummary("database", ServiceCondition.DOWN, BreakerState.OPEN, "refused", NOW - 5, recover=True),
                ServiceSummary("mail", ServiceCondition.UP),
            ),
            "features": (
                FeatureSummary("reports", off=True, reason="high_load", since=NOW, by="people"),
                FeatureSummary("export", off=False),
            ),
            "series": tuple(recoveries),
            **changes,
        }
    )


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


async def test_the_documents_tell_states_rates_and_reasons(house):
    async with house.client() as client:
        policies = (await client.get("/api/policies")).json()
        services = (await client.get(ERRORS)).json()
        features = (await client.get("/api/features")).json()
    assert policies["open"] == 1
    assert policies["policies"][0]["breaker"] == "open"
    assert policies["policies"][1]["breaker"] is None
    assert services["services"]["database"]["state"] == "down"
    assert services["services"]["mail"]["last_error_at"] is None
    assert services["recoveries"] == {
        "attempts": 4,
        "succeeded": 3,
        "success_rate": 0.75,
        "by_component": {
            "database": {
                "attempts": 4,
                "succeeded": 3,
                "by_kind": {"ConnectionError": 4},
                "by_action": {"reconnect": 4},
            }
        },
    }
    assert (features["off"], [one["name"] for one in features["features"]]) == (1, ["reports", "export"])


async def test_health_shows_degraded_components_with_reasons_and_the_state_of_each_breaker(house):
    async with house.client() as client:
        detailed = (await client.get("/health/detailed")).json()
        services = (await client.get("/health/services")).json()["services"]
        summary = (await client.get("/api/performance/errors/summary")).json()
    assert detailed["breakers"] == {"db": "open"}
    assert [(one["kind"], one["name"], one["reason"]) for one in detailed["degraded_components"]] == [
        ("service", "database", "refused"),
        ("feature", "reports", "high_load"),
    ]
    assert (services["database"]["status"], services["database"]["breaker"]) == ("unhealthy", "open")
    assert summary["recovery"]["success_rate"] == 0.75


async def test_without_recoveries_there_is_no_rate_of_success(house):
    source = Source(snapshot(series=()))
    server = Server(routes(source, Past(), now_ns=clock(0.5)), token=TOKEN, public=PUBLIC)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://127.0.0.1:9900") as client:
        assert (await client.get(ERRORS)).json()["recoveries"]["success_rate"] is None


async def test_the_snapshot_carries_them_and_fits_its_schema(house):
    async with house.client() as client:
        document = (await client.get("/api/snapshot")).json()
    jsonschema.validate(document, schema())
    again = from_json(document)
    assert (again.policies, again.services, again.features) == (
        snapshot().policies, snapshot().services, snapshot().features,
    )  # fmt: skip


def test_a_snapshot_of_an_agent_before_these_fields_can_be_read():
    document = to_json(snapshot())
    for name in ("policies", "services", "features"):
        del document[name]
    assert from_json(document).policies == ()


@pytest.mark.parametrize(("method", "path"), ACTS)
async def test_each_act_answers_the_one_result_object_and_is_in_the_trail(house, method, path):
    async with house.client(**LOGIN, **{"X-Roadworthy-Actor": "alice"}) as client:
        answer = await client.request(method, path)
    done = answer.json()
    assert answer.status_code == (202 if done["outcome"] == "begun" else 200)
    assert list(done) == [
        "ok", "act", "target", "outcome", "detail", "at", "took", "escalated", "until", "processes", "audited",
    ]  # fmt: skip
    assert (done["ok"], done["audited"]) == (True, True)
    (line,) = (house.state / trail.FILE).read_text().splitlines()
    record = json.loads(line)
    assert (record["act"], record["target"], record["actor"]) == (
        done["act"],
        done["target"],
        "command line, alice, 127.0.0.1",
    )


@pytest.mark.parametrize(("method", "path"), ACTS)
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "no-token"),
        ({"Authorization": "Bearer wrong"}, "no-token"),
        ({**LOGIN, "Origin": "http://evil.example"}, "foreign-origin"),
        ({**LOGIN, "Origin": "http://127.0.0.1:9900"}, "no-csrf"),
        ({**LOGIN, "Origin": "http://127.0.0.1:9900", "X-Roadworthy-CSRF": "0" * 64}, "no-csrf"),
        ({**LOGIN, "Sec-Fetch-Site": "cross-site"}, "foreign-origin"),
        ({**LOGIN, "Host": "rebound.example"}, "foreign-host"),
    ],
)
async def test_nobody_acts_without_token_and_the_page_s_own_value(house, method, path, headers, code):
    async with house.client(**headers) as client:
        answer = await client.request(method, path)
    assert answer.json()["code"] == code
    assert not house.changed()


async def test_the_page_may_act_with_token_csrf_value_and_its_own_origin(house):
    own = {**LOGIN, "Origin": "http://127.0.0.1:9900", "X-Roadworthy-CSRF": house.server.csrf}
    async with house.client(**own) as client:
        assert (await client.post("/api/features/reports/off")).status_code == 200
    assert json.loads((house.state / trail.FILE).read_text())["actor"] == "dashboard, 127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "named"),
    [
        ("POST", "/api/policies/nope/force?state=forced_open", 404, "no-such-name", "policy 'nope'"),
        ("POST", "/api/policies/db/force?state=wide_open", 400, "bad-parameter", "'state'"),
        ("POST", "/api/policies/db/force", 400, "bad-parameter", "'state'"),
        ("POST", "/api/policies/db/force?state=disabled&for=-1", 400, "bad-parameter", "'for'"),
        ("POST", "/api/policies/db/force?state=disabled&for=nan", 400, "bad-parameter", "'for'"),
        ("POST", "/api/policies/db/force?state=disabled&for=1e999", 400, "bad-parameter", "'for'"),
        ("POST", "/api/policies/db/force?state=disabled&until=1", 400, "unknown-parameter", "'until'"),
        ("POST", "/api/policies/db/force?state=disabled&reason=a%0Ab", 400, "bad-parameter", "'reason'"),
        ("POST", "/api/policies/nope/reset", 404, "no-such-name", "policy 'nope'"),
        ("POST", "/api/features/nope/off", 404, "no-such-name", "feature 'nope'"),
        ("DELETE", "/api/features/nope/off", 404, "no-such-name", "feature 'nope'"),
        ("POST", "/api/features/reports/off?for=soon", 400, "bad-parameter", "'for'"),
        ("POST", f"{ERRORS}/nope/degrade", 404, "no-such-name", "service 'nope'"),
        ("DELETE", f"{ERRORS}/nope/degrade", 404, "no-such-name", "service 'nope'"),
        ("POST", f"{ERRORS}/nope/recover", 404, "no-such-name", "service 'nope'"),
        ("POST", "/health/services/nope/restart", 404, "no-such-name", "service 'nope'"),
        ("POST", "/api/features/%00/off", 400, "bad-parameter", "name"),
        ("DELETE", "/api/policies", 405, "wrong-method", ""),
    ],
)
async def test_what_is_wrong_is_a_problem_document_that_names_it_and_nothing_changes(
    house, method, path, status, code, named
):
    async with house.client(**LOGIN) as client:
        answer = await client.request(method, path)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert named in problem["detail"]
    assert not house.changed()


async def test_parameters_in_a_body_are_refused_and_not_passed_over(house):
    async with house.client(**LOGIN) as client:
        answer = await client.post("/api/features/reports/off", json={"for": 60})
        assert (answer.status_code, answer.json()["code"]) == (400, "no-body")
        assert not house.changed()
        assert (await client.post("/api/features/reports/off?for=60", json={})).status_code == 200


async def test_what_was_done_a_moment_ago_says_when_it_may_be_done_again(house):
    async with house.client(**LOGIN) as client:
        assert (await client.post(f"{ERRORS}/database/recover")).status_code == 200
        answer = await client.post(f"{ERRORS}/database/recover")
    assert (answer.status_code, answer.json()["code"]) == (429, "too-soon")
    assert 1 <= int(answer.headers["retry-after"]) <= 10


@pytest.mark.parametrize(("method", "path"), ACTS)
async def test_an_agent_that_cannot_act_says_so(method, path):
    server = Server(routes(Source(snapshot()), Past(), now_ns=clock(0.5)), token=TOKEN, public=PUBLIC)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://127.0.0.1:9900") as client:
        answer = await client.request(method, path, headers=LOGIN)
    assert (answer.status_code, answer.json()["code"]) == (501, "cannot-do")


async def test_every_path_is_in_the_openapi_document_with_its_methods(house):
    async with house.client() as client:
        paths = (await client.get("/api/openapi.json")).json()["paths"]
    assert set(paths[f"{ERRORS}/{{service}}/degrade"]) == {"post", "delete"}
    assert set(paths["/api/features/{name}/off"]) == {"post", "delete"}
    for path in ("/api/performance/errors/summary", ERRORS, "/api/policies", "/api/features"):
        assert set(paths[path]) == {"get"}
    for path in (f"{ERRORS}/{{service}}/recover", "/health/services/{service}/restart", "/api/policies/{name}/force"):
        operation = paths[path]["post"]
        assert operation["security"] == [{"token": []}]
        assert {"429", "404", "409"} <= set(operation["responses"])
        assert operation["parameters"][0]["in"] == "path"
