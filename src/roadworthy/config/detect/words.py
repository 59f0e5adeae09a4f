"""The words of detection: platform, environment type and stage are three facts (CONFLICTS C-05)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Platform(Enum):
    """Whose machine or service it is; the family of the most specific match."""

    CODESPACES = "github_codespaces"
    GITPOD = "gitpod"
    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"
    HEROKU = "heroku"
    RAILWAY = "railway"
    RENDER = "render"
    FLY = "fly"
    VERCEL = "vercel"
    NETLIFY = "netlify"
    KUBERNETES = "kubernetes"
    DOCKER = "docker"
    PODMAN = "podman"
    CONTAINER = "container"
    CI = "ci"
    LOCAL = "local"


class EnvironmentType(Enum):
    """What kind of place it is."""

    LOCAL = "local"
    CODESPACES = "codespaces"
    CLOUD = "cloud"
    CONTAINER = "container"
    KUBERNETES = "kubernetes"


class Stage(Enum):
    """What it is used for."""

    DEVELOPMENT = "development"
    TESTING = "testing"
    STAGING = "staging"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was read: where (``CODESPACES``, ``/.dockerenv``), and what it said."""

    source: str
    said: str

    def __str__(self) -> str:
        return f"{self.source} {self.said}"


@dataclass(frozen=True, slots=True)
class Match:
    """One description that fits: ``name`` is the most exact (``aws_lambda``), ``platform`` its family."""

    name: str
    title: str
    platform: Platform
    type: EnvironmentType
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact beside the platform: CI system, container, service manager, orchestrator, operating system."""

    name: str
    title: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What looks like evidence and is none here, and why."""

    source: str
    why: str
