"""The operations API as its clients see it: each path answers real data of the snapshot, in the promised form."""

import gzip
import json
import re
from dataclasses import replace

import httpx
import jsonschema
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from roadworthy.agent.server import Server
from roadworthy.errors import Unavailable
from roadworthy.types import CheckResult, Status, Verdict
from roadworthy.view.prometheus import OPENMETRICS_TYPE, TEXT_TYPE
from roadworthy.view.snapshot import from_json, schema
from roadworthy.view.web.app import PUBLIC, preferred, probe_routes, routes
from unit.view.snapshots import NOW, quiet, troubled
from unit.view.sources import Past, Source, clock

pytestmark = pytest.mark.anyio

TOKEN = "t" * 40


def api(snapshot, *, age=0.5, history=None, host="127.0.0.1", controls=None, **rules):
    snapshot_source = snapshot if isinstance(snapshot, Source) else Source(snapshot)
    past = history or Past(snapshot_source.snapshot.incidents if snapshot_source.snapshot else ())
    server = Server(
        routes(snapshot_source, past, controls=controls, now_ns=clock(age)),
        token=TOKEN,
        host=host,
        public=PUBLIC,
        **rules,
    )
    transport = httpx.ASGITransport(server.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9900")


def verdict(status, *, ready=True, live=True, started=True):
    return quiet(verdict=Verdict(status, "because", NOW - 5, (), live=live, ready=ready, started=started))


@pytest.mark.parametrize(
    ("snapshot", "age", "code", "body"),
    [
        (verdict(Status.OK), 0.5, 200, {"status": "ok"}),
        (verdict(Status.DEGRADED), 0.5, 200, {"status": "degraded"}),
        (verdict(Status.UNHEALTHY), 0.5, 503, {"status": "unhealthy"}),
        (verdict(Status.UNKNOWN), 0.5, 503, {"status": "unhealthy"}),
        (verdict(Status.RECOVERING, ready=True), 0.5, 200, {"status": "degraded"}),
        (verdict(Status.RECOVERING, ready=False), 0.5, 503, {"status": "unhealthy"}),
        (verdict(Status.OK), 4.9, 200, {"status": "ok"}),
        (verdict(Status.OK), 5.1, 503, {"status": "unhealthy"}),
        (None, 0.5, 503, {"status": "unhealthy"}),
    ],
)
async def test_health_says_exactly_one_word_and_unknown_is_a_failure(snapshot, age, code, body):
    async with api(snapshot, age=age) as client:
        answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (code, body)


@pytest.mark.parametrize(
    ("path", "snapshot", "age", "code"),
    [
        ("/livez", verdict(Status.OK), 0.5, 200),
        ("/livez", verdict(Status.UNHEALTHY, live=True, ready=False), 0.5, 200),
        ("/livez", verdict(Status.UNHEALTHY, live=False), 0.5, 503),
        ("/livez", verdict(Status.OK), 6.0, 503),
        ("/livez", None, 0.5, 503),
        ("/readyz", verdict(Status.OK), 0.5, 200),
        ("/readyz", verdict(Status.DEGRADED, ready=False), 0.5, 503),
        ("/readyz", None, 0.5, 503),
        ("/healthz", verdict(Status.OK), 0.5, 200),
        ("/startupz", verdict(Status.OK), 0.5, 200),
        ("/startupz", verdict(Status.OK, started=False), 0.5, 503),
        ("/startupz", None, 0.5, 503),
    ],
)
async def test_a_probe_can_be_true_and_false(path, snapshot, age, code):
    async with api(snapshot, age=age) as client:
        answer = await client.get(path)
    assert answer.status_code == code
    assert (answer.text == "ok") is (code == 200)


async def test_liveness_never_looks_at_what_the_program_depends_on():
    async with api(troubled()) as client:
        assert (await client.get("/livez?verbose")).text == "[+]measured ok\n[+]program ok\nlivez check passed\n"
        assert (await client.get("/readyz")).status_code == 503


async def test_a_probe_tells_what_it_looked_at_and_can_leave_things_out():
    check = CheckResult("db", "readiness", Status.UNHEALTHY, "refused", NOW, 0.1, 10.0, 2.0, 3, outage=True)
    snapshot = quiet(checks=(check,), verdict=replace(verdict(Status.UNHEALTHY).verdict, ready=False))
    async with api(snapshot) as client:
        answer = await client.get("/readyz?verbose")
        assert answer.status_code == 503
        assert "[-]check-db failed: refused\n" in answer.text
        assert "[+]workers ok\n" in answer.text
        assert answer.text.endswith("readyz check failed\n")
        answer = await client.get("/readyz?verbose&exclude=check-db&exclude=nonsense")
        assert answer.status_code == 200
        assert "[+]check-db excluded: ok\n" in answer.text
        assert "no matches for 'nonsense'" in answer.text


async def test_one_failed_check_is_no_outage_and_one_that_never_ran_is_not_ready():
    failed_once = CheckResult("db", "readiness", Status.UNHEALTHY, "refused", NOW, 0.1, 10.0, 2.0, 1, outage=False)
    never = replace(failed_once, status=Status.UNKNOWN, at=None)
    async with api(quiet(checks=(failed_once,))) as client:
        assert (await client.get("/readyz")).status_code == 200
    async with api(quiet(checks=(never,))) as client:
        assert (await client.get("/readyz")).status_code == 503


async def test_the_detailed_health_has_the_promised_keys_and_the_same_http_status():
    async with api(troubled()) as client:
        answer = await client.get("/health/detailed")
    assert answer.status_code == 503
    found = answer.json()
    assert {"status", "checks", "degraded", "breakers", "timestamp"} <= set(found)
    assert found["status"] == "unhealthy"
    assert found["checks"]["database"]["outage"] is True
    assert found["degraded"] == ["worker 1", "check database"]
    assert re.fullmatch(r"2026-\d\d-\d\dT[\d:.]+Z", found["timestamp"])


async def test_services_are_workers_and_checks_and_unknown_ones_say_so():
    async with api(troubled()) as client:
        found = (await client.get("/health/services")).json()["services"]
    assert {name: one["status"] for name, one in found.items()} == {
        "worker-0": "ok",
        "worker-1": "unhealthy",
        "database-0": "unhealthy",
        "disk": "ok",
        "mail": "unknown",
    }
    async with api(troubled(), age=60) as client:
        found = (await client.get("/health/services")).json()["services"]
    assert {one["status"] for one in found.values()} == {"unknown"}


@pytest.mark.parametrize("path", ["/api/snapshot", "/health/dashboard"])
async def test_the_snapshot_validates_and_is_the_snapshot(path):
    async with api(troubled()) as client:
        found = (await client.get(path)).json()
    jsonschema.Draft202012Validator(schema()).validate(found)
    assert from_json(found) == troubled()


@pytest.mark.parametrize("path", ["/metrics", "/health/metrics"])
async def test_metrics_come_in_both_formats_under_both_paths(path):
    async with api(troubled()) as client:
        text = await client.get(path)
        assert text.headers["content-type"] == TEXT_TYPE
        assert any(family.name == "http_server_request_duration_seconds" for family in parse_text(text.text))
        opened = await client.get(
            path, headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
        )
        assert opened.headers["content-type"] == OPENMETRICS_TYPE
        assert any(family.name == "orders" for family in parse_openmetrics(opened.text))


async def test_metrics_are_compressed_for_who_wants_that():
    async with api(troubled()) as client:
        async with client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])
        plain = await client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert "content-encoding" not in plain.headers


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", TEXT_TYPE),
        ("*/*", TEXT_TYPE),
        ("text/plain", TEXT_TYPE),
        ("application/openmetrics-text", OPENMETRICS_TYPE),
        (PROMETHEUS, OPENMETRICS_TYPE),
        ("application/openmetrics-text;version=2.0.0, text/plain", TEXT_TYPE),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", TEXT_TYPE),
        ("application/openmetrics-text;q=0", TEXT_TYPE),
        ("application/openmetrics-text;q=nonsense", TEXT_TYPE),
        (";;;,,,q=,=/;", TEXT_TYPE),
        ("application/vnd.google.protobuf", TEXT_TYPE),
    ],
)
def test_the_format_is_what_the_client_prefers(accept, media):
    assert preferred(accept) == media


