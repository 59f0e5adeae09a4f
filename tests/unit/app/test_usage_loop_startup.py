"""Usage, loops, heartbeats, progress, and the steps of a start."""

import pytest

import roadworthy as rw


def test_usage_is_counted_by_feature_outcome_and_success(seen):
    rw.usage("batch_extraction", "completed", success=True)
    rw.usage("batch_extraction", "failed", success=False)
    rw.usage("export", success=None)
    rw.usage("sprite_processing", "success")
    assert seen.count("usage", feature="batch_extraction") == 2
    assert seen.count("usage", feature="batch_extraction", success="false") == 1
    assert seen.count("usage", feature="export", success="unknown") == 1


def test_features_used_in_a_row_make_a_workflow(seen):
    for feature in ("open", "edit", "save"):
        rw.usage(f"flow.{feature}")
    assert seen.count("usage.transition", **{"from": "flow.open", "to": "flow.edit"}) == 1
    assert seen.count("usage.transition", **{"from": "flow.edit", "to": "flow.save"}) == 1
    assert seen.count("usage.duration", feature="flow.open") == 1


def test_workflows_of_users_are_bounded(program):
    # In a process of its own: for other tests there would be no room left.
    done = program(
        """
        import roadworthy as rw
        from roadworthy.testing import recording
        with recording() as seen:
            for n in range(1200):
                rw.usage(f"bound.{n % 600}.{n}")
            assert seen.count("usage.transition") >= 1199
            print(len([found for found in seen._series() if found.name == "usage.transition"]))
        """
    )
    assert int(done.stdout) <= 501


def test_a_loop_tells_frames_intervals_and_turns(seen):
    loop = rw.loop("main", target_fps=60)
    assert rw.loop("main") is loop
    for _ in range(3):
        with loop.frame():
            loop.turn()
    loop.frame_start()
    loop.frame_end()
    beat = seen.beats()["main"]
    assert (beat.kind, beat.count, beat.turns, beat.target_fps) == ("loop", 4, 3, 60)
    assert seen.count("loop.frame.duration", loop="main") == 4
    assert seen.count("loop.frame.interval", loop="main") == 3
    assert seen.count("loop.turns", loop="main") == 3


def test_an_exception_in_a_frame_is_recorded_with_turn_and_frame_and_passes(seen):
    loop = rw.loop("breaking")
    with pytest.raises(ValueError, match="bad step"), loop.frame():  # noqa: PT012 - a turn, then the error
        loop.turn(5)
        raise ValueError("bad step")
    (event,) = seen.errors()
    assert event.fields["operation"] == "loop breaking"
    assert event.fields["context.turn"] == "5"
    assert seen.count("loop.frame.duration", loop="breaking") == 1
    with loop.frame():
        pass
    assert loop.frames == 2


def test_a_frame_end_without_a_start_is_ignored(seen):
    rw.loop("odd").frame_end()
    assert seen.count("loop.frame.duration", loop="odd") == 0


def test_a_frame_under_way_shows_since_when(seen):
    loop = rw.loop("stuck")
    loop.frame_start()
    assert seen.beats()["stuck"].frame_ns is not None
    loop.frame_end()
    assert seen.beats()["stuck"].frame_ns is None


def test_a_heartbeat_is_declared_before_it_comes(seen):
    beat = rw.heartbeat("worker", every=2)
    assert seen.beats()["worker"].last_ns is None
    assert seen.beats()["worker"].every_ns == 2_000_000_000
    beat.beat()
    assert seen.beats()["worker"].count == 1
    assert rw.heartbeat("worker") is beat


def test_progress_counts_units(seen):
    rw.progress("rows")
    rw.progress("rows", 500)
    assert seen.beats()["rows"].count == 501
    assert seen.beats()["rows"].kind == "progress"


@pytest.mark.parametrize("bad", [None, "x", -5, 0, float("nan")])
def test_odd_arguments_never_raise(bad):
    rw.heartbeat(f"odd {bad}", every=bad).beat()
    rw.loop(f"odd {bad}", target_fps=bad).turn(bad)
    rw.progress(f"odd {bad}", bad)
    rw.usage(bad, bad)
    rw.startup.checkpoint(bad)


def test_checkpoints_and_readiness_are_marked_once(seen):
    before = len(seen.marks())
    rw.startup.checkpoint("database_connected")
    rw.startup.ready()
    rw.startup.ready()
    assert [(mark.kind, mark.label) for mark in seen.marks()[before:]] == [
        ("checkpoint", "database_connected"),
        ("ready", "ready"),
    ]


def test_the_steps_of_a_profile_add_up_to_its_total():
    profile_id = rw.startup.start_profiling("my_service")
    for label in ("initialized", "database_connected", "ready"):
        rw.startup.add_checkpoint(profile_id, label)
    profile = rw.startup.finish_profiling(profile_id)
    assert profile.service == "my_service"
    assert [step.label for step in profile.steps] == ["initialized", "database_connected", "ready", "finish"]
    assert sum(step.took for step in profile.steps) == pytest.approx(profile.total)
    assert profile.slowest[0].took == max(step.took for step in profile.steps)


def test_an_unknown_profile_is_none_and_no_error():
    rw.startup.add_checkpoint("nobody", "x")
    assert rw.startup.finish_profiling("nobody") is None


def test_profiles_are_bounded():
    made = [rw.startup.start_profiling("many") for _ in range(100)]
    assert rw.startup.finish_profiling(made[0]) is None
    assert rw.startup.finish_profiling(made[-1]) is not None
    assert len(rw.startup._profiles) <= 64
