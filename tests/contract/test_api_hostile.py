"""Hostile requests get one clear problem document each, and nothing of the inside."""

import json
import random

import httpx
import pytest

from roadworthy.agent.gate import Denied, Rules, host_of, is_loopback, judge
from roadworthy.agent.server import Server
from roadworthy.view.web.app import PUBLIC, routes
from unit.view.snapshots import quiet, troubled
from unit.view.sources import Past, Source, clock

pytestmark = pytest.mark.anyio

TOKEN = "s3cret-" + "t" * 40
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def done(_what):
    return {"began": True}


def server(host="127.0.0.1", source=None, **rules):
    made = routes(source or Source(troubled()), Past(troubled().incidents), controls={"restart": done}, now_ns=clock())
    return Server(made, token=TOKEN, host=host, public=PUBLIC, **rules)


def client(made=None, base="http://127.0.0.1:9900"):
    transport = httpx.ASGITransport((made or server()).app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=base)


def is_problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    assert found["type"] == "about:blank"
    assert found["title"]
    assert found["detail"]
    assert TOKEN not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    return True


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "not-found"),
        ("/metrics/", 404, "not-found"),
        ("/../../etc/passwd", 404, "not-found"),
        ("/api/incidents/..%2f..%2fetc%2fpasswd", 404, "not-found"),
        ("/api/incidents/..", 404, "not-found"),
        ("/api/incidents/%2e%2e", 404, "no-such-incident"),
        ("/api/incidents/%00", 404, "no-such-incident"),
        ("/api/incidents/" + "x" * 500, 404, "no-such-incident"),
        ("/api/history?seconds=never", 400, "bad-parameter"),
        ("/api/history?seconds=nan", 400, "bad-parameter"),
        ("/api/history?seconds=-5", 400, "bad-parameter"),
        ("/api/history?seconds=1e300", 400, "bad-parameter"),
        ("/api/history?points=1e3", 400, "bad-parameter"),
        ("/api/history?points=999999999", 400, "bad-parameter"),
        ("/api/history?points=" + "9" * 5000, 400, "bad-parameter"),
        ("/api/history?names=" + ",".join("abcdefgh"[i % 8] for i in range(60)), 400, "bad-parameter"),
        ("/api/history?nams=a", 400, "unknown-parameter"),
        ("/api/snapshot?x=1", 400, "unknown-parameter"),
        ("/api/performance/resources/trends?hours=0", 400, "bad-parameter"),
        ("/api/performance/resources/trends?hours=%F0%9F%92%A3", 400, "bad-parameter"),
        ("/metrics?q=" + "x" * 9000, 414, "query-too-long"),
        ("/" + "x" * 2000, 414, "path-too-long"),
    ],
)
async def test_a_bad_path_or_parameter_is_a_problem_that_says_which(path, status, code):
    async with client() as asking:
        answer = await asking.get(path)
    assert is_problem(answer, status, code)


async def test_a_bad_value_is_named_with_what_it_should_be():
    async with client() as asking:
        found = (await asking.get("/api/history?points=many")).json()
    assert found["detail"] == "The parameter 'points' cannot be 'many'."
    assert found["hint"] == "It is a whole number, at least 2 and at most 2000."


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
async def test_a_wrong_method_is_refused(method):
    async with client() as asking:
        assert is_problem(await asking.request(method, "/metrics", headers=BEARER), 405, "wrong-method")
        assert is_problem(await asking.request(method, "/metrics"), 401, "no-token")


