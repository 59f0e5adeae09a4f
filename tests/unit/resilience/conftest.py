"""The library alone, as in a program that uses nothing else of ours, also when other tests have started the runtime."""

import sys
from importlib import import_module

import pytest

from roadworthy.resilience import hook, outward
from roadworthy.resilience.degrade import degradation_manager


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    listeners = hook._listener, outward.attached()
    monkeypatch.setattr(hook, "_first_use", [])
    monkeypatch.setattr(outward, "_first_use", [])
    monkeypatch.setattr(import_module("roadworthy.resilience.feature"), "_features", {})
    monkeypatch.setattr(degradation_manager, "_rules", {})
    monkeypatch.setattr(degradation_manager, "_switches", {})
    if "roadworthy.app.pulse" in sys.modules:  # its thread would look after services and policies at its own time
        monkeypatch.setattr(sys.modules["roadworthy.app.pulse"], "_duties", {})
    hook.attach(None)
    outward.attach(None)
    yield
    hook.attach(listeners[0])
    outward.attach(listeners[1])
