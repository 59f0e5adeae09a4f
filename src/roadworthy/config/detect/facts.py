"""Facts beside the platform: CI, container, service manager, orchestrator, machine, operating system.

Each function returns a fact with its evidence, or None. What is not read is not guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from roadworthy.config.detect.words import Evidence, Fact

if TYPE_CHECKING:
    from roadworthy.config.detect.reader import Reader

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io"
AZURE_TAG: Final = "7783-7084-3265-9085-8269-3286-77"
"""The chassis asset tag of every virtual machine of Azure, and of no other Hyper-V."""

DMI: Final = "/sys/class/dmi/id"
DOCKERENV: Final = "/.dockerenv"

TRUE: Final = frozenset({"1", "true", "yes", "on"})

_CI: Final = (
    # variable, name, title; the most specific first, CI=true last
    ("GITHUB_ACTIONS", "github_actions", "GitHub Actions"),
    ("GITLAB_CI", "gitlab_ci", "GitLab CI"),
    ("CODEBUILD_BUILD_ID", "aws_codebuild", "AWS CodeBuild"),
    ("TF_BUILD", "azure_pipelines", "Azure Pipelines"),
    ("CIRCLECI", "circleci", "CircleCI"),
    ("TRAVIS", "travis", "Travis CI"),
    ("BUILDKITE", "buildkite", "Buildkite"),
    ("JENKINS_URL", "jenkins", "Jenkins"),
    ("BITBUCKET_BUILD_NUMBER", "bitbucket", "Bitbucket Pipelines"),
    ("TEAMCITY_VERSION", "teamcity", "TeamCity"),
    ("DRONE", "drone", "Drone"),
    ("APPVEYOR", "appveyor", "AppVeyor"),
    ("CIRRUS_CI", "cirrus", "Cirrus CI"),
    ("CI", "ci", "a CI system"),
)

_LAYERED: Final = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs", "zfs", "virtiofs"})
"""Types of root file system that container engines make; a plain machine has ext4, xfs, btrfs on a device."""


def is_true(value: str) -> bool:
    """Return whether a variable says yes."""
    return value.lower() in TRUE


def set_to(reader: Reader, name: str, *, shown: bool = False) -> Evidence:
    """Return the evidence that a variable is set; ``shown`` when its value is short and no secret."""
    return Evidence(name, f"= {reader.variable(name)[:80]}" if shown else "is set")


def ci(reader: Reader) -> Fact | None:
    """Return the CI system that runs this, if one does."""
    for variable, name, title in _CI:
        value = reader.variable(variable)
        if value and value.lower() not in {"0", "false", "no"}:
            return Fact(name, title, (set_to(reader, variable, shown=value.lower() in TRUE),))
    return None


def orchestrator(reader: Reader) -> Fact | None:
    """Return what places the containers: Kubernetes, Nomad or ECS."""
    found = kubernetes(reader)
    if found:
        return Fact("kubernetes", "Kubernetes", found)
    for name, variable, title in (
        ("ecs", "ECS_CONTAINER_METADATA_URI_V4", "Amazon ECS"),
        ("ecs", "ECS_CONTAINER_METADATA_URI", "Amazon ECS"),
        ("nomad", "NOMAD_ALLOC_ID", "Nomad"),
    ):
        if reader.variable(variable):
            return Fact(name, title, (set_to(reader, variable),))
    return None


def kubernetes(reader: Reader) -> tuple[Evidence, ...]:
    """Return what says that this is a pod; empty when nothing does."""
    found = []
    if reader.exists(SERVICE_ACCOUNT):
        found.append(Evidence(SERVICE_ACCOUNT, "is there"))
    if reader.variable("KUBERNETES_SERVICE_HOST"):
        found.append(set_to(reader, "KUBERNETES_SERVICE_HOST", shown=True))
    return tuple(found)


def root_mount(reader: Reader) -> tuple[str, str, str] | None:
    """Return (type, source, root inside) of the file system at ``/``; None when the mount table cannot be read."""
    found = None
    for line in (reader.text("/proc/self/mountinfo") or "").splitlines():
        left, dash, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if dash and len(fields) > 4 and fields[4] == "/" and len(kind) > 1:  # noqa: PLR2004 - proc(5)
            found = kind[0], kind[1], fields[3]  # the last one lies on top
    return found


def plain_root(reader: Reader) -> str:
    """Return the root file system's type when no container engine made it, empty when one may have."""
    found = root_mount(reader)
    if found is None:
        return ""
    kind, source, inside = found
    engine = "docker" in source or any(word in inside for word in ("/docker/", "/containers/", "/subvolumes/"))
    return "" if kind in _LAYERED or engine else kind