async def test_a_change_cannot_be_made_by_reading():
    async with client() as asking:
        answer = await asking.get("/api/restart", headers=BEARER)
    assert is_problem(answer, 405, "wrong-method")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9900",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7:9900",
        "[::1",
        "a:b:c",
        "x" * 300,
        "",
    ],
)
async def test_a_foreign_host_is_refused_so_that_no_name_can_be_pointed_here(host):
    async with client() as asking:
        assert is_problem(await asking.get("/api/snapshot", headers={"Host": host}), 421, "foreign-host")
        assert is_problem(await asking.get("/health", headers={"Host": host}), 421, "foreign-host")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9900", "127.0.0.1", "127.9.8.7:1", "[::1]:9900", "shop.localhost:9900", "ops.example:443"],
)
async def test_loopback_and_configured_hosts_are_answered(host):
    async with client(server(allowed_hosts=["ops.example"])) as asking:
        assert (await asking.get("/api/snapshot", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "Basic dTpw",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xe4\xf6",
    ],
)
async def test_a_wrong_token_is_refused_even_where_none_is_needed(authorization):
    async with client() as asking:
        answer = await asking.get("/api/snapshot", headers={"Authorization": authorization.encode("latin-1")})
    assert is_problem(answer, 401, "no-token")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_off_loopback_reading_needs_the_token_but_probes_and_the_empty_page_do_not():
    async with client(server(host="0.0.0.0"), base="http://192.0.2.7:9900") as asking:
        for path in (
            "/metrics",
            "/api/snapshot",
            "/health/detailed",
            "/api/incidents",
            "/api/openapi.json",
            "/nothing",
        ):
            assert is_problem(await asking.get(path), 401, "no-token")
            assert (await asking.get(path, headers=BEARER)).status_code in {200, 404, 503}
        assert (await asking.get("/health")).json() == {"status": "unhealthy"}
        assert (await asking.get("/livez?verbose")).text == "ok"
        page = await asking.get("/")
        assert page.status_code == 200
        assert "worker 1 dies" not in page.text
        assert "shop" not in page.text
        assert "worker 1 dies" in (await asking.get("/", headers=BEARER)).text
        assert is_problem(await asking.get("/health", headers={"Host": "rebound.example"}), 421, "foreign-host")


async def test_a_change_needs_the_token_and_from_a_browser_the_page_too():
    made = server()
    origin = {"Origin": "http://127.0.0.1:9900", "Sec-Fetch-Site": "same-origin"}
    async with client(made) as asking:
        assert is_problem(await asking.post("/api/restart"), 401, "no-token")
        assert is_problem(await asking.post("/api/restart", headers=origin), 401, "no-token")
        assert (await asking.post("/api/restart", headers=BEARER)).status_code == 202
        for spoiled, code in (
            (origin, "no-csrf"),
            ({**origin, "X-Roadworthy-CSRF": "wrong"}, "no-csrf"),
            ({"Origin": "http://evil.example", "X-Roadworthy-CSRF": made.csrf}, "foreign-origin"),
            ({"Origin": "null", "X-Roadworthy-CSRF": made.csrf}, "foreign-origin"),
            ({"Origin": "http://127.0.0.1:9901", "X-Roadworthy-CSRF": made.csrf}, "foreign-origin"),
            ({"Sec-Fetch-Site": "same-origin", "X-Roadworthy-CSRF": made.csrf}, "foreign-origin"),
            ({"Cookie": "a=b"}, "foreign-origin"),
            ({**origin, "Sec-Fetch-Site": "cross-site", "X-Roadworthy-CSRF": made.csrf}, "foreign-origin"),
        ):
            assert is_problem(await asking.post("/api/restart", headers={**BEARER, **spoiled}), 403, code)
        good = {**BEARER, **origin, "X-Roadworthy-CSRF": made.csrf}
        assert (await asking.post("/api/restart", headers=good)).status_code == 202
        assert made.csrf in (await asking.get("/")).text


async def test_another_sites_page_cannot_read_but_a_link_can_be_followed():
    async with client() as asking:
        assert is_problem(
            await asking.get("/api/snapshot", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
            403,
            "foreign-origin",
        )
        assert (
            await asking.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
        ).status_code == 200
        answer = await asking.get("/api/snapshot", headers={"Origin": "http://127.0.0.1:9900"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"x" * 70_000, {"Content-Type": "application/json"}, 413, "body-too-large"),
        (b"<x/>", {"Content-Type": "text/xml"}, 415, "wrong-type"),
        (b"a=b", {}, 415, "wrong-type"),
        (b"", {"Content-Length": "-1"}, 400, "bad-length"),
        (b"", {"Content-Length": "9" * 30}, 413, "body-too-large"),
        (b"", {"Content-Length": "1e3"}, 400, "bad-length"),
    ],
)
async def test_a_bad_body_is_refused(body, headers, status, code):
    async with client() as asking:
        assert is_problem(await asking.post("/api/restart", content=body, headers={**BEARER, **headers}), status, code)


