"""The exposition says exactly what the snapshot says: read back by prometheus_client's parsers, number for number."""

import math
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from roadworthy.arena.layout import bucket_bounds, bucket_of
from roadworthy.types import Histogram, Kind, Series
from roadworthy.view.prometheus import Borders, Renderer, octaves
from roadworthy.view.prometheus_names import family_name, label_name
from roadworthy.view.prometheus_own import own_series
from unit.view.snapshots import quiet, series, troubled

FORMATS = [(False, parse_text), (True, parse_openmetrics)]


def samples(families):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def translated(one):
    return tuple(sorted((label_name(name, one.kind), value) for name, value in one.labels))


@pytest.mark.parametrize(("openmetrics", "parse"), FORMATS)
def test_every_figure_of_the_snapshot_is_read_back_exactly(openmetrics, parse):
    snapshot = troubled()
    found = samples(parse(Renderer(openmetrics=openmetrics).render(snapshot)))
    expected = 1  # target_info
    for one in (*snapshot.series, *own_series(snapshot)):
        name, labels = family_name(one.name, one.unit, one.kind), translated(one)
        if one.histogram is not None:
            count = sum(one.histogram.buckets.values())
            assert found[f"{name}_count", labels] == count
            assert found[f"{name}_sum", labels] == one.histogram.sum / one.histogram.scale
            assert found[f"{name}_bucket", tuple(sorted((*labels, ("le", "+Inf"))))] == count
            expected += 3 + len(octaves(one.histogram.scale))
            continue
        sample = (f"{name}_total" if one.kind is Kind.COUNTER else name, labels)
        if one.value is None:
            assert sample not in found
            continue
        assert found[sample] == one.value
        expected += 1
    assert len(found) == expected


@pytest.mark.parametrize(("openmetrics", "parse"), FORMATS)
def test_help_type_and_samples_of_a_family_stand_together(openmetrics, parse):
    text = Renderer(openmetrics=openmetrics).render(troubled())
    assert text.endswith("# EOF\n") is openmetrics
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    families = {family.name: family for family in parse(text)}
    assert families["http_server_request_duration_seconds"].type == "histogram"
    assert families["orders"].type == "counter"
    assert families["orders"].documentation == "Orders taken."
    assert len(families["orders"].samples) == 2


def test_labels_are_escaped():
    text = Renderer().render(troubled())
    assert 'errors_total{operation="say \\"hi\\"\\\\\\n",type="ValueError"} 3.0\n' in text


@pytest.mark.parametrize("scale", [1.0, 1e9, 1000.0, 1e6])
def test_every_border_is_a_border_of_buckets_so_that_counts_are_exact(scale):
    borders = Borders.of(scale)
    for power, cut, label in zip(octaves(scale), borders.cuts, borders.labels, strict=True):
        assert bucket_bounds(cut)[0] == 1 << power
        assert float(label) * scale == pytest.approx((1 << power) - 1)
    assert len(borders.labels) <= 24


def test_counts_at_the_borders_are_those_of_the_values():
    values = [0, 1, 3, 4, 5, 1023, 1024, 70_000, 1 << 41]
    buckets = {}
    for value in values:
        buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + 1
    text = Renderer().render_series(
        [Series("v", Kind.HISTOGRAM, histogram=Histogram(buckets, float(sum(values)), float(max(values))))]
    )
    for sample in next(iter(parse_text(text))).samples:
        if sample.name == "v_bucket":
            assert sample.value == sum(value <= float(sample.labels["le"]) for value in values), sample


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_second_rendering_shows_the_new_figures_and_only_those(openmetrics):
    renderer = Renderer(openmetrics=openmetrics)
    first = (
        Series("a", Kind.COUNTER, value=1.0),
        Series("b", Kind.GAUGE, value=2.0),
        Series("h", Kind.HISTOGRAM, histogram=Histogram({3: 1}, 3.0, 3.0)),
    )
    second = (
        Series("a", Kind.COUNTER, value=1.0),
        Series("b", Kind.GAUGE, value=9.0),
        Series("h", Kind.HISTOGRAM, histogram=Histogram({3: 2}, 6.0, 3.0)),
    )
    for seen in (first, second, second, first, second[:2], first):
        assert renderer.render_series(seen) == Renderer(openmetrics=openmetrics).render_series(seen)


