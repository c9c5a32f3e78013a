"""Which connection fetches which bytes where somebody reads a file along."""

from __future__ import annotations

import pytest

from services.job.engines.ranges import Range, Ranges

SIZE = 1000


@pytest.fixture
def front():
    """A connection that was asked for everything and has received three hundred bytes."""
    one = Range(0, SIZE)
    one.at = 300
    return one


def taken(front: Range, at: int, *others: tuple[int, int], gaps=((0, SIZE),)) -> tuple[int, int | None] | None:
    ranges = Ranges(front, 50)
    for start, stop in others:
        ranges.take_at(start, [(start, stop)], 0)
    found = ranges.take_at(at, gaps, 100)
    return None if found is None else (found.start, found.stop)


def test_who_waits_far_ahead_of_a_connection_gets_the_rest_of_it(front):
    assert taken(front, 700) == (700, SIZE)
    assert front.stop == 700


@pytest.mark.parametrize("at", [0, 299, 300, 400])
def test_what_was_received_and_is_not_written_yet_or_comes_soon_is_not_fetched_twice(front, at):
    assert taken(front, at) is None
    assert front.stop == SIZE


def test_a_hole_that_nobody_fetches_is_fetched_up_to_where_somebody_does(front):
    front.stop = 400

    assert taken(front, 500, (800, 900)) == (500, 800)


def test_what_is_there_is_fetched_by_nobody(front):
    front.stop = 400

    assert taken(front, 500, gaps=((600, SIZE),)) is None


def test_two_who_wait_at_one_place_are_one(front):
    ranges = Ranges(front, 50)

    assert ranges.take_at(700, [(0, SIZE)], 100) is not None
    assert ranges.take_at(700, [(0, SIZE)], 100) is None