async def test_history_answers_points_with_gaps_as_null():
    past = Past()
    async with api(troubled(), history=past) as client:
        found = (await client.get("/api/history?names=cpu.percent,unknown.one&seconds=120&points=40")).json()
        labelled = (await client.get("/api/history?names=a{b=c,d=e},f&names=g")).json()
        assert set(labelled["series"]) == {"a{b=c,d=e}", "f", "g"}
        everything = (await client.get("/api/history")).json()
    assert past.asked[0] == (["cpu.percent", "unknown.one"], NOW - 120, NOW, 40)
    assert found["series"]["unknown.one"] == []
    assert found["series"]["cpu.percent"][3] == [NOW - 45, None]
    assert set(everything["series"]) == {"cpu.percent", "loop.lag"}


async def test_incidents_are_listed_and_opened():
    async with api(troubled()) as client:
        listed = (await client.get("/api/incidents")).json()["incidents"]
        opened = await client.get(f"/api/incidents/{listed[0]['id']}")
    assert listed[0]["exit"]["signal"] == 11
    assert listed[0]["recovered_after"] is None
    assert opened.json()["id"] == listed[0]["id"]


async def test_operations_come_worst_first_and_series_by_name():
    async with api(troubled()) as client:
        found = (await client.get("/api/operations")).json()
        assert found["operations"][0]["name"] == "checkout"
        assert found["operations"][-1]["p99"] is None
        assert found["in_flight"][0]["age"] == 12.5
        found = (await client.get("/api/series?name=orders")).json()["series"]
        assert [(one["labels"], one["value"]) for one in found] == [({"country": "de"}, 41.0), ({"country": "fr"}, 2.0)]


