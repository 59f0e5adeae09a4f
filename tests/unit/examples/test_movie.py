"""The demo film, part by part, against a roadworthy that only takes notes. No sleeps, no processes."""

from __future__ import annotations

import errno
import heapq
import importlib
import itertools
import json
import logging
import os
import random
import signal
import struct
import sys
import zlib
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.resilience import RecoveryAction, degradation_manager, feature, outward, recovery

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PARTS = ("actor", "art", "body", "config", "film", "main", "mind", "misbehave", "world")


class Notes:
    """Stands in for every metric, loop and heartbeat; counts the calls by name."""

    def __init__(self):
        self.calls = []

    def _take(self, call):
        def take(*args, **kwargs):
            self.calls.append((call, args, kwargs))
            return self

        return take

    def __getattr__(self, name):
        return self._take(name)

    @contextmanager
    def bracket(self, *args, **kwargs):
        self.calls.append(("bracket", args, kwargs))
        yield

    frame = time = bracket

    def of(self, name):
        return [args for call, args, _ in self.calls if call == name]


def load():
    """Import the film against a fake roadworthy, but the real resilience; leave sys.modules as it was."""
    notes = Notes()
    names = "start loop counter gauge histogram timer error usage heartbeat progress check".split()  # noqa: SIM905
    fake = SimpleNamespace(
        **{name: notes._take(name) for name in names},
        startup=notes,
        operation=notes.bracket,
        timed=lambda _name: lambda function: function,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "roadworthy", fake)
        patch.syspath_prepend(str(EXAMPLES))
        parts = {name: importlib.import_module(f"movie.{name}") for name in PARTS}
        for name in [name for name in sys.modules if name == "movie" or name.startswith("movie.")]:
            del sys.modules[name]
    return SimpleNamespace(**parts, notes=notes)


movie = load()


@pytest.fixture(autouse=True)
def notes(monkeypatch):
    """Begin each test with nothing noted, no feature and no error recovery, and nobody who listens to them."""
    movie.notes.calls.clear()
    monkeypatch.setattr(importlib.import_module("roadworthy.resilience.feature"), "_features", {})
    monkeypatch.setattr(importlib.import_module("roadworthy.resilience.recover.manager"), "_shared", None)
    monkeypatch.setattr(degradation_manager, "_switches", {})
    monkeypatch.setattr(outward, "listener", None)
    monkeypatch.setattr(outward, "_first_use", [])
    return movie.notes


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_film(tmp_path, clock):
    def make(**values):
        given_settings = movie.config.Config(**{"columns": 32, "rows": 16, "animals": 3, **values})
        faults = movie.misbehave.Faults(tmp_path / "misbehave", clock, clock.sleep)
        return movie.main.Film(given_settings, tmp_path, faults, clock, clock.sleep)

    return make


# ------------------------------------------------------------------------------------------------------------- world


def test_the_same_seed_grows_the_same_world():
    assert movie.world.grow(5, 32, 16) == movie.world.grow(5, 32, 16)


def test_another_seed_grows_another_world():
    assert movie.world.grow(5, 32, 16).biomes != movie.world.grow(6, 32, 16).biomes


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31))
def test_every_landmark_can_be_reached_from_every_other(seed):
    world = movie.world.grow(seed, 32, 16)
    assert len(world.landmarks) >= 2
    for one, other in itertools.pairwise(world.landmarks):
        assert movie.actor.find_path(world.costs, world.columns, one.tile, other.tile)


def test_rivers_end_in_the_sea_and_never_run_in_circles():
    world = movie.world.grow(7)
    assert world.rivers
    for river in world.rivers:
        assert len(set(river)) == len(river)
        assert world.biomes[river[-1]] in {movie.world.Biome.SEA, movie.world.Biome.DEEP}


def test_mishaps_spare_landmarks_and_the_wanderer_and_old_ones_are_cleared_away():
    world = movie.world.grow(7, 32, 16)
    before, dice, spare = bytes(world.costs), random.Random(1), world.landmarks[0].tile  # noqa: S311
    changed = sum(world.befall(dice, spare) for _ in range(2000))
    assert changed > 100
    assert len(world.obstacles) == movie.world.MOST_OBSTACLES
    assert not {place.tile for place in world.landmarks} & set(world.obstacles)
    assert {tile for tile, cost in enumerate(world.costs) if cost != before[tile]} == set(world.obstacles)


