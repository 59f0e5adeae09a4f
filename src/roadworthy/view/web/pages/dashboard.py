"""The dashboard page: one HTML document with everything inlined, so that it works offline and from a cold start.

The script and style are plain files under ``static``; they are joined once per process. The verdict stands in the
document, and the script runs once that was painted: reading it would take longer than everything before. The page holds
no secret: the token comes in the URL's fragment, which browsers never send.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from roadworthy.types import Verdict

_START: Final = """(() => {
const code = document.getElementById("code");
const run = () => {
  const made = document.createElement("script");
  made.textContent = code.textContent;
  code.remove();
  document.head.append(made);
};
if (document.hidden) run(); else requestAnimationFrame(() => setTimeout(run));
})();"""
"""Runs the page's script after the first frame; at once where no frame is drawn."""

_PLACES: Final = re.compile(r"\{(app|status|reason)\}")


@dataclass(frozen=True, slots=True)
class Assets:
    """The body, the joined script and the style, with the hashes that the page's Content-Security-Policy names."""

    body: str
    script: str
    style: str
    script_hashes: str


@cache
def assets() -> Assets:
    """Return the page's script and style, read once."""
    static = files("roadworthy.view.web").joinpath("static")
    vendor = static.joinpath("vendor")
    scripts = sorted(static.joinpath("js").iterdir(), key=lambda found: found.name)
    ours = "\n".join(found.read_text("utf-8") for found in scripts if found.name.endswith(".js"))
    charts = vendor.joinpath("uPlot-1.6.32.min.js").read_text("utf-8")
    script = f"{charts}\n(() => {{\n'use strict';\n{ours}}})();\n"
    style = vendor.joinpath("uPlot-1.6.32.min.css").read_text("utf-8")
    style += static.joinpath("dashboard.css").read_text("utf-8")
    return Assets(
        static.joinpath("dashboard.html").read_text("utf-8"), script, style, f"{_hash(_START)} {_hash(script)}"
    )


def content_security_policy() -> str:
    """Return the policy under which exactly this page's own script runs and nothing is loaded from elsewhere."""
    own = assets()
    return (
        f"default-src 'none'; script-src {own.script_hashes}; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def render(snapshot_json: str, *, app: str, csrf: str = "", verdict: Verdict | None = None) -> str:
    """Return the whole page.

    ``snapshot_json`` is the newest snapshot as JSON or ``null``, ``verdict`` the verdict in it; ``csrf`` the value that
    requests of this page that change something must send back.
    """
    own = assets()
    safe = snapshot_json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    shown = {
        "app": app,
        "status": verdict.status if verdict is not None else "unknown",
        "reason": verdict.reason if verdict is not None else "waiting for the first measurement",
    }
    body = _PLACES.sub(lambda place: escape(shown[place[1]]), own.body)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta name="csrf" content="{escape(csrf)}"><title>{escape(app)}</title>'
        f'<link rel="icon" href="data:,"><style>{own.style}</style></head>\n<body>{body}'
        f'<script type="application/json" id="initial">{safe}</script>\n'
        f'<script type="text/plain" id="code">{own.script}</script>\n<script>{_START}</script></body></html>\n'
    )


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"
