"""Which descriptions fit, the most specific first, each with its evidence; and what looked like evidence but is none.

The order is that of the table below. A signal that many machines carry (a cloud's region in a laptop's profile) counts
only together with one that its owner alone sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from roadworthy.config.detect import facts
from roadworthy.config.detect.facts import is_true, set_to
from roadworthy.config.detect.words import EnvironmentType, Evidence, Match, PassedOver, Platform

if TYPE_CHECKING:
    from roadworthy.config.detect.reader import Reader

Found = tuple[Evidence, ...]
_EKS: Final = "eks.amazonaws.com"
_POD_IDENTITY: Final = "169.254.170.23"


def _any(reader: Reader, *names: str, shown: bool = False) -> Found:
    return tuple(set_to(reader, name, shown=shown) for name in names if reader.variable(name))


def _all(reader: Reader, *names: str) -> Found:
    found = _any(reader, *names)
    return found if len(found) == len(names) else ()


def _true(reader: Reader, name: str) -> Found:
    return (set_to(reader, name, shown=True),) if is_true(reader.variable(name)) else ()


def _codebuild(reader: Reader) -> Found:
    return _any(reader, "CODEBUILD_BUILD_ID", "CODEBUILD_BUILD_ARN")


def _netlify(reader: Reader) -> Found:
    if is_true(reader.variable("NETLIFY_DEV")) or is_true(reader.variable("NETLIFY_LOCAL")):
        return ()
    site = reader.variable("SITE_ID") and reader.variable("AWS_LAMBDA_FUNCTION_NAME")
    return _true(reader, "NETLIFY") or (_any(reader, "SITE_ID", "AWS_LAMBDA_FUNCTION_NAME") if site else ())


def _lambda(reader: Reader) -> Found:
    if is_true(reader.variable("AWS_SAM_LOCAL")):
        return ()
    return _any(reader, "AWS_LAMBDA_FUNCTION_NAME")


def _ecs(reader: Reader) -> Found:
    return _any(reader, "ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI")


def _cloud_run(reader: Reader) -> Found:
    """Return the evidence of Cloud Run and its functions; in Kubernetes it is Knative that sets the same variables."""
    if facts.kubernetes(reader):
        return ()
    return (
        _all(reader, "K_SERVICE", "K_REVISION")
        or _all(reader, "K_SERVICE", "K_CONFIGURATION")
        or _any(reader, "CLOUD_RUN_JOB")
    )


def _app_engine(reader: Reader) -> Found:
    return _any(reader, "GAE_APPLICATION", "GAE_SERVICE", "GAE_INSTANCE", "GAE_ENV")


def _container_apps(reader: Reader) -> Found:
    return _all(reader, "CONTAINER_APP_NAME", "CONTAINER_APP_REVISION") or _any(reader, "CONTAINER_APP_JOB_NAME")


def _functions(reader: Reader) -> Found:
    """Return the evidence of Azure Functions; local tools set the worker's variables, but name no site."""
    if not reader.variable("WEBSITE_SITE_NAME"):
        return ()
    tools = _any(reader, "FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME")
    return (*_any(reader, "WEBSITE_SITE_NAME"), *tools) if tools else ()


def _app_service(reader: Reader) -> Found:
    return _any(reader, "WEBSITE_SITE_NAME", "WEBSITE_INSTANCE_ID") if reader.variable("WEBSITE_SITE_NAME") else ()


def _container_instances(reader: Reader) -> Found:
    return _any(reader, "Fabric_CodePackageName", "Fabric_ServiceName", "Fabric_ApplicationName")


def _railway(reader: Reader) -> Found:
    """Return the evidence of a deployment; ``railway run`` sets the variables of the project on a laptop."""
    project = _any(reader, "RAILWAY_ENVIRONMENT", "RAILWAY_ENVIRONMENT_NAME", "RAILWAY_PROJECT_ID")
    deployed = _any(reader, "RAILWAY_REPLICA_ID", "RAILWAY_DEPLOYMENT_ID", "RAILWAY_SNAPSHOT_ID")
    inside = facts.container(reader)
    return (
        (*project, *deployed, *(inside.evidence if inside is not None else ()))
        if project and (deployed or inside is not None)
        else ()
    )


def _fly(reader: Reader) -> Found:
    return _any(reader, "FLY_MACHINE_ID", "FLY_ALLOC_ID", "FLY_APP_NAME") if reader.variable("FLY_APP_NAME") else ()


def _machine(reader: Reader, name: str) -> Found:
    found = facts.machine(reader)
    return found.evidence if found is not None and found.name == name else ()


