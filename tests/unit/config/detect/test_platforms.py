"""Where a program runs: a table of cases, each with what it sets, and each thing that has fooled others."""

# ruff: noqa: E501 - a table of cases: one a line

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.config import detect as package
from roadworthy.config.detect.decide import EnvironmentDetector, detect, force
from roadworthy.config.detect.facts import AZURE_TAG
from roadworthy.config.detect.limits import bounds, suggested_workers
from roadworthy.config.detect.platforms import RULES
from roadworthy.config.detect.profiles import profile, profile_of_environment
from roadworthy.config.detect.reader import Reader, Recorded
from roadworthy.config.detect.words import EnvironmentType, Stage
from roadworthy.errors import UsageError

POD = {"/var/run/secrets/kubernetes.io/serviceaccount/token": "t"}
EC2 = {"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n"}
XEN = {"/sys/class/dmi/id/bios_version": "4.11.amazon\n"}
GCE = {"/sys/class/dmi/id/product_name": "Google Compute Engine\n", "/sys/class/dmi/id/sys_vendor": "Google\n"}
HYPERV = {"/sys/class/dmi/id/sys_vendor": "Microsoft Corporation\n", "/sys/class/dmi/id/chassis_asset_tag": "none\n"}
AZURE = {**HYPERV, "/sys/class/dmi/id/chassis_asset_tag": AZURE_TAG + "\n"}
OVERLAY = {"/.dockerenv": "", "/proc/self/mountinfo": "1 0 0:1 / / rw - overlay overlay rw,lowerdir=/x\n"}
PLAIN = {"/.dockerenv": "", "/proc/self/mountinfo": "nonsense\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"}
BTRFS = {
    "/.dockerenv": "",
    "/proc/self/mountinfo": "27 1 0:3 /var/lib/docker/btrfs/subvolumes/ab / rw - btrfs /dev/vda rw\n",
}
SERVICE = {"/proc/self/cgroup": "0::/system.slice/shop.service\n"}
SHELL = {"/proc/self/cgroup": "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n"}
WSL_KERNEL = {"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n"}

