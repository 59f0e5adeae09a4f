"""The event stream: the newest state first, then what happens, with ids to go on from, bounded."""

import asyncio
import json
from dataclasses import replace

import pytest

from roadworthy.types import Event, EventKind
from roadworthy.view.web.endpoint import Problem
from roadworthy.view.web.stream import FIRST_EVENTS, Streams
from unit.view.snapshots import NOW, quiet, troubled
from unit.view.sources import Source

pytestmark = pytest.mark.anyio


def log(number):
    return number, Event(EventKind.LOG, NOW + number, "info", "app", f"line {number}", 4200, 0, number)


def parsed(block):
    fields = dict(line.split(": ", 1) for line in block.decode().strip().splitlines() if not line.startswith(":"))
    return fields.get("event"), fields.get("id"), json.loads(fields["data"]) if "data" in fields else None


async def test_a_stream_begins_with_the_state_and_the_newest_events():
    source = Source(troubled(), [log(n) for n in range(1, 1001)])
    streams = Streams(source)
    stream = streams.stream(streams.admit(), None)
    assert (await anext(stream)).startswith(b"retry:")
    kind, _, snapshot = parsed(await anext(stream))
    assert (kind, snapshot["app"]) == ("snapshot", "shop")
    assert "series" not in snapshot
    kind, number, events = parsed(await anext(stream))
    assert (kind, number, len(events)) == ("events", "1000", FIRST_EVENTS)
    assert [events[0]["id"], events[-1]["id"]] == [801, 1000]
    await stream.aclose()


async def test_who_comes_back_gets_what_was_missed_and_nothing_twice():
    streams = Streams(Source(quiet(), [log(n) for n in range(1, 11)]))
    stream = streams.stream(streams.admit(), 7)
    blocks = [parsed(await anext(stream)) for _ in range(3)]
    assert [event["id"] for event in blocks[2][2]] == [8, 9, 10]
    await stream.aclose()


async def test_each_new_snapshot_and_event_is_sent_as_it_comes():
    source = Source(quiet())
    streams = Streams(source)
    stream = streams.stream(streams.admit(), None)
    await anext(stream)
    await anext(stream)
    for tick in range(3):
        source.events.append(log(tick + 1))
        source.publish(replace(quiet(), tick=tick))
        came = {kind: data for kind, _, data in (parsed(await anext(stream)), parsed(await anext(stream)))}
        assert came["snapshot"]["tick"] == tick
        assert [event["id"] for event in came["events"]] == [tick + 1]
    await stream.aclose()


async def test_a_slow_client_gets_the_newest_state_and_no_queue():
    source = Source(quiet())
    streams = Streams(source)
    stream = streams.stream(streams.admit(), None)
    await anext(stream)
    await anext(stream)
    for tick in range(100):
        source.publish(replace(quiet(), tick=tick))
    assert parsed(await anext(stream))[2]["tick"] == 99
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.01)


async def test_a_quiet_stream_says_that_it_is_alive():
    streams = Streams(Source(None), heartbeat=0.001)
    stream = streams.stream(streams.admit(), None)
    assert [await anext(stream) for _ in range(3)][1:] == [b": nothing was measured yet\n\n", b": still here\n\n"]
    await stream.aclose()


async def test_streams_are_limited_and_the_last_one_ends_the_subscription():
    source = Source(quiet())
    streams = Streams(source, most=2)
    wakes = [streams.admit(), streams.admit()]
    assert len(source.callbacks) == 1
    with pytest.raises(Problem) as caught:
        streams.admit()
    assert caught.value.status_code == 503
    for wake in wakes:
        streams.leave(wake)
        streams.leave(wake)
    assert source.callbacks == []
    streams.leave(streams.admit())