# ------------------------------------------------------------------------------------------------------------- actor


@st.composite
def grids(draw, most_cost):
    columns, rows = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    costs = draw(st.lists(st.integers(0, most_cost), min_size=columns * rows, max_size=columns * rows))
    start, goal = (draw(st.integers(0, columns * rows - 1)) for _ in range(2))
    costs[goal] = costs[goal] or 1
    return bytes(costs), columns, start, goal


def around(columns, size, tile):
    x, y = tile % columns, tile // columns
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        if 0 <= x + dx < columns and 0 <= (y + dy) * columns < size:
            yield (y + dy) * columns + x + dx


def breadth_first(costs, columns, start, goal):
    reached, front = {start: 0}, deque([start])
    while front:
        tile = front.popleft()
        for other in around(columns, len(costs), tile):
            if costs[other] and other not in reached:
                reached[other] = reached[tile] + 1
                front.append(other)
    return reached.get(goal)


def dijkstra(costs, columns, start, goal):
    done, front = {}, [(0, start)]
    while front:
        spent, tile = heapq.heappop(front)
        if tile not in done:
            done[tile] = spent
            for other in around(columns, len(costs), tile):
                if costs[other]:
                    heapq.heappush(front, (spent + costs[other], other))
    return done.get(goal)


@settings(deadline=None)
@given(grids(1))
def test_on_open_ground_no_path_is_shorter_than_the_one_found(grid):
    costs, columns, start, goal = grid
    path = movie.actor.find_path(*grid)
    assert (len(path) - 1 if path else None) == breadth_first(costs, columns, start, goal)


@settings(deadline=None)
@given(grids(6))
def test_on_rough_ground_no_path_is_cheaper_than_the_one_found(grid):
    costs, columns, start, goal = grid
    path = movie.actor.find_path(*grid)
    assert (sum(costs[tile] for tile in path[1:]) if path else None) == dijkstra(costs, columns, start, goal)


@settings(deadline=None)
@given(grids(3))
def test_a_path_goes_from_start_to_goal_by_passable_neighbours(grid):
    costs, columns, start, goal = grid
    path = movie.actor.find_path(*grid)
    if path:
        assert (path[0], path[-1]) == (start, goal)
        assert all(costs[tile] for tile in path[1:])
        assert all(b in around(columns, len(costs), a) for a, b in itertools.pairwise(path))


def test_entering_a_tile_takes_as_many_turns_as_it_costs():
    world = SimpleNamespace(costs=bytes([1, 3, 1]), columns=3)
    actor = movie.actor.Actor(0)
    assert actor.plan(world, 2)
    assert [actor.step(world) for _ in range(4)] == [False, False, True, True]
    assert (actor.tile, actor.path, actor.trail) == (2, [], [0, 1])


def test_between_two_tiles_the_actor_moves_evenly():
    world = SimpleNamespace(costs=bytes([1, 2, 1]), columns=3)
    actor = movie.actor.Actor(0)
    actor.plan(world, 2)
    places = [actor.position(world, 0.0)[0], actor.position(world, 0.5)[0]]
    actor.step(world)
    places += [actor.position(world, 0.0)[0], actor.position(world, 0.5)[0]]
    assert places == [0.0, 0.25, 0.5, 0.75]


# -------------------------------------------------------------------------------------------------------------- mind


