"""The environment's profile (ENV-10 to ENV-12) as a source of settings; detection itself is ``config/detect``."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Final

PRODUCTION: Final[Mapping[str, str]] = {
    "DEBUG": "false",
    "LOG_LEVEL": "INFO",
    "WORKERS": "4",
    "CLOUD_DEPLOYMENT": "true",
}
KUBERNETES: Final[Mapping[str, str]] = {"KUBERNETES_DEPLOYMENT": "true", "HEALTH_CHECK_ENABLED": "true"}
CODESPACES: Final[Mapping[str, str]] = {"DEBUG": "true", "CORS_ORIGINS": "*", "ALLOWED_HOSTS": "*", "PORT": "8000"}

NAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "cloud": PRODUCTION,
    "production": PRODUCTION,
    "kubernetes": KUBERNETES,
    "codespaces": CODESPACES,
}
"""Profiles that are chosen by naming the environment; other names choose none."""


def profile(named: str | None, environ: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return name and values of the profile: of the environment that was named by hand, else of the detected one."""
    if named is not None:
        return named, NAMED.get(named, {})
    if importlib.util.find_spec("roadworthy.config.detect") is None:
        return "none", {}
    found = getattr(importlib.import_module("roadworthy.config.detect"), "profile_of_environment", None)
    if found is None:
        return "none", {}
    label, values = found(environ)
    return str(label), dict(values)
