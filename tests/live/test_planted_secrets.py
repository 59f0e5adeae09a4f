"""Secrets planted in a real program: it prints, logs, raises and labels them, and nothing of ours shows or keeps one.

Every text of the corpus and a token of every published format goes through standard output and error, the loggers,
``rw.error``, ``rw.event``, operations and labels. Then every answer of the API, the page, the status text and every
file of ours is searched. The one place where they stand is the program's own output, which is passed on unchanged.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from live.incident_kit import bundle_of
from support.running import ROADWORTHY, Running, wait_for
from unit.log.corpus import formats, leaks

pytestmark = pytest.mark.live

PROGRAM = """
import json, logging, os, sys, threading, time
import roadworthy as rw
from roadworthy.types import Secret

texts = json.load(open(sys.argv[1]))
known = Secret("kingfisher-by-the-river", "BIRD")
environment = os.environ["PLANTED_API_KEY"]
log = logging.getLogger("shop")
count = rw.counter("planted", labels=["text"])
rw.event("started")
asked = threading.Semaphore(0)
rw.check("told", asked.release, every=1)
for _ in range(2):  # it asks again when it has read the answer, before which it was told of the Secret
    assert asked.acquire(timeout=60)
print("known:", known.reveal(), flush=True)
print("of the environment:", environment, flush=True)
print("of the file:", "heron-in-the-reeds-7", flush=True)
log.warning("known %s, environment %s", known.reveal(), environment)
for number, text in enumerate(texts):
    print(text, flush=True)
    print(text, file=sys.stderr, flush=True)
    log.warning("%s", text)
    log.error("with a dictionary: %s", {"note": text})
    log.info(text.replace("%", "%%"), extra={"planted": text})
    rw.event(text, source="planted", note=text)
    count.labels(text=text).add()
    with rw.operation("planted", note=text):
        rw.error("Planted", text, note=text)
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(text) from error
    except RuntimeError as error:
        rw.error(error)
        log.exception("failed")
    time.sleep(0.01)
print("all said", flush=True)
with rw.operation("last", note=texts[0]):
    time.sleep(3600)
"""

ENVIRONMENT = "magpie-on-the-wire-9"
FILE = "heron-in-the-reeds-7"
KNOWN = "kingfisher-by-the-river"
DOCUMENTS = re.compile(r"[{}]")


def planted():
    """Return the texts, and what must not be found: a secret of its own for each of them."""
    texts, secrets = [], [ENVIRONMENT, FILE, KNOWN]
    for number, template in enumerate(leaks.CASES.values()):
        secret = f"hunter2Xq{number:03d}Zt"
        texts.append(leaks.planted(template, secret))
        secrets.append(secret)
    for name in formats.FORMATS:
        token = formats.tokens(name, 1)[0]
        texts.append(f"using {token} now")
        secrets.append(formats.core(token))
    return texts, secrets


def fetch(base, path):
    request = urllib.request.Request(base + path, headers={"Accept": "*/*"})  # noqa: S310 - the agent's own address
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
            if "event-stream" in answer.headers["Content-Type"]:
                return answer.read1(1 << 20).decode(
                    "utf-8", "replace"
                )  # it has no end: the first piece is all there is
            return answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.read().decode("utf-8", "replace")
    except TimeoutError:
        return ""


def answers(run, base):
    """Return every document that the API answers without a parameter, those of the bundle, and the page."""
    paths = json.loads(fetch(base, "/api/openapi.json"))["paths"]
    found = {"/": fetch(base, "/")}
    for path, methods in paths.items():
        if "get" in methods and not DOCUMENTS.search(path) and "stream" not in path:
            found[path] = fetch(base, path)
    incident = json.loads(found["/api/incidents"])
    rows = incident.get("items") or incident.get("incidents") or [] if isinstance(incident, dict) else incident
    for row in rows:
        found[f"/api/incidents/{row['id']}"] = fetch(base, f"/api/incidents/{row['id']}")
    return found


def held(text, secrets):
    """Return where secrets stand in ``text``, with what is around them."""
    at = {secret: text.find(secret) for secret in secrets}
    return [text[max(0, place - 60) : place + 40] for place in at.values() if place >= 0]


def test_nothing_of_ours_shows_or_keeps_a_planted_secret(tmp_path):
    texts, secrets = planted()
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    (tmp_path / "shop.py").write_text(PROGRAM)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".env").write_text(f"HERON_TOKEN={FILE}\n")
    home = tmp_path / "home"
    run = Running(
        home,
        [sys.executable, str(tmp_path / "shop.py"), str(tmp_path / "texts.json")],
        name="shop",
        env={"PLANTED_API_KEY": ENVIRONMENT},
    )
    home.mkdir()
    before = Path.cwd()
    os.chdir(tmp_path / "work")
    try:
        run.__enter__()
    finally:
        os.chdir(before)
    try:
        base = run.agent()["url"].rstrip("/")
        wait_for(lambda: "all said" in run.text(), run.text()[-1500:], 20)
        run.until(lambda snapshot: any("all said" in event["text"] for event in snapshot["events"]), "it was read")
        leaking = {path: held(text, secrets) for path, text in answers(run, base).items()}
        status = subprocess.run(
            [*ROADWORTHY, "status", "shop", "--signals", "--own"],
            env=run.env,
            capture_output=True,
            text=True,
            check=False,
        )
        leaking["status"] = held(status.stdout + status.stderr, secrets)
        pid = run.worker_pid()
        os.kill(pid, signal.SIGKILL)
        leaking["bundle"] = held(json.dumps(bundle_of(run, 0, pid), ensure_ascii=False), secrets)
        leaking |= {f"after {path}": held(text, secrets) for path, text in answers(run, base).items()}
    finally:
        run.__exit__(None, None, None)
    read = 0
    for path in home.rglob("*"):
        # The program's own output, as it wrote it: passed on unchanged to where it would have gone without us.
        if path.is_file() and path != run.output and not path.name.startswith(("out-", "err-")):
            content = path.read_bytes()
            read += len(content)
            leaking[str(path.relative_to(home))] = held(content.decode("utf-8", "replace"), secrets)
    places = {place: found for place, found in leaking.items() if found}
    assert not places, f"in {list(places)}: " + "\n".join(sorted({one for found in places.values() for one in found}))
    assert len(leaking) > 40
    assert read > 100_000
    assert len(held(run.text(), secrets)) > len(secrets) * 0.9  # it really said them