async def test_a_body_that_is_longer_than_it_says_is_cut_off():
    async def endless():
        for _ in range(1000):
            yield b"x" * 1000

    async with client() as asking:
        answer = await asking.post(
            "/api/restart", content=endless(), headers={**BEARER, "Content-Type": "application/json"}
        )
    assert is_problem(answer, 413, "body-too-large")


async def test_too_many_and_repeated_headers_are_refused():
    async with client() as asking:
        assert is_problem(
            await asking.get("/health", headers={f"x-{i}": "1" for i in range(80)}), 431, "too-many-headers"
        )
        twice = [("Host", "127.0.0.1"), ("Authorization", "Bearer a"), ("Authorization", f"Bearer {TOKEN}")]
        assert is_problem(await asking.get("/api/snapshot", headers=twice), 400, "repeated-header")


async def test_our_own_failure_tells_the_client_nothing_of_the_inside():
    class Broken(Source):
        def latest(self):
            raise RuntimeError("/secret/path and a password")

    async with client(server(source=Broken())) as asking:
        answer = await asking.get("/api/snapshot")
    assert is_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text


@pytest.mark.parametrize("header", ["last-event-id"])
@pytest.mark.parametrize("value", ["abc", "-1", "9" * 30, "1.5", "\u0661".encode()])
async def test_a_bad_event_id_is_refused(header, value):
    async with client() as asking:
        assert is_problem(await asking.get("/api/events", headers={header: value}), 400, "bad-event-id")


async def test_good_answers_carry_the_security_headers_too():
    async with client() as asking:
        for path in ("/health", "/metrics", "/", "/api/snapshot"):
            answer = await asking.get(path)
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "unsafe-eval" not in answer.headers["content-security-policy"]
            assert "server" not in answer.headers


async def test_random_requests_never_break_it():
    dice = random.Random(2)  # noqa: S311 - noise, the same each time
    letters = "".join(map(chr, range(33, 127))) + "äé\u2028💣"
    async with client(server(source=Source(quiet()))) as asking:
        paths = list((await asking.get("/api/openapi.json")).json()["paths"])
        for _ in range(300):
            noise = "".join(dice.choice(letters) for _ in range(dice.randrange(30)))
            request = asking.build_request(
                dice.choice(["GET", "HEAD", "POST"]),
                dice.choice([path for path in paths if path != "/api/events"]),
                params={dice.choice(["names", "points", "seconds", "verbose", "exclude", noise or "x"]): noise},
                headers=dice.choice([{}, BEARER, {"Accept": noise.encode()}, {"Origin": noise.encode()}]),
            )
            answer = await asking.send(request)
            assert answer.status_code not in {500, 502}, (request.url, answer.text)
            if (
                answer.status_code >= 400
                and request.method != "HEAD"
                and answer.headers["content-type"] == "application/problem+json"
            ):
                assert json.loads(answer.content)["status"] == answer.status_code


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("a.b:80", "a.b"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("[::1]x", ""),
        ("a:b", ""),
        ("::1", ""),
        ("A", "a"),
        ("a:", ""),
    ],
)
def test_the_host_is_read_from_its_header(header, host):
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("host", "answer"),
    [("localhost.", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("127.1", False), ("", False)],
)
def test_loopback_is_recognised(host, answer):
    assert is_loopback(host) is answer


def test_an_empty_token_never_fits():
    with pytest.raises(Denied):
        judge(Rules(""), "POST", "/api/restart", {"host": "localhost", "authorization": "Bearer "})
