"""A listener that writes down what it is told, and a store that several "processes" share, for tests."""

from __future__ import annotations

from roadworthy.resilience.store import ProcessStore


class Outside:
    def __init__(self, *, state="", may_restart=True, store=None):
        self.told = []
        self.place = state
        self.may_restart = may_restart
        self.shared = store if store is not None else ProcessStore()
        self.restarts = []

    def changed(self, *what):
        self.told.append(("changed", *what))

    def failed(self, error, fields):
        self.told.append(("failed", error, dict(fields)))

    def recovered(self, *what):
        self.told.append(("recovered", *what))

    def security(self, *what):
        self.told.append(("security", *what))

    def correlation(self):
        return "req-7"

    def redact(self, text):
        return text.replace("hunter2", "***")

    def ask_restart(self, reason):
        self.restarts.append(reason)
        return self.may_restart

    def declared(self):
        self.told.append(("declared",))

    def state_directory(self):
        return self.place

    def store(self):
        return self.shared

    def of(self, what):
        return [one[1:] for one in self.told if one[0] == what]
