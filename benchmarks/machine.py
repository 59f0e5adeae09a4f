"""What the figures were measured on: they mean nothing without it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PEERS = (
    "prometheus-client",
    "opentelemetry-sdk",
    "sentry-sdk",
    "logfire",
    "structlog",
    "orjson",
    "python-json-logger",
    "starlette",
    "uvicorn",
)


def described() -> dict[str, str]:
    """Return the interpreter, the processor, the kernel and the load, each in words."""
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f} (a quiet machine is below 0.5)",
    }


def peers() -> dict[str, str]:
    """Return the installed version of each peer; a missing one is said to be missing."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown processor"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
