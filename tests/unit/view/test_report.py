"""The report, its parts, and the monitor that reads from another process."""

from __future__ import annotations

from roadworthy.types import Kind, Series, System
from roadworthy.view import performance, report
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
