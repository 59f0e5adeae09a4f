"""The settings that an environment brings along (ENV-10 to ENV-12), by the names of their variables.

They rank below everything that people set. In production nothing is opened: the Codespaces profile holds in stage
development only (CONFLICTS C-32).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from roadworthy.config.detect.decide import Detection, detect
from roadworthy.config.detect.reader import Reader
from roadworthy.config.detect.words import EnvironmentType, Stage

CODESPACES: Final[Mapping[str, str]] = MappingProxyType(
    {"DEBUG": "true", "CORS_ORIGINS": "*", "ALLOWED_HOSTS": "*", "PORT": "8000"}
)
PRODUCTION: Final[Mapping[str, str]] = MappingProxyType(
    {"DEBUG": "false", "LOG_LEVEL": "INFO", "WORKERS": "4", "CLOUD_DEPLOYMENT": "true"}
)
KUBERNETES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "KUBERNETES_DEPLOYMENT": "true",
        "HEALTH_CHECK_ENABLED": "true",
        "DATABASE_URL": "postgresql://postgres-service:5432",
        "REDIS_URL": "redis://redis-service:6379/0",
    }
)
NONE: Final[Mapping[str, str]] = MappingProxyType({})


def named(found: Detection) -> tuple[str, Mapping[str, str]]:
    """Return the name of the profile that fits, ``none`` when none does, and its values."""
    if found.type is EnvironmentType.KUBERNETES:
        return "kubernetes", KUBERNETES
    if found.type is EnvironmentType.CODESPACES and found.stage is Stage.DEVELOPMENT:
        return "codespaces", CODESPACES
    if found.stage is Stage.PRODUCTION or found.type is EnvironmentType.CLOUD:
        return ("cloud" if found.type is EnvironmentType.CLOUD else "production"), PRODUCTION
    return "none", NONE


def profile(found: Detection) -> Mapping[str, str]:
    """Return the values that the environment brings along, by variable; empty on one's own machine."""
    return named(found)[1]


def profile_of_environment(environ: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return name and values of the profile of this machine with these variables."""
    return named(detect(Reader(environ)))