NAMED = [
    (name, Kind(kind), labels) for name in "abc" for kind in ("counter", "gauge") for labels in ((), (("k", "v"),))
]


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(NAMED), unique_by=lambda key: (key[0], key[2]), max_size=6),
            st.lists(st.sampled_from(["own_a", "own_b", "a"]), unique=True, max_size=3),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_what_is_told_of_the_layout_changes_nothing_of_the_text(scrapes):
    renderer, layout, before = Renderer(), 0, None
    for number, (keys, names, told) in enumerate(scrapes):
        layout += keys != before
        before = keys
        series = [Series(name, kind, labels, value=float(number)) for name, kind, labels in keys]
        own = [Series(name, Kind.GAUGE, value=1.0) for name in names]
        left = [one for one in own if one.name not in {name for name, _, _ in keys}]
        text = renderer.render_series(series, own=own, layout=layout if told else None)
        assert text == Renderer().render_series([*series, *left])


def test_a_series_that_changes_its_kind_is_rendered_as_what_it_is_now():
    renderer = Renderer()
    renderer.render_series([Series("a", Kind.COUNTER, value=1.0)])
    assert "# TYPE a gauge\na 1.0\n" in renderer.render_series([Series("a", Kind.GAUGE, value=1.0)])


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_an_unknown_figure_is_left_out_and_never_zero(unknown):
    renderer = Renderer()
    text = renderer.render_series(
        [Series("g", Kind.GAUGE, (("w", "0"),), value=unknown), Series("g", Kind.GAUGE, (("w", "1"),), value=5.0)]
    )
    assert samples(parse_text(text)) == {("g", (("w", "1"),)): 5.0}
    assert renderer.render_series([Series("g", Kind.GAUGE, value=unknown)]) == ""


def test_a_percent_sign_in_a_label_or_help_text_is_only_text():
    text = Renderer().render_series([Series("g", Kind.GAUGE, (("w", "100%s"),), help="50 %d", value=5.0)])
    assert samples(parse_text(text)) == {("g", (("w", "100%s"),)): 5.0}
    assert "# HELP g 50 %d\n" in text


def test_collisions_are_told_in_a_comment_and_nothing_is_lost():
    renderer = Renderer()
    text = renderer.render_series([Series("a.b", Kind.GAUGE, value=1.0), Series("a_b", Kind.GAUGE, value=2.0)])
    assert text.startswith("# roadworthy: metric 'a_b'")
    assert sorted(samples(parse_text(text)).values()) == [1.0, 2.0]
    assert renderer.findings


def test_two_series_that_become_one_are_reported_and_never_written_twice():
    renderer = Renderer()
    text = renderer.render_series(
        [Series("g", Kind.GAUGE, (("a.b", "1"),), value=1.0), Series("g", Kind.GAUGE, (("a_b", "1"),), value=2.0)]
    )
    assert samples(parse_text(text)) == {("g", (("a_b", "1"),)): 1.0}
    assert "left out" in renderer.findings[0]


def test_labels_that_become_one_are_joined():
    text = Renderer().render_series([Series("g", Kind.GAUGE, (("a.b", "1"), ("a_b", "2")), value=1.0)])
    assert 'g{a_b="1;2"} 1.0' in text


def test_a_figure_that_the_program_records_itself_wins_over_ours():
    own = Series("process_os_threads", Kind.GAUGE, help="Mine.", value=77.0)
    found = samples(parse_text(Renderer().render(quiet(series=(own,)))))
    assert [value for (name, _), value in found.items() if name == "process_os_threads"] == [77.0]


@pytest.mark.service("promtool")
@pytest.mark.parametrize("make", [quiet, troubled])
def test_promtool_has_nothing_to_say(make, service):
    named = [
        Series("wait", Kind.HISTOGRAM, (("queue", "a"),), "s", "Waiting.", histogram=Histogram({150: 3}, 1e6, 4e5, 1e9))
    ]
    snapshot = make(series=tuple(named) + (series() if make is troubled else ()))
    done = subprocess.run(
        [service("promtool"), "check", "metrics"],
        input=Renderer().render(snapshot),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert shutil.which("promtool")