def _eks(reader: Reader) -> Found:
    pod = facts.kubernetes(reader)
    own = tuple(
        Evidence(name, f"names {word}")
        for name, word in (
            ("AWS_WEB_IDENTITY_TOKEN_FILE", _EKS),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", _POD_IDENTITY),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "eks-pod-identity"),
        )
        if word in reader.variable(name)
    ) or _machine(reader, "aws_ec2")
    return (*pod, *own) if pod and own else ()


def _gke(reader: Reader) -> Found:
    pod, own = facts.kubernetes(reader), _machine(reader, "gcp_gce")
    return (*pod, *own) if pod and own else ()


def _aks(reader: Reader) -> Found:
    pod = facts.kubernetes(reader)
    host = reader.variable("KUBERNETES_SERVICE_HOST")
    named = (Evidence("KUBERNETES_SERVICE_HOST", f"= {host[:80]}"),) if host.endswith(".azmk8s.io") else ()
    own = named or _any(reader, "AZURE_FEDERATED_TOKEN_FILE") or _machine(reader, "azure_vm")
    return (*pod, *own) if pod and own else ()


def _ci(reader: Reader) -> Found:
    found = facts.ci(reader)
    return found.evidence if found is not None else ()


def _aws(reader: Reader) -> Found:
    """Return what says AWS without saying which service: a region, and something that only AWS gives out."""
    region = _any(reader, "AWS_REGION", "AWS_DEFAULT_REGION", shown=True)
    given = _any(
        reader,
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ) or _machine(reader, "aws_ec2")
    return (*region, *given) if region and given else ()


def _engine(reader: Reader, *names: str) -> Found:
    found = facts.container(reader)
    return found.evidence if found is not None and (found.name in names or not names) else ()


def _other_container(reader: Reader) -> Found:
    found = facts.container(reader)
    return found.evidence if found is not None and found.name not in {"docker", "podman"} else ()


def _systemd(reader: Reader) -> Found:
    found = facts.service_manager(reader)
    return found.evidence if found is not None else ()


_CLOUD, _LOCAL = EnvironmentType.CLOUD, EnvironmentType.LOCAL
_SHELL, _POD, _BOX = EnvironmentType.CODESPACES, EnvironmentType.KUBERNETES, EnvironmentType.CONTAINER

RULES: Final[tuple[tuple[str, str, Platform, EnvironmentType, Callable[[Reader], Found]], ...]] = (
    ("github_codespaces", "GitHub Codespaces", Platform.CODESPACES, _SHELL, lambda r: _true(r, "CODESPACES")),
    ("gitpod", "Gitpod", Platform.GITPOD, _SHELL, lambda r: _any(r, "GITPOD_WORKSPACE_ID")),
    ("aws_codebuild", "AWS CodeBuild", Platform.CI, _LOCAL, _codebuild),
    ("vercel", "Vercel", Platform.VERCEL, _CLOUD, lambda r: _any(r, "VERCEL", "VERCEL_ENV", "VERCEL_URL")),
    ("netlify", "Netlify", Platform.NETLIFY, _CLOUD, _netlify),
    ("aws_lambda", "AWS Lambda", Platform.AWS, _CLOUD, _lambda),
    ("aws_ecs", "Amazon ECS", Platform.AWS, _CLOUD, _ecs),
    ("gcp_cloud_run", "Google Cloud Run", Platform.GCP, _CLOUD, _cloud_run),
    ("gcp_app_engine", "Google App Engine", Platform.GCP, _CLOUD, _app_engine),
    ("azure_container_apps", "Azure Container Apps", Platform.AZURE, _CLOUD, _container_apps),
    ("azure_functions", "Azure Functions", Platform.AZURE, _CLOUD, _functions),
    ("azure_app_service", "Azure App Service", Platform.AZURE, _CLOUD, _app_service),
    ("azure_container_instances", "Azure Container Instances", Platform.AZURE, _CLOUD, _container_instances),
    ("heroku", "Heroku", Platform.HEROKU, _CLOUD, lambda r: _any(r, "DYNO", "HEROKU_APP_NAME")),
    ("railway", "Railway", Platform.RAILWAY, _CLOUD, _railway),
    ("render", "Render", Platform.RENDER, _CLOUD, lambda r: _true(r, "RENDER")),
    ("fly", "Fly.io", Platform.FLY, _CLOUD, _fly),
    ("aws_eks", "Kubernetes on AWS (EKS)", Platform.KUBERNETES, _POD, _eks),
    ("gcp_gke", "Kubernetes on Google Cloud (GKE)", Platform.KUBERNETES, _POD, _gke),
    ("azure_aks", "Kubernetes on Azure (AKS)", Platform.KUBERNETES, _POD, _aks),
    ("kubernetes", "Kubernetes", Platform.KUBERNETES, _POD, facts.kubernetes),
    ("ci", "a CI job", Platform.CI, _LOCAL, _ci),
    ("wsl", "Windows Subsystem for Linux", Platform.LOCAL, _LOCAL, facts.wsl),
    ("aws", "AWS", Platform.AWS, _CLOUD, _aws),
    (
        "gcp", "Google Cloud, said by a variable", Platform.GCP, _CLOUD,
        lambda r: _any(r, "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"),
    ),
    ("azure", "Azure, said by a variable", Platform.AZURE, _CLOUD, lambda r: _any(r, "AZURE_RESOURCE_GROUP")),
    ("docker", "Docker", Platform.DOCKER, _BOX, lambda r: _engine(r, "docker")),
    ("podman", "Podman", Platform.PODMAN, _BOX, lambda r: _engine(r, "podman")),
    ("container", "a container", Platform.CONTAINER, _BOX, _other_container),
    ("aws_ec2", "Amazon EC2", Platform.AWS, _CLOUD, lambda r: _machine(r, "aws_ec2")),
    ("gcp_gce", "Google Compute Engine", Platform.GCP, _CLOUD, lambda r: _machine(r, "gcp_gce")),
    ("azure_vm", "an Azure virtual machine", Platform.AZURE, _CLOUD, lambda r: _machine(r, "azure_vm")),
    ("systemd", "a systemd service", Platform.LOCAL, _LOCAL, _systemd),
)  # fmt: skip
"""Name, title, family, type and finder of each description, in their order (spec: DETECTION)."""

