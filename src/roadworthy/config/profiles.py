"""The environment's profile (ENV-10 to ENV-12) as a source of settings; what it holds is told by ``config/detect``."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from roadworthy.errors import UsageError


def profile(named: str | None, environ: Mapping[str, str], detect: Any = None) -> tuple[str, Mapping[str, str]]:  # noqa: ANN401 - a module
    """Return name and values of the profile of this machine; ``named`` is the environment that was named by hand.

    A word that names no environment chooses none: the schema says what is wrong with it.
    """
    place = "roadworthy.config.detect"
    if detect is None and importlib.util.find_spec(place) is None:
        return "none", {}
    using = detect or importlib.import_module(place)
    found = using.detect(using.Reader(environ))
    if named is not None:
        try:
            found = using.force(found, named)
        except UsageError:
            return "none", {}
    return named or found.type.value, dict(using.profile(found))
