"""The dashboard page: one HTML document with everything inlined, so that it works offline and from a cold start.

The script and style are plain files under ``static``; they are joined once per process. The page holds no secret: the
token comes in the URL's fragment, which browsers never send.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

_BODY = """
<a class="skip" href="#workers">Skip to the workers</a>
<header>
  <div class="brand" id="app">{app}</div><div class="sub" id="about"></div>
  <div class="right"><span class="live" id="live" role="status">starting</span>
  <button type="button" id="restart" hidden>Restart</button><button type="button" id="theme" title="light or dark" aria-label="light or dark">◐</button></div>
</header>
<main>
<div class="verdict unknown" id="verdict" role="status"><div class="word">unknown</div><div class="why">waiting for the first measurement</div><div class="since"></div><ul></ul></div>
<div class="bar"><span class="seg" id="windows" role="group" aria-label="time span"></span><span class="grow"></span><span class="hint narrow">one cursor for all charts; a gap is a time without measurement</span></div>
<div class="charts" id="charts"></div>
<section class="card" id="workers"></section>
<section class="card" id="operations"></section>
<div class="two"><section class="card" id="incidents"></section><section class="card" id="errors"></section></div>
<section class="card"><div class="bar"><h2>Log</h2><span class="grow"></span>
  <input type="search" id="log-find" placeholder="find" aria-label="find in the log">
  <select id="log-level" aria-label="least level"><option value="debug">all levels</option><option value="info">info and above</option><option value="warning">warning and above</option><option value="error">error and above</option></select>
  <button type="button" id="pause" aria-pressed="false">Pause</button></div>
  <div class="empty" id="log-empty">nothing was logged or printed yet</div><div class="log" id="log" tabindex="0" role="log" aria-live="off"></div></section>
<div class="two"><div><section class="card" id="checks"></section><section class="card" id="starts"></section></div><section class="card" id="signals"></section></div>
</main>
<footer><span id="overhead"></span><span id="missed"></span></footer>
<dialog id="detail"></dialog>
"""


@dataclass(frozen=True, slots=True)
class Assets:
    """The joined script and style, with the hashes that the page's Content-Security-Policy names."""

    script: str
    style: str
    script_hash: str
    style_hash: str


@cache
def assets() -> Assets:
    """Return the page's script and style, read once."""
    static = files("roadworthy.view.web").joinpath("static")
    vendor = static.joinpath("vendor")
    scripts = sorted(static.joinpath("js").iterdir(), key=lambda found: found.name)
    ours = "\n".join(found.read_text("utf-8") for found in scripts if found.name.endswith(".js"))
    script = f"{vendor.joinpath('uPlot-1.6.32.min.js').read_text('utf-8')}\n(() => {{\n'use strict';\n{ours}}})();\n"
    style = vendor.joinpath("uPlot-1.6.32.min.css").read_text("utf-8") + static.joinpath("dashboard.css").read_text(
        "utf-8"
    )
    return Assets(script, style, _hash(script), _hash(style))


def content_security_policy() -> str:
    """Return the policy under which exactly this page's own script runs and nothing is loaded from elsewhere."""
    own = assets()
    return (
        f"default-src 'none'; script-src '{own.script_hash}'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def render(snapshot_json: str, *, app: str, csrf: str = "") -> str:
    """Return the whole page.

    ``snapshot_json`` is the newest snapshot as JSON or ``null``; ``csrf`` the value that state-changing requests of this
    page must send back.
    """
    own = assets()
    safe = snapshot_json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<meta name="csrf" content="{escape(csrf)}"><title>{escape(app)}</title>'
        f'<link rel="icon" href="data:,"><style>{own.style}</style></head><body>{_BODY.format(app=escape(app))}'
        f'<script type="application/json" id="initial">{safe}</script><script>{own.script}</script></body></html>\n'
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