CASES = [
    # what is set, what is there, the exact name, family, type
    ({"CODESPACES": "true"}, {}, "github_codespaces", "github_codespaces", "codespaces"),
    ({"CODESPACES": "true"}, {**AZURE, **OVERLAY}, "github_codespaces", "github_codespaces", "codespaces"),
    ({"GITPOD_WORKSPACE_ID": "x"}, {}, "gitpod", "gitpod", "codespaces"),
    ({"CODEBUILD_BUILD_ID": "x", "ECS_CONTAINER_METADATA_URI": "http://x"}, {}, "aws_codebuild", "ci", "local"),
    ({"VERCEL_ENV": "production"}, {}, "vercel", "vercel", "cloud"),
    ({"VERCEL_URL": "x.vercel.app", "AWS_LAMBDA_FUNCTION_NAME": "f"}, {}, "vercel", "vercel", "cloud"),
    ({"NETLIFY": "true"}, {}, "netlify", "netlify", "cloud"),
    ({"SITE_ID": "x", "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_REGION": "us-east-2"}, {}, "netlify", "netlify", "cloud"),
    ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, {}, "aws_lambda", "aws", "cloud"),
    ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_REGION": "eu-west-1", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}, {}, "aws_lambda", "aws", "cloud"),
    ({"ECS_CONTAINER_METADATA_URI_V4": "http://x", "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, OVERLAY, "aws_ecs", "aws", "cloud"),
    ({"K_SERVICE": "s", "K_REVISION": "r"}, {}, "gcp_cloud_run", "gcp", "cloud"),
    ({"K_SERVICE": "s", "K_CONFIGURATION": "c", "FUNCTION_TARGET": "f"}, {}, "gcp_cloud_run", "gcp", "cloud"),
    ({"CLOUD_RUN_JOB": "j"}, {}, "gcp_cloud_run", "gcp", "cloud"),
    ({"GAE_APPLICATION": "a", "GOOGLE_CLOUD_PROJECT": "p"}, {}, "gcp_app_engine", "gcp", "cloud"),
    ({"CONTAINER_APP_NAME": "a", "CONTAINER_APP_REVISION": "r", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, POD, "azure_container_apps", "azure", "cloud"),
    ({"WEBSITE_SITE_NAME": "s", "FUNCTIONS_WORKER_RUNTIME": "python"}, {}, "azure_functions", "azure", "cloud"),
    ({"WEBSITE_SITE_NAME": "s"}, {}, "azure_app_service", "azure", "cloud"),
    ({"Fabric_CodePackageName": "s"}, {}, "azure_container_instances", "azure", "cloud"),
    ({"DYNO": "web.1"}, {}, "heroku", "heroku", "cloud"),
    ({"HEROKU_APP_NAME": "shop"}, {}, "heroku", "heroku", "cloud"),
    ({"RAILWAY_ENVIRONMENT": "production", "RAILWAY_REPLICA_ID": "r"}, {}, "railway", "railway", "cloud"),
    ({"RAILWAY_ENVIRONMENT": "production"}, OVERLAY, "railway", "railway", "cloud"),
    ({"RENDER": "true"}, {}, "render", "render", "cloud"),
    ({"FLY_APP_NAME": "a", "FLY_MACHINE_ID": "m"}, {}, "fly", "fly", "cloud"),
    ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}, POD, "aws_eks", "kubernetes", "kubernetes"),
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1"}, POD, "aws_eks", "kubernetes", "kubernetes"),
    ({}, {**POD, **EC2}, "aws_eks", "kubernetes", "kubernetes"),
    ({}, {**POD, **GCE}, "gcp_gke", "kubernetes", "kubernetes"),
    ({"KUBERNETES_SERVICE_HOST": "x.hcp.westeurope.azmk8s.io"}, {}, "azure_aks", "kubernetes", "kubernetes"),
    ({}, {**POD, **AZURE}, "azure_aks", "kubernetes", "kubernetes"),
    ({}, {"/var/run/secrets/kubernetes.io": ""}, "kubernetes", "kubernetes", "kubernetes"),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, OVERLAY, "kubernetes", "kubernetes", "kubernetes"),
    ({"GITHUB_ACTIONS": "true", "CI": "true"}, AZURE, "ci", "ci", "local"),
    ({"GITLAB_CI": "true"}, OVERLAY, "ci", "ci", "container"),
    ({"WSL_DISTRO_NAME": "Ubuntu"}, WSL_KERNEL, "wsl", "local", "local"),
    ({}, {**WSL_KERNEL, "/run/WSL": ""}, "wsl", "local", "local"),
    ({"AWS_REGION": "eu-west-1"}, EC2, "aws", "aws", "cloud"),
    ({"AWS_REGION": "eu-west-1", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}, {}, "aws", "aws", "cloud"),
    ({"GOOGLE_CLOUD_PROJECT": "p"}, {}, "gcp", "gcp", "cloud"),
    ({"GCLOUD_PROJECT": "p"}, {}, "gcp", "gcp", "cloud"),
    ({"AZURE_RESOURCE_GROUP": "g"}, {}, "azure", "azure", "cloud"),
    ({}, OVERLAY, "docker", "docker", "container"),
    ({}, BTRFS, "docker", "docker", "container"),
    ({}, {"/.dockerenv": ""}, "docker", "docker", "container"),
    ({"DOCKER_CONTAINER": "true"}, PLAIN, "docker", "docker", "container"),
    ({"container": "docker"}, {}, "docker", "docker", "container"),
    ({}, {"/proc/self/cgroup": "3:memory:/docker/0123\n"}, "docker", "docker", "container"),
    ({}, {"/run/.containerenv": 'engine="podman-5"'}, "podman", "podman", "container"),
    ({"container": "podman"}, {}, "podman", "podman", "container"),
    ({}, {"/proc/self/cgroup": "0::/kubepods.slice/cri-containerd-12.scope\n"}, "container", "container", "container"),
    ({"container": "lxc"}, {}, "container", "container", "container"),
    ({}, {"/proc/self/mountinfo": "1 0 0:1 / / rw - overlay overlay rw,upperdir=/run/containerd/x\n"}, "container", "container", "container"),
    ({}, EC2, "aws_ec2", "aws", "cloud"),
    ({}, XEN, "aws_ec2", "aws", "cloud"),
    ({}, GCE, "gcp_gce", "gcp", "cloud"),
    ({}, AZURE, "azure_vm", "azure", "cloud"),
    ({"INVOCATION_ID": "1f"}, SERVICE, "systemd", "local", "local"),
    ({"NOTIFY_SOCKET": "/run/x"}, SERVICE, "systemd", "local", "local"),
    ({}, {}, "bare", "local", "local"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "files", "name", "platform", "kind"), CASES)
