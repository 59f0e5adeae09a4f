"""A source and a history that hold what a test gives them."""

from unit.view.snapshots import MONO, NOW


class Source:
    """The newest snapshot, changed by the test; subscribers are told at once."""

    def __init__(self, snapshot=None, events=()):
        self.snapshot = snapshot
        self.events = list(events)
        self.callbacks = []

    def latest(self):
        return self.snapshot

    def subscribe(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def recent_events(self, after, limit):
        return [pair for pair in self.events if pair[0] > after][:limit]

    def publish(self, snapshot):
        self.snapshot = snapshot
        for callback in list(self.callbacks):
            callback(snapshot)


class Past:
    """A history of a few points a figure and of one incident."""

    def __init__(self, incidents=()):
        self.asked = []
        self.summaries = list(incidents)
        self.bundles = {one.id: {"id": one.id, "title": one.title, "events": []} for one in incidents}

    def query(self, names, start, end, points):
        self.asked.append((list(names), start, end, points))
        line = [(NOW - 60 + 5 * i, None if i == 3 else 10.0 + i) for i in range(12)]
        return {name: line for name in names if not name.startswith("unknown")}

    def incidents(self, limit=50):
        return self.summaries[:limit]

    def incident(self, incident_id):
        return self.bundles.get(incident_id)


def clock(seconds=0.5):
    """Return a monotonic clock that stands so long after the snapshot was made."""
    return lambda: MONO + int(seconds * 1e9)