RENTED: Final = frozenset({"aws_ec2", "gcp_gce", "azure_vm", "aws", "gcp", "azure"})
"""What says only whose machine it is; where a CI job or a developer's shell runs on one, it is theirs."""

BORROWERS: Final = frozenset({"github_codespaces", "gitpod", "aws_codebuild", "ci"})


def matches(reader: Reader) -> tuple[Match, ...]:
    """Return every description that fits, the most specific first; ``bare`` when none does."""
    found = [
        Match(name, title, platform, kind, evidence)
        for name, title, platform, kind, find in RULES
        if (evidence := find(reader))
    ]
    if found and found[0].name in BORROWERS:
        found = [one for one in found if one.name not in RENTED]
    bare = Match("bare", "no platform that is known", Platform.LOCAL, _LOCAL, ())
    return tuple(found) or (bare,)


def passed_over(reader: Reader, fitting: tuple[Match, ...]) -> tuple[PassedOver, ...]:
    """Return what is set or there and is often taken for evidence, with the reason why it is none here."""
    names = {one.name for one in fitting}
    clouds = names & {"aws_eks", "aws", "aws_ec2", "aws_ecs", "aws_lambda"}
    vendor, rented, plain = facts.dmi(reader, "sys_vendor"), facts.machine(reader), facts.plain_root(reader)
    on_own = "people set it on their own machines, and nothing here is of AWS alone"
    run = "in Kubernetes it is Knative that sets it" if facts.kubernetes(reader) else "K_REVISION is missing"
    railway = "`railway run` sets it locally; a deployment has RAILWAY_REPLICA_ID"
    dockerenv = f"the root file system is a plain {plain}, which no container engine made"
    borrowed = f"{fitting[0].title} runs on {rented.title} that is not yours" if rented is not None else ""
    suspects = (
        ("AWS_REGION", not clouds, on_own),
        ("AWS_DEFAULT_REGION", not clouds, on_own),
        ("AWS_PROFILE", not clouds, on_own),
        ("AWS_EXECUTION_ENV", not clouds, "other tools set it, too, and there is no function's name"),
        ("AWS_LAMBDA_FUNCTION_NAME", "aws_lambda" not in names, "AWS_SAM_LOCAL says that Lambda is imitated here"),
        ("K_SERVICE", "gcp_cloud_run" not in names, run),
        ("RAILWAY_ENVIRONMENT", "railway" not in names, railway),
        (
            "FUNCTIONS_WORKER_RUNTIME",
            "azure_functions" not in names,
            "local tools set it; a deployment has WEBSITE_SITE_NAME",
        ),
        ("NETLIFY_DEV", "netlify" not in names, "it says that Netlify is imitated here"),
        ("INVOCATION_ID", "systemd" not in names, "it leaks into shells: the cgroup is not that of a service"),
    )
    found = [PassedOver(name, why) for name, alone, why in suspects if alone and reader.variable(name)]
    if reader.exists(facts.DOCKERENV) and "docker" not in names and plain:
        found.append(PassedOver(facts.DOCKERENV, dockerenv))
    if "Microsoft" in vendor and rented is None:
        found.append(PassedOver(f"{facts.DMI}/sys_vendor", "Hyper-V is not Azure: the chassis tag is not Azure's"))
    if rented is not None and fitting[0].name in BORROWERS:
        found.append(PassedOver(rented.evidence[0].source, borrowed))
    return tuple(found)
