"""From evidence to an answer: platform, environment type and stage, and all that supports them.

Pure: the same reader gives the same answer. Where nothing says for what stage this is, the answer is assumed from the
type, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from roadworthy.config.detect import facts, platforms
from roadworthy.config.detect.reader import Reader
from roadworthy.config.detect.words import EnvironmentType, Evidence, Fact, Match, PassedOver, Platform, Stage
from roadworthy.errors import UsageError

STAGE_VARIABLES: Final = ("ROADWORTHY_STAGE", "ROADWORTHY_ENV", "ENV", "APP_ENV", "ENVIRONMENT")
"""Variables that name the stage by the application's own choice; the first that names one decides."""

_PLATFORM_STAGES: Final = (
    ("VERCEL_ENV", {"production": Stage.PRODUCTION, "preview": Stage.STAGING, "development": Stage.DEVELOPMENT}),
    (
        "CONTEXT",
        {
            "production": Stage.PRODUCTION,
            "deploy-preview": Stage.STAGING,
            "branch-deploy": Stage.STAGING,
            "dev": Stage.DEVELOPMENT,
        },
    ),
    ("RAILWAY_ENVIRONMENT_NAME", None),
    ("RAILWAY_ENVIRONMENT", None),
    ("AZURE_FUNCTIONS_ENVIRONMENT", None),
    ("IS_PULL_REQUEST", {"true": Stage.STAGING}),
)
_OF: Final = {
    "VERCEL_ENV": Platform.VERCEL, "CONTEXT": Platform.NETLIFY, "RAILWAY_ENVIRONMENT_NAME": Platform.RAILWAY,
    "RAILWAY_ENVIRONMENT": Platform.RAILWAY, "AZURE_FUNCTIONS_ENVIRONMENT": Platform.AZURE,
    "IS_PULL_REQUEST": Platform.RENDER,
}  # fmt: skip
_SPELLINGS: Final = {
    **{stage.value: stage for stage in Stage},
    "dev": Stage.DEVELOPMENT, "test": Stage.TESTING, "stage": Stage.STAGING, "prod": Stage.PRODUCTION,
}  # fmt: skip
_ASSUMED: Final = {
    EnvironmentType.LOCAL: Stage.DEVELOPMENT,
    EnvironmentType.CODESPACES: Stage.DEVELOPMENT,
    EnvironmentType.CONTAINER: Stage.PRODUCTION,
    EnvironmentType.CLOUD: Stage.PRODUCTION,
    EnvironmentType.KUBERNETES: Stage.PRODUCTION,
}
"""What a type is mostly used for; where it is open, the one that opens nothing."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Where this runs. ``matches`` are all descriptions that fit, the most specific first.

    ``stage_by`` says what the stage rests on; ``forced`` is the word by which people overruled it, empty when none did.
    """

    platform: Platform
    type: EnvironmentType
    stage: Stage
    stage_by: Evidence
    matches: tuple[Match, ...]
    os: Fact
    ci: Fact | None = None
    container: Fact | None = None
    service_manager: Fact | None = None
    orchestrator: Fact | None = None
    machine: Fact | None = None
    passed_over: tuple[PassedOver, ...] = ()
    forced: str = ""

    @property
    def cloud(self) -> bool:
        """Return whether this is somewhere else than on one's own machine (ENV-09)."""
        return self.type in {EnvironmentType.CLOUD, EnvironmentType.KUBERNETES}


def detect(reader: Reader | None = None) -> Detection:
    """Return where this runs, by what ``reader`` reads (this machine if not given); never raises."""
    reader = Reader() if reader is None else reader
    fitting = platforms.matches(reader)
    first = fitting[0]
    container, ci = facts.container(reader), facts.ci(reader)
    boxed = first.platform is Platform.CI and container is not None
    kind = EnvironmentType.CONTAINER if boxed else first.type
    stage, stage_by = _stage(reader, first, kind, ci)
    return Detection(
        platform=first.platform,
        type=kind,
        stage=stage,
        stage_by=stage_by,
        matches=fitting,
        os=facts.operating_system(reader),
        ci=ci,
        container=container,
        service_manager=facts.service_manager(reader),
        orchestrator=facts.orchestrator(reader),
        machine=facts.machine(reader),
        passed_over=platforms.passed_over(reader, fitting),
    )


def force(found: Detection, word: str) -> Detection:
    """Return ``found`` as people overrule it: ``word`` is a stage or an environment type (ENV-13, C-05).

    A type brings the stage that it mostly has: ``cloud`` is the type cloud in production. Raises :class:`UsageError`
    for any other word.
    """
    asked = word.strip().lower()
    by = Evidence("--environment", f"= {asked}")
    if asked in _SPELLINGS:
        return replace(found, stage=_SPELLINGS[asked], stage_by=by, forced=asked)
    kinds = {kind.value: kind for kind in EnvironmentType}
    if asked in kinds:
        kind = kinds[asked]
        return replace(found, type=kind, stage=_ASSUMED[kind], stage_by=by, forced=asked)
    known = ", ".join([*kinds, *(stage.value for stage in Stage)])
    raise UsageError(
        f"{word[:80]!r} is no environment",
        why=f"It came from --environment, which takes a type or a stage: {known}.",
        hint="For example: --environment production",
    )


class EnvironmentDetector:
    """Detects once, when made; ``environment`` overrules it like ``--environment``, and then wins."""

    def __init__(self, reader: Reader | None = None, *, environment: str | None = None) -> None:
        found = detect(reader)
        self.detection = found if environment is None else force(found, environment)

    def detect_environment_type(self) -> EnvironmentType:
        """Return the type: local, codespaces, cloud, container or kubernetes."""
        return self.detection.type

    def detect_platform(self) -> str:
        """Return the platform's name: aws, heroku, docker, local and so on."""
        return self.detection.platform.value

    def detect_stage(self) -> Stage:
        """Return the stage: development, testing, staging or production."""
        return self.detection.stage


def _stage(reader: Reader, first: Match, kind: EnvironmentType, ci: Fact | None) -> tuple[Stage, Evidence]:
    for name in STAGE_VARIABLES:
        word = reader.variable(name).lower()
        if word in _SPELLINGS:
            return _SPELLINGS[word], Evidence(name, f"= {word}")
    for name, words in _PLATFORM_STAGES:
        word = reader.variable(name).lower()
        said = (_SPELLINGS if words is None else words).get(word)
        if said is not None and _OF[name] is first.platform:
            return said, Evidence(name, f"= {word}")
    if ci is not None and first.platform is Platform.CI:
        return Stage.TESTING, Evidence("assumed", "because a CI job runs it")
    return _ASSUMED[kind], Evidence("assumed", f"because nothing says it and the type is {kind.value}")