def container(reader: Reader) -> Fact | None:
    """Return which container engine runs this; ``/.dockerenv`` counts only where the root file system allows it."""
    group = reader.text("/proc/self/cgroup") or ""
    said = reader.variable("container").lower()
    if reader.exists("/run/.containerenv") or said == "podman":
        source = (
            Evidence("/run/.containerenv", "is there") if said != "podman" else set_to(reader, "container", shown=True)
        )
        return Fact("podman", "Podman", (source,))
    found = []
    if reader.exists(DOCKERENV) and not plain_root(reader):
        root = root_mount(reader)
        found.append(Evidence(DOCKERENV, "is there" + (f", and / is {root[0]}" if root else "")))
    if is_true(reader.variable("DOCKER_CONTAINER")):
        found.append(set_to(reader, "DOCKER_CONTAINER", shown=True))
    if "/docker/" in group or "/docker-" in group:
        found.append(Evidence("/proc/self/cgroup", "names docker"))
    if said == "docker":
        found.append(set_to(reader, "container", shown=True))
    if found:
        return Fact("docker", "Docker", tuple(found))
    if "cri-containerd" in group or "/kubepods" in group or "crio-" in group:
        return Fact("containerd", "containerd or CRI-O", (Evidence("/proc/self/cgroup", "names a pod's container"),))
    if said:
        return Fact(said[:40], f"a container ({said[:40]})", (set_to(reader, "container", shown=True),))
    root = root_mount(reader)
    if (
        root is not None
        and root[0] in {"overlay", "aufs"}
        and "containerd" in (reader.text("/proc/self/mountinfo") or "")
    ):
        return Fact("containerd", "containerd", (Evidence("/proc/self/mountinfo", f"/ is {root[0]} of containerd"),))
    return None


def service_manager(reader: Reader) -> Fact | None:
    """Return what started this as a service: systemd, judged by the cgroup, because variables leak into shells."""
    if not (reader.variable("INVOCATION_ID") or reader.variable("NOTIFY_SOCKET")):
        return None
    for line in (reader.text("/proc/self/cgroup") or "").splitlines():
        unit = line.rpartition(":")[2].rpartition("/")[2]
        if unit.endswith(".service") and not unit.startswith("user@"):
            variable = "INVOCATION_ID" if reader.variable("INVOCATION_ID") else "NOTIFY_SOCKET"
            return Fact(
                "systemd", "systemd", (Evidence("/proc/self/cgroup", f"names {unit}"), set_to(reader, variable))
            )
    return None


def machine(reader: Reader) -> Fact | None:
    """Return whose virtual machine this is, by what its firmware says: EC2, GCE or Azure."""
    vendor, product = dmi(reader, "sys_vendor"), dmi(reader, "product_name")
    if vendor.startswith("Amazon EC2") or dmi(reader, "bios_vendor").startswith("Amazon EC2"):
        return Fact("aws_ec2", "Amazon EC2", (Evidence(f"{DMI}/sys_vendor", f"= {vendor or 'Amazon EC2'}"),))
    if (
        dmi(reader, "bios_version").lower().endswith(".amazon")
        or (reader.text("/sys/hypervisor/uuid") or "")[:3].lower() == "ec2"
    ):
        return Fact("aws_ec2", "Amazon EC2", (Evidence(f"{DMI}/bios_version", "is Amazon's"),))
    if product == "Google Compute Engine" or vendor == "Google":
        return Fact("gcp_gce", "Google Compute Engine", (Evidence(f"{DMI}/product_name", f"= {product or vendor}"),))
    if dmi(reader, "chassis_asset_tag") == AZURE_TAG:
        return Fact("azure_vm", "an Azure virtual machine", (Evidence(f"{DMI}/chassis_asset_tag", "is Azure's"),))
    return None


def dmi(reader: Reader, name: str) -> str:
    """Return one word of the machine's firmware, empty when it tells none."""
    return (reader.text(f"{DMI}/{name}") or "").strip()


def wsl(reader: Reader) -> tuple[Evidence, ...]:
    """Return what says that this is the Windows Subsystem for Linux itself, not a container on its kernel."""
    kernel = (reader.text("/proc/sys/kernel/osrelease") or "").strip()
    if "microsoft" not in kernel.lower():
        return ()
    for path in ("/proc/sys/fs/binfmt_misc/WSLInterop", "/run/WSL"):
        if reader.exists(path):
            return Evidence("/proc/sys/kernel/osrelease", f"= {kernel[:60]}"), Evidence(path, "is there")
    if reader.variable("WSL_DISTRO_NAME"):
        return Evidence("/proc/sys/kernel/osrelease", f"= {kernel[:60]}"), set_to(reader, "WSL_DISTRO_NAME", shown=True)
    return ()


def operating_system(reader: Reader) -> Fact:
    """Return the operating system, its title saying how far roadworthy goes there (CONFLICTS C-62)."""
    system = reader.system()
    if system == "win32":
        told = "Windows: the library and the start script only; the agent needs WSL. Not tested on Windows"
        return Fact("windows", told, (Evidence("sys.platform", "= win32"),))
    if system in {"cygwin", "msys"}:
        told = "Git Bash or Cygwin on Windows: the library and the start script only. Not tested there"
        return Fact("windows", told, (Evidence("sys.platform", f"= {system}"),))
    if system == "darwin":
        return Fact("macos", "macOS: best effort. Not tested there", (Evidence("sys.platform", "= darwin"),))
    if not system.startswith("linux"):
        return Fact(system, f"{system}: not tested there", (Evidence("sys.platform", f"= {system}"),))
    pretty = ""
    for line in (reader.text("/etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            pretty = value.strip().strip("\"'")[:80]
    source = Evidence("/etc/os-release", f"= {pretty}") if pretty else Evidence("sys.platform", f"= {system}")
    return Fact("linux", f"{pretty or 'Linux'}: the full set of features", (source,))