def test_a_fallen_rock_on_the_path_is_noticed_and_walked_around(make_film, caplog):
    film = make_film()
    actor, world = film.actor, film.world
    blocked = actor.path[len(actor.path) // 2]
    world.costs[blocked], world.obstacles[blocked] = 0, "rock"
    with caplog.at_level(logging.WARNING, "movie.mind"):
        intent = film.mind.decide(film.scene, actor)
    assert intent is movie.mind.Intent.REPLAN
    assert caplog.records[0].tile == blocked
    assert actor.plan(world, film.scene.goal.tile)
    assert actor.blocked(world) is None


def test_a_tired_wanderer_rests_until_it_is_fresh(make_film):
    film = make_film()
    film.actor.fatigue = movie.actor.TIRED
    intents = [film.mind.decide(film.scene, film.actor) for _ in range(10)]
    assert intents.count(movie.mind.Intent.REST) == movie.actor.TIRED // movie.mind.RECOVERY
    assert intents[-1] is movie.mind.Intent.WALK


def test_when_nothing_can_be_reached_the_mind_says_so(make_film):
    film = make_film()
    film.world.costs[:] = bytes(len(film.world.costs))
    with pytest.raises(RuntimeError, match=f"no landmark can be reached from tile {film.actor.tile}"):
        film.mind.open_scene(2, film.actor)


# -------------------------------------------------------------------------------------------------- pictures and film


def read_png(data):
    """Return width and rows of a palette PNG, checking signature, order and checksum of its chunks."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += size + 12
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, rest) == (8, 3, [0, 0, 0])
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (width + 1)
    rows, above = [], bytes(width)
    for start in range(0, len(raw), width + 1):
        kind, line = raw[start], raw[start + 1 : start + 1 + width]
        above = bytes((value + up * (kind == 2)) & 255 for value, up in zip(line, above, strict=True))
        assert kind in {0, 2}
        rows.append(above)
    return width, b"".join(rows)


def read_lzw(data):
    """Decode the image data of a GIF by the book; return the pixels and the bytes used."""
    assert data[0] == 8
    at, stream = 1, bytearray()
    while data[at]:
        stream += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    size, table, last, pixels = 9, [], None, bytearray()
    window, held, feed = 0, 0, iter(stream)
    while True:
        while held < size:
            window |= next(feed) << held
            held += 8
        code, window, held = window & ((1 << size) - 1), window >> size, held - size
        if code == 256:
            table, last, size = [bytes([i]) for i in range(256)] + [b"", b""], None, 9
            continue
        if code == 257:
            return bytes(pixels), at + 1
        if last is None:
            entry = table[code]
        else:
            entry = table[code] if code < len(table) else last + last[:1]
            if len(table) < 4096:
                table.append(last + entry[:1])
                if len(table) in {512, 1024, 2048}:
                    size += 1
        pixels += entry
        last = entry


pictures = st.integers(1, 9).flatmap(
    lambda width: st.tuples(st.just(width), st.binary(min_size=1, max_size=60).map(lambda data: data * width))
)


@given(pictures, st.integers(1, 4))
def test_a_png_holds_the_enlarged_picture(picture, scale):
    width, pixels = picture
    assert read_png(movie.film.png(pixels, width, bytes(768), scale)) == (
        width * scale,
        movie.film.enlarge(pixels, width, scale),
    )


def test_enlarging_makes_a_square_of_each_pixel():
    assert movie.film.enlarge(b"\1\2\3\4", 2, 2) == bytes([1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4])


@given(st.lists(st.tuples(st.sampled_from([255, 255, 0, 7, 254]), st.integers(1, 400)), min_size=1, max_size=60))
def test_what_is_coded_for_a_gif_decodes_to_the_same_pixels(runs):
    pixels = b"".join(bytes([value]) * length for value, length in runs)
    coded = movie.film.lzw(pixels)
    assert read_lzw(coded) == (pixels, len(coded))


@pytest.mark.parametrize("values", [256, 3, 1])
def test_a_picture_that_overflows_the_code_table_decodes_too(values):
    dice = random.Random(values)  # noqa: S311
    pixels = bytes(255 - dice.randrange(values) for _ in range(120_000)) + b"\xff" * 50_000
    assert read_lzw(movie.film.lzw(pixels))[0] == pixels


@given(st.binary(min_size=1, max_size=200).filter(lambda data: 255 not in data), st.data())
def test_a_difference_laid_over_the_background_gives_the_picture_again(background, data):
    pixels = data.draw(st.binary(min_size=len(background), max_size=len(background)).filter(lambda b: 255 not in b))
    changed = movie.film.difference(pixels, background)
    assert bytes(b if c == 255 else c for c, b in zip(changed, background, strict=True)) == pixels


def read_gif(data):
    """Return size, palette, and (disposal, delay, pixels) of each picture."""
    assert data[:6] == b"GIF89a"
    size, palette, at, frames, control = struct.unpack_from("<HH", data, 6), data[13:781], 781, [], None
    while data[at] != 0x3B:
        if data[at : at + 2] == b"\x21\xf9":
            control = data[at + 3] >> 2 & 7, struct.unpack_from("<H", data, at + 4)[0]
            at += 8
        elif data[at] == 0x21:
            at += 2
            while data[at]:
                at += 1 + data[at]
            at += 1
        else:
            assert struct.unpack_from("<HHHH", data, at + 1) == (0, 0, *size)
            pixels, used = read_lzw(data[at + 10 :])
            frames.append((*control, pixels))
            at += 10 + used
    assert at == len(data) - 1
    return size, palette, frames


def test_the_film_of_a_scene_shows_its_frames_over_one_background(make_film, tmp_path):
    film = make_film()
    film.run(30)
    film.save()
    size, palette, frames = read_gif((tmp_path / "movie.gif").read_bytes())
    assert size == (film.body.width * 2, film.body.height * 2)
    assert palette == movie.art.palette(film.scene.light)
    assert [(disposal, delay) for disposal, delay, _ in frames] == [(1, 2)] + [(3, 12)] * 3
    background = frames[0][2]
    assert background == movie.film.enlarge(film.body.background, film.body.width, 2)
    composed = bytes(b if c == 255 else c for c, b in zip(frames[-1][2], background, strict=True))
    assert composed == movie.film.enlarge(film.body._cloudless, film.body.width, 2)


def test_png_and_gif_are_read_alike_by_pillow(make_film, tmp_path):
    image = pytest.importorskip("PIL.Image")
    film = make_film()
    film.run(30)
    film.save()
    size = (film.body.width * 2, film.body.height * 2)
    with image.open(tmp_path / "latest.png") as png, image.open(tmp_path / "movie.gif") as gif:
        assert (png.size, png.tobytes()) == (size, movie.film.enlarge(film.body.canvas, film.body.width, 2))
        assert (gif.size, gif.n_frames) == (size, 4)


def test_a_long_scene_keeps_its_film_within_bounds(make_film, tmp_path):
    film = make_film()
    film.body._pictures.extend([b"\x08" + b"x" * 60_000] * 400)
    assert len(film.body._pictures) == movie.body.MOST_PICTURES
    film.body.save_film()
    assert (tmp_path / "movie.gif").stat().st_size < movie.body.MOST_FILM_BYTES + 200_000


@given(st.integers(-20, 60), st.integers(-20, 60))
def test_a_sprite_outside_of_the_land_never_changes_the_size_of_the_canvas(x, y):
    canvas = bytearray(40 * 40)
    movie.body.stamp(canvas, 40, 30, movie.art.PLACES["castle"], x, y)
    assert len(canvas) == 1600
    assert not any(canvas[30 * 40 :])


def test_every_colour_has_a_place_below_the_shadows():
    assert max(movie.art.COLOURS.values()) < movie.art.SHADOW
    assert all(len(movie.art.palette(light)) == 768 for light in movie.mind.LIGHTS)


def test_a_text_that_is_too_long_or_strange_still_fits_its_strip():
    canvas = bytearray(40 * 5)
    movie.body.letter(canvas, 40, "Łong " * 30, 5, 0, 1)
    assert len(canvas) == 200


# ------------------------------------------------------------------------------------------------------------ config


def test_without_file_and_variables_the_defaults_hold():
    assert movie.config.load({"MOVIE_STAGE": "testing"}) == movie.config.Config(stage="testing")


@pytest.mark.parametrize("stage", ["development", "production"])
def test_the_settings_that_come_with_the_film_are_valid(stage):
    assert movie.config.load({"MOVIE_ENV": stage}).stage == stage


@pytest.mark.parametrize(
    ("name", "text"),
    [("s.json", '{"performance": {"target_fps": 30}}'), ("s.toml", "[performance]\ntarget_fps = 30\n")],
)
def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert movie.config.load({}, file).target_fps == 30
    assert movie.config.load({"MOVIE_TARGET_FPS": "24"}, file).target_fps == 24


@pytest.mark.parametrize(
    ("environ", "text", "named"),
    [
        ({"MOVIE_TARGET_FPS": "sixty"}, "{}", ["MOVIE_TARGET_FPS", "target_fps", "'sixty'", "whole number", "1000"]),
        ({"MOVIE_TARGET_FPS": "0"}, "{}", ["MOVIE_TARGET_FPS", "'0'", "from 1 to 1000"]),
        ({"MOVIE_TURN_SECONDS": "nan"}, "{}", ["turn_seconds", "'nan'", "0.01"]),
        ({"MOVIE_MONITORING": "maybe"}, "{}", ["MOVIE_MONITORING", "'maybe'", "true or false"]),
        ({"MOVIE_LOG_LEVEL": "loud"}, "{}", ["log_level", "'loud'", "WARNING"]),
        ({"MOVIE_STAGE": "prod"}, "{}", ["MOVIE_STAGE", "'prod'", "production"]),
        ({"MOVIE_TARGETFPS": "60"}, "{}", ["MOVIE_TARGETFPS", "did you mean target_fps"]),
        ({}, '{"world": {"seed": true}}', ["s.json", "seed", "True", "whole number"]),
        ({}, '{"world": {"sead": 1}}', ["s.json", "world.sead", "did you mean world.seed"]),
        ({}, '{"seed": 1}', ["s.json", "section"]),
        ({}, "{", ["s.json", "cannot be read"]),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_value_and_origin(tmp_path, environ, text, named):
    file = tmp_path / "s.json"
    file.write_text(text)
    with pytest.raises(movie.config.ConfigError) as caught:
        movie.config.load(environ, file)
    assert [part for part in named if part not in str(caught.value)] == []


# --------------------------------------------------------------------------------------------------------- misbehave


@pytest.mark.parametrize(
    ("text", "kind", "after"),
    [(kind.value, kind, 0.0) for kind in movie.misbehave.Kind]
    + [
        ("none", None, 0.0),
        ("leak@10", movie.misbehave.Kind.LEAK, 10.0),
        (" Hang@0.5\n", movie.misbehave.Kind.HANG, 0.5),
        ("none@3", None, 3.0),
    ],
)
def test_an_order_is_a_kind_and_perhaps_a_delay(text, kind, after):
    assert movie.misbehave.parse(text) == movie.misbehave.Order(kind, after)


@pytest.mark.parametrize("text", ["", "explode", "leak@", "leak@-1", "leak@soon", "leak@nan", "leak@1@2", "@3"])
def test_an_order_that_cannot_be_understood_names_itself_and_the_kinds(text):
    with pytest.raises(ValueError, match="livelock") as caught:
        movie.misbehave.parse(text)
    assert repr(text) in str(caught.value)


@pytest.fixture
def faults(tmp_path, clock):
    return movie.misbehave.Faults(tmp_path / "misbehave", clock, clock.sleep)


def order(faults, text):
    faults.order(movie.misbehave.parse(text))
    faults.between_frames()


def test_an_order_with_a_delay_waits_for_it(faults, clock):
    order(faults, "livelock@5")
    clock.now += 4.9
    faults.between_frames()
    assert not faults.refuses_steps
    clock.now += 0.1
    faults.between_frames()
    assert faults.refuses_steps


def test_orders_in_the_file_are_taken_once_and_bad_lines_do_not_spoil_good_ones(faults, clock, caplog):
    faults.between_frames()
    faults.file.write_text("explode\n\nlivelock\n")
    faults.between_frames()
    assert faults.file.exists(), "the file is looked for once a second"
    clock.now += 1.0
    faults.between_frames()
    assert not faults.file.exists()
    assert faults.refuses_steps
    assert "misbehave 'explode'" in caplog.text


def test_none_puts_an_end_to_what_can_end_and_gives_the_memory_back(faults, clock):
    for kind in ("leak", "slow", "livelock", "errors"):
        order(faults, kind)
    clock.now += 1
    faults.between_frames()
    assert sum(map(len, faults._leaked)) > 0
    order(faults, "none")
    assert (faults.active, faults._leaked) == (set(), [])


def test_a_leak_grows_by_five_megabytes_a_second_and_is_bounded(faults, clock, monkeypatch):
    monkeypatch.setattr(movie.misbehave, "MOST_LEAKED", 20 << 20)
    order(faults, "leak")
    for _ in range(4):
        clock.now += 0.5
        faults.between_frames()
    assert sum(map(len, faults._leaked)) == 10 << 20
    for _ in range(40):
        clock.now += 0.5
        faults.between_frames()
    assert sum(map(len, faults._leaked)) <= 23 << 20


def test_a_hang_never_comes_back(faults, monkeypatch):
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(faults, "sleep", nap)
    with pytest.raises(KeyboardInterrupt):
        order(faults, "hang")
    assert naps == [3600] * 5


def test_a_segmentation_fault_reads_address_zero(faults, monkeypatch):
    read = []
    monkeypatch.setattr(movie.misbehave.ctypes, "string_at", read.append)
    order(faults, "segv")
    assert read == [0]


# -------------------------------------------------------------------------------------------------------------- loop


def test_sixty_frames_take_a_second_and_hold_four_turns(make_film, clock, notes):
    film, start = make_film(), clock.now
    film.run(60)
    assert clock.now - start == pytest.approx(1.0)
    assert (film.frame, film.turn) == (60, 4)
    assert len(notes.of("turn")) == len(notes.of("progress")) == 4
    assert len(notes.of("beat")) == 60


def test_uncapped_frames_do_not_wait(make_film, clock):
    make_film().run(60, capped=False)
    assert clock.slept == []


def test_frames_that_came_late_are_not_made_up_in_a_burst(make_film, clock):
    film = make_film()
    film.run(1)
    clock.now += 10
    film.run(3)
    assert all(nap > 0 for nap in clock.slept)
    assert len(clock.slept) >= 3


def test_two_films_of_one_seed_are_the_same(make_film, tmp_path):
    frames = []
    for _ in range(2):
        film = make_film()
        film.run(90)
        frames.append(bytes(film.body.canvas))
    assert frames[0] == frames[1]


def test_a_failing_frame_is_brought_to_error_recovery_and_the_film_goes_on(make_film):
    film = make_film()
    film.faults.order(movie.misbehave.parse("errors"))
    film.run(60)
    assert (film.frame, film.failures, film.turn) == (60, 6, 4)
    summary = recovery.get_error_recovery().summary()
    assert summary["by_component"] == {"main_heartbeat": 6}
    assert {(each["operation"], each["type"]) for each in summary["recent"]} == {("run_loop", "Injected")}
    assert [(each["frame"], each.get("turn", 0)) for each in reversed(summary["recent"])] == [
        (1, 0), (11, 0), (21, 1), (31, 2), (41, 2), (51, 3),
    ]  # fmt: skip
    assert [group["in_a_row"] for group in summary["groups"]] == [0], "each was followed by a frame that came through"


def test_the_advice_to_shut_down_ends_the_loop(make_film, monkeypatch):
    film = make_film()
    film.faults.order(movie.misbehave.parse("errors"))
    asked = []

    def advise(_manager, error, *context):
        asked.append((type(error), *context))
        return RecoveryAction.SHUTDOWN

    monkeypatch.setattr(recovery.ErrorRecoveryManager, "handle_error_with_context", advise)
    film.run(60)
    assert (film.frame, film.running) == (1, False)
    assert asked == [(movie.misbehave.Injected, "main_heartbeat", "run_loop", 0, 1)]


def test_what_no_new_process_cured_shuts_a_critical_film_down(make_film, monkeypatch):
    recovery.get_error_recovery().critical("main_heartbeat")
    film = make_film()
    monkeypatch.setattr(film.body, "draw", lambda *_: {}["missing"])
    film.run(1000)
    assert not film.running
    assert film.failures < movie.main.FAILURES_IN_A_ROW


def test_on_a_full_disk_the_film_does_without_its_pictures_until_there_is_room_again(make_film, monkeypatch, clock):
    recovery.get_error_recovery().shed("pictures")
    film = make_film()
    tried = []

    def full():
        tried.append(clock.now)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(film.body, "save_frame", full)
    film.run(300)
    assert (film.frame, film.failures, len(tried)) == (300, 1, 1), "five seconds, and the full disk was met once"
    assert feature("pictures").reason == "the disk is full"
    feature("pictures").on()
    monkeypatch.setattr(film.body, "save_frame", lambda: tried.append(clock.now))
    film.run(420)
    assert len(tried) >= 2
    assert film.failures == 1


def test_without_pictures_a_scene_ends_without_a_film(make_film, monkeypatch):
    film = make_film()
    saved = []
    monkeypatch.setattr(film.body, "save_film", lambda: saved.append(film.scene.number))
    feature("pictures").off(reason="a test")
    film._close(reached=True)
    feature("pictures").on()
    film._close(reached=True)
    assert saved == [2]
    assert film.scene.number == 3


def test_too_many_failing_frames_in_a_row_end_the_film(make_film, monkeypatch):
    film = make_film()

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(film.body, "draw", broken)
    with pytest.raises(ZeroDivisionError):
        film.run(1000)
    assert film.failures == movie.main.FAILURES_IN_A_ROW


def test_a_crash_is_handled_by_nobody(make_film):
    film = make_film()
    film.faults.order(movie.misbehave.parse("crash"))
    with pytest.raises(movie.misbehave.Injected, match="told to crash"):
        film.run(60)


def test_an_exit_ends_with_status_three(make_film):
    film = make_film()
    film.faults.order(movie.misbehave.parse("exit"))
    with pytest.raises(SystemExit) as caught:
        film.run(60)
    assert caught.value.code == 3


def test_in_a_livelock_frames_go_on_and_turns_do_not(make_film, notes):
    film = make_film()
    film.faults.order(movie.misbehave.parse("livelock"))
    film.run(120)
    assert (film.frame, film.turn) == (120, 0)
    assert notes.of("turn") == []


def test_slow_frames_are_slow_inside_of_the_frame(make_film, clock):
    film = make_film()
    film.faults.order(movie.misbehave.parse("slow"))
    film.run(10)
    assert clock.slept.count(movie.misbehave.SLOW_SECONDS) == 10


def test_a_reached_goal_ends_the_scene_with_a_film_and_opens_the_next(make_film, notes, tmp_path):
    film = make_film()
    goal = film.scene.goal
    film.actor.tile, film.actor.path = goal.tile, []
    film.run(15)
    assert film.scene.number == 2
    assert film.scene.goal != goal
    assert (tmp_path / "movie.gif").read_bytes()[:6] == b"GIF89a"
    assert notes.of("usage") == [("scene", "completed")]


def test_a_scene_whose_goal_is_cut_off_is_given_up(make_film, notes):
    film = make_film()
    for tile in film.world.neighbours(film.scene.goal.tile):
        film.world.costs[tile] = 0
    film.run(15)
    assert film.scene.number == 2
    assert notes.of("usage") == [("scene", "given up")]


def test_a_directory_that_was_removed_is_made_again(make_film, tmp_path):
    film = make_film()
    film.body.directory = tmp_path / "gone"
    film.run(1)
    assert (tmp_path / "gone" / "latest.png").exists()


def test_stopping_ends_the_loop_after_the_present_frame(make_film):
    film = make_film()
    film.stop()
    film.run()
    assert film.frame == 0


def test_a_stopped_film_is_resumed_where_it_was(make_film):
    first = make_film()
    first.run(150)
    first.save()
    second = make_film()
    assert (second.turn, second.actor.tile, second.scene) == (10, first.actor.tile, first.scene)


def test_a_film_that_was_killed_is_resumed_at_the_last_opened_scene(make_film):
    first = make_film()
    first.actor.tile, first.actor.path = first.scene.goal.tile, []
    first.run(15)
    assert make_film().scene == first.scene


def test_a_film_in_another_world_starts_at_its_beginning(make_film):
    first = make_film()
    first.run(150)
    first.save()
    assert make_film(seed=8).turn == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "{",
        lambda _: "[]",
        lambda state: json.dumps({**state, "tile": 10**6}),
        lambda state: json.dumps({**state, "tile": 0}),
        lambda state: json.dumps({**state, "scene": 0}),
        lambda state: json.dumps({**state, "tile": "here"}),
        lambda state: json.dumps({**state, "extra": 1}),
    ],
)
def test_a_state_that_makes_no_sense_is_reported_and_left_alone(make_film, tmp_path, caplog, change):
    film = make_film()
    film.run(30)
    film.save()
    file = tmp_path / "state.json"
    file.write_text(change(json.loads(file.read_text())))
    assert make_film().turn == 0
    assert "starting over" in caplog.text


@pytest.fixture
def quiet_main(monkeypatch):
    """Keep the handlers of signals and the environment of the test run as they are."""
    handlers = {}
    monkeypatch.setattr(movie.main.signal, "signal", handlers.__setitem__)
    for name in ("MOVIE_STAGE", "MOVIE_ENV", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return handlers


def test_a_run_writes_frame_film_and_state_and_says_how_fast_it_was(quiet_main, tmp_path, capsys, notes):
    assert movie.main.main(["--out", str(tmp_path / "out"), "--frames", "20", "--uncapped"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"latest.png", "movie.gif", "state.json"}
    assert "movie: 20 frames in" in capsys.readouterr().out
    assert set(quiet_main) == {signal.SIGTERM, signal.SIGINT}
    assert [args[0] for args in notes.of("checkpoint")] == [
        "world generated",
        "background painted",
        "first scene opened",
    ]
    assert len(notes.of("ready")) == 1


def test_error_recovery_is_set_up_before_monitoring_and_monitoring_before_the_parts(quiet_main, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(movie.main, "initialize_error_recovery", lambda: order.append("recovery") or order_of_recovery)
    monkeypatch.setattr(movie.main.rw, "start", lambda _name: order.append("monitoring"))
    monkeypatch.setattr(movie.main, "grow", lambda *_: order.append("parts") or 1 / 0)
    order_of_recovery = recovery.ErrorRecoveryManager()
    with pytest.raises(ZeroDivisionError):
        movie.main.main(["--out", str(tmp_path / "out"), "--frames", "1"])
    assert [step for step, _ in itertools.groupby(order)] == ["recovery", "monitoring", "recovery", "parts"]


@pytest.mark.parametrize(("setting", "recorded"), [("true", True), ("false", False)])
def test_monitoring_is_obeyed(quiet_main, tmp_path, monkeypatch, notes, setting, recorded):
    monkeypatch.setenv("MOVIE_MONITORING", setting)
    monkeypatch.setenv("ROADWORTHY_ENABLED", "1")
    assert movie.main.main(["--out", str(tmp_path / "out"), "--frames", "3", "--uncapped"]) == 0
    assert bool(notes.of("start")) is recorded
    assert (os.environ["ROADWORTHY_ENABLED"] != "0") is recorded


def test_the_readiness_check_tells_how_full_the_directory_is_and_fails_without_it(tmp_path):
    (tmp_path / "latest.png").write_bytes(bytes(2048))
    assert movie.main.writable(tmp_path) == f"1 files, 2 KB in {tmp_path}"
    with pytest.raises(PermissionError, match="missing or not writable"):
        movie.main.writable(tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["--misbehave", "explode"], {}, "explode"),
        ([], {"MOVIE_SEED": "x"}, "MOVIE_SEED: seed = 'x'"),
        (["--config", "/nowhere.json"], {}, "/nowhere.json"),
        (["--out", "/dev/null/out"], {}, "--out /dev/null/out"),
    ],
)
def test_what_cannot_be_used_ends_the_start_with_one_line(quiet_main, monkeypatch, capsys, arguments, environ, said):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert movie.main.main(arguments) == movie.main.EXIT_CONFIG
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/x", "XDG_STATE_HOME": "/home/s"}, "/var/lib/x/movie"),
        ({"XDG_STATE_HOME": "/home/s"}, "/home/s/movie"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/movie"),
    ],
)
def test_without_being_told_the_film_goes_to_the_state_directory(quiet_main, monkeypatch, environ, expected):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert str(movie.main.data_directory()) == expected