def test_each_platform_is_told_by_what_it_documents(environ, files, name, platform, kind):
    found = detect(Recorded(environ, files))
    assert (found.matches[0].name, found.platform.value, found.type.value) == (name, platform, kind)
    assert found.matches[0].evidence or name == "bare"


def test_the_table_has_a_case_for_every_platform():
    assert {case[2] for case in CASES} == {rule[0] for rule in RULES} | {"bare"}


FALSE = [
    # what must not fool it, what it must not be taken for, what is passed over
    ({"AWS_REGION": "eu-west-1", "AWS_PROFILE": "me"}, {}, "bare", ["AWS_REGION", "AWS_PROFILE"]),
    ({"AWS_DEFAULT_REGION": "eu-west-1"}, OVERLAY, "docker", ["AWS_DEFAULT_REGION"]),
    ({"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}, {}, "bare", ["AWS_EXECUTION_ENV"]),
    ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_SAM_LOCAL": "true"}, {}, "bare", ["AWS_LAMBDA_FUNCTION_NAME"]),
    ({"K_SERVICE": "s", "K_REVISION": "r"}, POD, "kubernetes", ["K_SERVICE"]),
    ({"K_SERVICE": "s"}, {}, "bare", ["K_SERVICE"]),
    ({"RAILWAY_ENVIRONMENT": "production", "RAILWAY_PROJECT_ID": "p"}, {}, "bare", ["RAILWAY_ENVIRONMENT"]),
    ({"FUNCTIONS_WORKER_RUNTIME": "python"}, {}, "bare", ["FUNCTIONS_WORKER_RUNTIME"]),
    ({"NETLIFY": "true", "NETLIFY_DEV": "true"}, {}, "bare", ["NETLIFY_DEV"]),
    ({}, HYPERV, "bare", ["/sys/class/dmi/id/sys_vendor"]),
    ({"GITHUB_ACTIONS": "true"}, AZURE, "ci", ["/sys/class/dmi/id/chassis_asset_tag"]),
    ({"CODESPACES": "true"}, AZURE, "github_codespaces", ["/sys/class/dmi/id/chassis_asset_tag"]),
    ({"INVOCATION_ID": "1f"}, SHELL, "bare", ["INVOCATION_ID"]),
    ({"INVOCATION_ID": "1f"}, {"/proc/self/cgroup": "0::/user.slice/user@1000.service\n"}, "bare", ["INVOCATION_ID"]),
    ({}, PLAIN, "bare", ["/.dockerenv"]),
    ({}, WSL_KERNEL, "bare", []),
    ({}, {**WSL_KERNEL, **OVERLAY}, "docker", []),
    ({"CODESPACES": "false", "RENDER": "0", "CI": "false", "DOCKER_CONTAINER": "no"}, {}, "bare", []),
    ({"FLY_MACHINE_ID": "x", "WEBSITE_INSTANCE_ID": "x", "CONTAINER_APP_NAME": "x"}, {}, "bare", []),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "files", "name", "passed_over"), FALSE)
def test_what_looks_like_evidence_does_not_fool_it_and_is_told(environ, files, name, passed_over):
    found = detect(Recorded(environ, files))
    assert found.matches[0].name == name
    assert [one.source for one in found.passed_over] == passed_over
    assert all(one.why for one in found.passed_over)


def test_all_that_fits_is_told_the_most_specific_first_with_its_evidence():
    environ = {"VERCEL": "1", "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_REGION": "x", "GOOGLE_CLOUD_PROJECT": "p"}
    found = detect(Recorded(environ, {**OVERLAY, **POD, **EC2}))
    assert [one.name for one in found.matches] == [
        "vercel", "aws_lambda", "aws_eks", "kubernetes", "aws", "gcp", "docker", "aws_ec2",
    ]  # fmt: skip
    assert [str(one) for one in found.matches[-2].evidence] == ["/.dockerenv is there, and / is overlay"]
    assert found.cloud


def test_ci_container_service_manager_orchestrator_and_system_are_facts_of_their_own():
    environ = {"JENKINS_URL": "http://u:p@x", "INVOCATION_ID": "1", "NOMAD_ALLOC_ID": "n"}
    release = {"/etc/os-release": 'NAME=x\nPRETTY_NAME="Ubuntu 24.04 LTS"\n'}
    found = detect(Recorded(environ, {**SERVICE, **OVERLAY, **EC2, **release}))
    told = (found.ci, found.container, found.service_manager, found.orchestrator, found.machine, found.os)
    assert [fact.name for fact in told] == ["jenkins", "docker", "systemd", "nomad", "aws_ec2", "linux"]
    assert found.os.title.startswith("Ubuntu 24.04 LTS")
    assert "u:p" not in str(found)
    assert detect(Recorded({"ECS_CONTAINER_METADATA_URI": "x"})).orchestrator.name == "ecs"
    bare = detect(Recorded())
    assert (bare.ci, bare.container, bare.service_manager, bare.orchestrator, bare.machine) == (None,) * 5


@pytest.mark.parametrize(
    ("system", "name", "word"),
    [
        ("linux", "linux", "full set"),
        ("darwin", "macos", "best effort"),
        ("win32", "windows", "needs WSL"),
        ("cygwin", "windows", "Git Bash"),
        ("freebsd14", "freebsd14", "not tested"),
    ],
)
def test_each_operating_system_says_how_far_we_go_there(system, name, word):
    found = detect(Recorded(system=system)).os
    assert found.name == name
    assert word in found.title


@pytest.mark.parametrize(
    ("environ", "files", "stage", "by"),
    [
        ({"ENV": "production"}, {}, "production", "ENV"),
        ({"ENV": "Prod", "CODESPACES": "true"}, {}, "production", "ENV"),
        ({"ROADWORTHY_STAGE": "testing", "ENV": "production"}, {}, "testing", "ROADWORTHY_STAGE"),
        ({"ENV": "blue", "APP_ENV": "stage"}, {}, "staging", "APP_ENV"),
        ({"VERCEL_ENV": "preview"}, {}, "staging", "VERCEL_ENV"),
        ({"VERCEL_ENV": "production"}, {}, "production", "VERCEL_ENV"),
        ({"NETLIFY": "true", "CONTEXT": "deploy-preview"}, {}, "staging", "CONTEXT"),
        ({"CONTEXT": "deploy-preview"}, {}, "development", "assumed"),
        ({"RAILWAY_ENVIRONMENT": "staging", "RAILWAY_REPLICA_ID": "x"}, {}, "staging", "RAILWAY_ENVIRONMENT"),
        ({"RENDER": "true", "IS_PULL_REQUEST": "true"}, {}, "staging", "IS_PULL_REQUEST"),
        ({"RENDER": "true", "IS_PULL_REQUEST": "false"}, {}, "production", "assumed"),
        ({"CI": "true"}, {}, "testing", "assumed"),
        ({}, {}, "development", "assumed"),
        ({}, OVERLAY, "production", "assumed"),
        ({}, POD, "production", "assumed"),
        ({"CODESPACES": "true"}, {}, "development", "assumed"),
    ],
)
def test_the_stage_is_a_fact_of_its_own_and_says_what_it_rests_on(environ, files, stage, by):
    found = detect(Recorded(environ, files))
    assert (found.stage.value, found.stage_by.source) == (stage, by)


# -- by hand, and what follows


@pytest.mark.parametrize(
    ("word", "kind", "stage"),
    [
        ("cloud", "cloud", "production"),
        ("production", "local", "production"),
        ("Production ", "local", "production"),
        ("dev", "local", "development"),
        ("staging", "local", "staging"),
        ("kubernetes", "kubernetes", "production"),
        ("codespaces", "codespaces", "development"),
        ("local", "local", "development"),
        ("container", "container", "production"),
    ],
)
def test_what_people_say_wins(word, kind, stage):
    found = force(detect(Recorded()), word)
    assert (found.type.value, found.stage.value, found.forced) == (kind, stage, word.strip().lower())
    assert found.stage_by.source == "--environment"


def test_a_word_that_is_no_environment_is_refused_with_those_that_are():
    with pytest.raises(UsageError, match="'moon' is no environment") as told:
        force(detect(Recorded()), "moon")
    assert "cloud" in told.value.why
    assert "staging" in told.value.why


def test_the_detector_answers_as_its_seed_did():
    detector = EnvironmentDetector(Recorded({"DYNO": "web.1"}))
    assert detector.detect_environment_type().value == "cloud"
    assert detector.detect_platform() == "heroku"
    assert detector.detect_stage() is Stage.PRODUCTION
    assert EnvironmentDetector(Recorded(), environment="cloud").detect_environment_type() is EnvironmentType.CLOUD


PRODUCTION = {"DEBUG": "false", "LOG_LEVEL": "INFO", "WORKERS": "4", "CLOUD_DEPLOYMENT": "true"}


@pytest.mark.parametrize(
    ("environ", "files", "values"),
    [
        ({"CODESPACES": "true"}, {}, {"DEBUG": "true", "CORS_ORIGINS": "*", "ALLOWED_HOSTS": "*", "PORT": "8000"}),
        ({"CODESPACES": "true", "ENV": "production"}, {}, PRODUCTION),
        ({"CODESPACES": "true", "ENV": "staging"}, {}, {}),
        ({"DYNO": "web.1"}, {}, PRODUCTION),
        ({"ENV": "production"}, {}, PRODUCTION),
        ({"ENV": "development"}, OVERLAY, {}),
        ({}, {}, {}),
        (
            {}, POD,
            {
                "KUBERNETES_DEPLOYMENT": "true", "HEALTH_CHECK_ENABLED": "true",
                "DATABASE_URL": "postgresql://postgres-service:5432", "REDIS_URL": "redis://redis-service:6379/0",
            },
        ),
    ],
)  # fmt: skip
def test_the_profile_has_exactly_the_values_of_its_environment(environ, files, values):
    assert dict(profile(detect(Recorded(environ, files)))) == values


def test_in_production_no_profile_opens_anything():
    for word in ("production", "cloud", "kubernetes"):
        values = profile(force(detect(Recorded({"CODESPACES": "true"})), word))
        assert "*" not in values.values()
        assert values.get("DEBUG") != "true"


def test_the_profile_of_these_variables_has_a_name():
    label, values = profile_of_environment({"CODESPACES": "true"})
    assert (label, values["PORT"]) == ("codespaces", "8000")
    assert profile_of_environment({"CODESPACES": "true", "ENV": "production"})[0] == "production"


# -- laws

VARIABLES = sorted(
    {name for case in [*CASES, *FALSE] for name in case[0]}
    | {"ENV", "RENDER_CPU_COUNT", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"}
)
PATHS = sorted(
    {name for case in [*CASES, *FALSE] for name in case[1]}
    | {"/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max"}
)
TEXTS = (
    st.text(max_size=200)
    | st.sampled_from(
        ["true", "²", "9" * 5000, "-1", "max 0", "0::/", "27 1 0:3 / / rw - overlay overlay rw", "MemTotal: ² kB"]
    )
    | st.lists(
        st.sampled_from(
            ["1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/", "0::/../x", "a - b", "::", "1:memory:/x"]
        ),
        max_size=4,
    ).map("\n".join)
)


@given(
    st.dictionaries(st.sampled_from(VARIABLES), TEXTS, max_size=8),
    st.dictionaries(st.sampled_from(PATHS), TEXTS, max_size=8),
)
def test_whatever_is_read_there_is_an_answer_and_its_evidence(environ, files):
    reader = Recorded(environ, files, cpus=4)
    found = detect(reader)
    assert found.platform is found.matches[0].platform
    assert all(one.evidence for one in found.matches if one.name != "bare")
    assert found.stage_by.source
    limits = bounds(reader)
    assert limits.cpus is not None
    assert 0 < limits.cpus <= 4
    assert suggested_workers(limits)[0] >= 1
    if found.stage is Stage.PRODUCTION:
        assert "*" not in profile(found).values()


# -- the reader, and the package


def test_the_reader_reads_this_machine(tmp_path, monkeypatch):
    reader = Reader({"X": " y "})
    (tmp_path / "file").write_bytes(b"a\xff")
    assert (reader.variable("X"), reader.variable("Y")) == ("y", "")
    assert reader.text(str(tmp_path / "file")) == "a�"
    assert (reader.text(str(tmp_path)), reader.text("/no/such")) == (None, None)
    assert (reader.exists(str(tmp_path)), reader.exists("/no/such")) == (True, False)
    assert reader.system()
    assert reader.cpus() >= 1
    assert reader.affinity() >= 1
    monkeypatch.setenv("X", "z")
    assert Reader().variable("X") == "z"

    def closed(_path):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.exists", closed)
    assert not reader.exists("/closed")


def test_every_name_of_the_package_is_there_and_no_other():
    assert all(getattr(package, name) for name in package.__all__)
    assert package.detect is detect
    assert package.profile is profile
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018 - resolving it is what is tested


def test_this_machine_is_told_without_an_error():
    assert detect().matches
