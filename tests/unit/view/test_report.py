"""The report, its parts, and the monitor that reads from another process."""

from __future__ import annotations

from roadworthy.types import Histogram, Kind, Operation, Series, System
from roadworthy.view import outside, performance, report
from unit.view.snapshots import quiet, troubled


def trends():
    points = [(float(at), 100.0 + at) for at in range(20)]
    return performance.trends(1.0, {"app.rss": points, "system.disk_used": []}, {"app.rss": 200.0}, {"app.rss": points})


def test_trends_are_labelled_summed_up_and_told_until_the_limit():
    told = trends()
    assert told["labels"] == {"memory_trend": "increasing", "disk_trend": "unknown"}
    one = told["trends"]["app.rss"]
    assert (one["least"], one["mean"], one["most"]) == (100.0, 109.5, 119.0)
    assert one["limit_in"] > 0
    assert len(one["points"]) == 20


def test_the_report_of_a_program_in_trouble_says_everything_in_lines():
    snapshot = troubled()
    built = report.build(snapshot, trends(), None, lambda _fingerprint: [(60.0, 3)])
    assert built["errors"]["groups"][0]["per_minute"] == [[60.0, 3]]
    assert "points" not in built["trends"]["figures"]["app.rss"]
    text = "\n".join(report.lines(built))
    for part in ("Operations, worst first", "Trends over 1 h", "app.rss: increasing", "none was taken", "Starts"):
        assert part in text


def test_the_report_says_what_moved_against_the_baseline():
    moved = {"figure": "app.rss", "change": "higher", "then": 1.0, "now": 2.0, "ratio": 2.0, "worse": True}
    same = {**moved, "figure": "app.fds", "change": "same"}
    built = report.build(quiet(), trends(), {"figures": [moved, same]})
    assert "  app.rss: higher (worse), 2 after 1, 2.00 times" in report.lines(built)
    assert not any("app.fds" in line for line in report.lines(built))


def test_operating_targets_are_met_missed_or_unknown():
    found = performance.targets(quiet(system=System(cpu_percent=75.0, memory_percent=20.0)))
    assert {name: one["met"] for name, one in found.items()} == {"cpu": False, "memory": True, "disk": None}


def called(host, method, calls, **labels):
    said = (("http.request.method", method), ("server.address", host), *labels.items())
    return Series("http.client.request.duration", Kind.HISTOGRAM, said, "s", histogram=Histogram({3: calls}, 1.0, 1.0))


def exchanged(host, direction, number):
    said = (("network.io.direction", direction), ("server.address", host))
    return Series("http.client.io", Kind.COUNTER, said, "By", value=number)


def test_outside_services_come_with_the_largest_traffic_first_and_what_is_not_known_is_none():
    def rated(name, rate):
        return Operation(name, 1, 0, 0, rate, None, None, None, None, None, None, None, None)

    told = performance.resources_now(
        quiet(
            series=(
                called("pay.example", "GET", 5),
                called("pay.example", "POST", 2, **{"error.type": "ConnectError"}),
                called("mail.example", "POST", 9),
                called("old.example", "GET", 1, **{"http.response.status_code": "503"}),
                exchanged("pay.example", "transmit", 700.0),
                exchanged("pay.example", "receive", 90_000.0),
                exchanged("pay.example", "sideways", 1.0),
                exchanged("mail.example", "transmit", 4096.0),
                exchanged("tunnel.example", "transmit", 0.0),
                exchanged("unset.example", "transmit", None),
            ),
            operations=(rated("GET to pay.example", 0.5), rated("POST to pay.example", 0.25), rated("GET to x", 9.0)),
        )
    )["outside"]
    names = ("host", "calls", "failures", "sent_bytes", "received_bytes", "per_second")
    assert [tuple(row[name] for name in names) for row in told] == [
        ("pay.example", 7, 2, 700, 90_000, 0.75),
        ("mail.example", 9, 0, 4096, None, None),
        ("old.example", 1, 1, None, None, None),
        ("tunnel.example", 0, 0, 0, None, None),
    ]


def test_of_outside_services_the_fifty_with_the_most_traffic_are_told():
    told = outside.services(quiet(series=tuple(exchanged(f"host-{n}", "receive", float(n)) for n in range(200))))
    assert [row["received_bytes"] for row in told] == list(range(199, 149, -1))


def test_cache_hit_rates_come_from_gauges_and_from_pairs_of_counters():
    series = (
        Series("world.cache.hit_rate", Kind.GAUGE, value=0.9),
        Series("tiles.hits", Kind.COUNTER, (("zone", "a"),), value=3.0),
        Series("tiles.misses", Kind.COUNTER, (("zone", "a"),), value=1.0),
        Series("lonely.hits", Kind.COUNTER, value=3.0),
        Series("unset.hit_rate", Kind.GAUGE),
        Series("never.hits", Kind.COUNTER, value=0.0),
        Series("never.misses", Kind.COUNTER, value=0.0),
    )
    assert performance.caches(series) == {"world.cache.hit_rate": 0.9, "tiles.hit_rate{zone=a}": 0.75}


def test_usage_is_told_by_feature_and_in_its_order():
    def used(feature, outcome, success, value):
        labels = (("feature", feature), ("outcome", outcome), ("success", success))
        return Series("usage", Kind.COUNTER, labels, value=value)

    step = Series("usage.transition", Kind.COUNTER, (("from", "open"), ("to", "save")), value=4.0)
    told = performance.usage(quiet(series=(used("open", "done", "true", 5.0), used("open", "", "false", 1.0), step)))
    assert told["features"]["open"] == {
        "count": 6.0, "outcomes": {"done": 5.0, "(none)": 1.0}, "success": {"true": 5.0, "false": 1.0},
    }  # fmt: skip
    assert told["workflow"] == {"open → save": 4.0}
