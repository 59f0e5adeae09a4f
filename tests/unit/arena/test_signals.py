"""What a signal handler raises in the midst of an instrument reaches the program; failures of ours do not."""

import pytest

from roadworthy.arena import hot


class Alarm(Exception):
    pass


class Interrupting:
    """A view that behaves as if a signal came while it was read or written."""

    def __init__(self, error):
        self.error = error

    def __getitem__(self, index):
        raise self.error

    def __setitem__(self, index, value):
        raise self.error


@pytest.fixture(autouse=True)
def judged():
    before = list(hot._judges)
    hot.let_pass(lambda error: isinstance(error, Alarm))
    yield
    hot._judges[:] = before


def calls(cell, free):
    return {
        "counter": hot.Counter(cell, 1, 0).add,
        "gauge": lambda: hot.Gauge(cell, 1, 0).set(1.0),
        "histogram": lambda: hot.Histogram(cell, 1, 0).record(9),
        "beat": hot.Beat(cell, 1).beat,
        "enter": lambda: hot.InFlight(cell, free).enter(0),
        "leave": lambda: hot.InFlight(cell, free).leave(8),
        "ring": lambda: hot.Ring(cell, 1, 8).put(1, 2, b"x"),
    }


@pytest.mark.parametrize("name", ["counter", "gauge", "histogram", "beat", "enter", "leave", "ring"])
def test_the_programs_exception_passes_and_ours_is_swallowed(name):
    free = [8]
    theirs, ours = Interrupting(Alarm()), Interrupting(TypeError("no number"))
    with pytest.raises(Alarm):
        calls(hot.Cell(theirs, theirs, theirs), free)[name]()
    calls(hot.Cell(ours, ours, ours), free)[name]()
    assert 8 in free, "the entry is given back"
