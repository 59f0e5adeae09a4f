"""Secrets that a vendor's store keeps as one document: a JSON object of names and values, or one plain value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from roadworthy.config.secrets.failures import malformed
from roadworthy.config.secrets.store import Held
from roadworthy.errors import UsageError
from roadworthy.types import Secret


def plain_name(called: str) -> str:
    """Return the name under which a plain document is found: ``oatie-ai-secrets`` is ``OATIE_AI_SECRETS``."""
    name = re.sub(r"[^A-Z0-9]+", "_", called.rpartition("/")[2].upper()).strip("_")
    return f"_{name}" if name[:1].isdigit() or not name else name


def values(text: str, called: str, place: str, name: str) -> dict[str, str]:
    """Return names and values of a document; a text that is no JSON object is one value, called :func:`plain_name`.

    Raises ConfigurationError, without quoting it, when it begins as a JSON object and is none, or when the value of
    ``name`` is neither text nor a number nor true or false; others of that kind are passed over.
    """
    if not text.lstrip().startswith("{"):
        return {plain_name(called): text}
    why = ""
    document: object = None
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        why = f"It is no JSON: {error.msg} in line {error.lineno}, column {error.colno}."
    except RecursionError:
        why = "It is nested too deeply."
    if why or not isinstance(document, dict):  # raised out here: the decoder's error holds the whole text
        raise malformed(name, place, why or "It is no JSON object.")
    found = {key: _text(value) for key, value in document.items()}
    if name in found and found[name] is None:
        raise malformed(name, place, "Its value is null, a list or an object; a secret is one text.")
    return {key: value for key, value in found.items() if value is not None}


def held(found: Mapping[str, str], changed: float | None) -> dict[str, Held]:
    """Return the values as secrets."""
    return {name: Held(Secret(value, name), changed) for name, value in found.items()}


def changed(text: str | None, called: str, name: str, value: str | None, place: str) -> str:
    """Return the document with ``name`` set to ``value``, or without it when that is None.

    Raises UsageError when the document is one plain value that is called otherwise.
    """
    if text is not None and text.strip() and not text.lstrip().startswith("{"):
        if name != plain_name(called) or value is None:
            raise UsageError(
                f"{place} is one plain value, called {plain_name(called)}",
                why=f"There is no room for {name} in it.",
                hint="Make it a JSON object of names and values, or set that name.",
            )
        return value
    values(text or "{}", called, place, name="")  # raises when it is malformed: it is not overwritten
    document = json.loads(text or "{}")
    if value is None:
        document.pop(name, None)
    else:
        document[name] = value
    return json.dumps(document)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None