async def test_signals_tell_what_was_declared_and_never_came():
    async with api(troubled()) as client:
        found = (await client.get("/api/signals")).json()
    assert {one["name"]: (one["last"], one["stale"]) for one in found["signals"]}["mailer"] == (None, True)


async def test_the_performance_documents_hold_real_figures():
    async with api(troubled()) as client:
        now = (await client.get("/api/performance/resources/current")).json()
        assert now["program"]["cpu_percent"] == 25.0
        assert now["workers"][1]["rss"] is None
        trends = (await client.get("/api/performance/resources/trends?hours=2")).json()
        assert trends["hours"] == 2
        assert trends["trends"]["app.cpu_percent"]["label"] == "increasing"
        starts = (await client.get("/api/performance/startup/stats")).json()
        assert (starts["count"], starts["last"], starts["starts"][0]["slowest"]["label"]) == (1, 1.5, "imports")
        errors = (await client.get("/api/performance/errors/summary")).json()
        assert (errors["total"], errors["by_type"], errors["by_operation"]) == (
            120,
            {"ValueError": 120},
            {"checkout": 120},
        )
        whole = (await client.get("/api/performance/overview")).json()
        assert whole["uptime_seconds"] == 3600
        assert whole["verdict"]["status"] == "unhealthy"


async def test_before_the_first_measurement_documents_say_so_instead_of_inventing():
    async with api(None) as client:
        for path in ("/api/snapshot", "/metrics", "/api/performance/overview", "/api/signals"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "not-measured")
        assert (await client.get("/health/detailed")).json()["status"] == "unknown"


async def test_the_page_holds_the_newest_state_and_may_run_only_its_own_script():
    async with api(troubled()) as client:
        for path in ("/", "/health/dashboard/html"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/html")
            assert "sha256-" in answer.headers["content-security-policy"]
            assert "worker 1 dies again and again" in answer.text
            assert TOKEN not in answer.text


async def test_a_control_is_asked_and_says_what_it_began():
    asked = []

    async def restart(what):
        asked.append(what)
        return {"began": "restart"}

    async def reload(_what):
        raise Unavailable("the keeper does not answer", hint="See roadworthy status.")

    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with api(quiet(), controls={"restart": restart, "reload": reload}) as client:
        answer = await client.post("/api/restart?slot=1", headers=headers)
        assert (answer.status_code, answer.json(), asked) == (
            202,
            {"began": "restart"},
            [{"slot": 1, "actor": "api, 127.0.0.1"}],
        )
        answer = await client.post("/api/reload", headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (409, "the keeper does not answer")
    async with api(quiet()) as client:
        answer = await client.post("/api/restart", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (501, "cannot-do")


async def test_the_openapi_document_names_every_route_and_its_references_resolve():
    made = routes(Source(quiet()), Past())
    async with api(quiet()) as client:
        found = (await client.get("/api/openapi.json")).json()
    assert found["openapi"].startswith("3.1")
    described = {(path, method.upper()) for path, methods in found["paths"].items() for method in methods}
    assert described == {(route.path, method) for route in made for method in route.methods - {"HEAD"}}
    text = json.dumps(found)
    for name in set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text)):
        assert name in found["components"]["schemas"]
    assert "#/$defs/" not in text
    ids = [one["operationId"] for methods in found["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in found["paths"].items():
        for one in methods.values():
            assert one["summary"]
            assert one["responses"]
            in_path = {parameter["name"] for parameter in one["parameters"] if parameter["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            for parameter in one["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])
    for one in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(one)


async def test_every_answer_is_as_its_schema_says():
    described = 0
    async with api(troubled()) as client:
        found = (await client.get("/api/openapi.json")).json()
        for path, methods in found["paths"].items():
            content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
            form = content.get("application/json", {}).get("schema", {})
            if "$ref" not in form:
                continue
            whole = {"components": found["components"], **form}
            jsonschema.Draft202012Validator(whole).validate((await client.get(path)).json())
            described += 1
    assert described >= 9


async def test_every_get_path_answers_and_every_json_answer_is_json():
    async with api(troubled()) as client:
        for path, methods in (await client.get("/api/openapi.json")).json()["paths"].items():
            if path == "/api/events" or "get" not in methods:
                continue
            answer = await client.get(path.replace("{id}", troubled().incidents[0].id))
            assert answer.status_code in {200, 501, 503}, path
            if answer.headers["content-type"].startswith("application/json"):
                answer.json()


async def test_the_probe_listener_serves_nothing_but_probes_to_anybody():
    server = Server(routes(Source(quiet()), Past(), now_ns=clock()), token=TOKEN, public=PUBLIC)
    assert {route.path for route in probe_routes(Source(quiet()))} >= {"/health", "/livez", "/readyz", "/startupz"}
    transport = httpx.ASGITransport(server.probe_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://10.1.2.3:9901") as client:
        for path in ("/health", "/livez", "/readyz", "/startupz"):
            assert (await client.get(path)).status_code == 200
        for path in ("/", "/metrics", "/api/snapshot", "/health/detailed"):
            assert (await client.get(path)).status_code in {401, 404}
        assert "measured" not in (await client.get("/livez?verbose")).text
