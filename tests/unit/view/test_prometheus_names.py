"""Names follow the OpenTelemetry translation rules; what collides is told apart and reported."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.types import Kind
from roadworthy.view.prometheus_names import assign, family_name, label_name

C, G, H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM


@pytest.mark.parametrize(
    ("name", "unit", "kind", "family"),
    [
        ("http.server.request.duration", "s", H, "http_server_request_duration_seconds"),
        ("pathfinding.duration", "", H, "pathfinding_duration"),
        ("payload", "By", H, "payload_bytes"),
        ("net.rate", "By/s", G, "net_rate_bytes_per_second"),
        ("cpu.used", "1", G, "cpu_used_ratio"),
        ("retries", "1", C, "retries"),
        ("orders", "{order}", C, "orders"),
        ("orders_total", "", C, "orders"),
        ("total", "", C, "total"),
        ("wait_seconds", "s", H, "wait_seconds"),
        ("seconds", "s", G, "seconds"),
        ("response_time_ms", "", G, "response_time_ms"),
        ("used", "%", G, "used_percent"),
        ("3d.frames", "", G, "_3d_frames"),
        ("a..b//c", "", G, "a_b_c"),
        ("größe", "", G, "gr_e"),
        ("äöü", "", G, "unnamed"),
        ("job:rate", "", G, "job:rate"),
        ("x", "{widget}/s", G, "x_per_second"),
    ],
)
def test_a_name_is_translated_by_the_standard_rules(name, unit, kind, family):
    assert family_name(name, unit, kind) == family


def test_a_prefix_can_be_asked_for():
    assert family_name("orders", "", C, "shop") == "shop_orders"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("http.route", "http_route"),
        ("0abc", "key_0abc"),
        ("__name__", "key__name__"),
        ("", "_"),
        ("a-b", "a_b"),
        ("job", "job"),
    ],
)
def test_a_label_name_is_translated(name, label):
    assert label_name(name) == label


def test_a_histogram_cannot_have_its_border_label_overwritten():
    assert label_name("le", H) == "exported_le"
    assert label_name("le", G) == "le"


def test_names_that_become_the_same_are_told_apart_and_reported():
    names, findings = assign([("a.b", "", G), ("a_b", "", G), ("a.b", "", C)])
    assert len(set(names.values())) == 3
    assert "a_b" in names.values()
    assert len(findings) == 2
    assert all("a_b" in finding for finding in findings)


def test_a_gauge_cannot_pose_as_a_part_of_a_histogram():
    names, findings = assign([("d", "", H), ("d.count", "", G)])
    assert names["d", "", H] == "d"
    assert names["d.count", "", G] != "d_count"
    assert findings


@given(st.text(max_size=40), st.text(max_size=8), st.sampled_from(list(Kind)))
def test_any_text_becomes_a_valid_name(name, unit, kind):
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", family_name(name, unit, kind))
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label_name(name, kind))
