"""The guard against far too many requests, with a given clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.throttle import BURST_SECONDS, TELL_SECONDS, Throttle, TooMany

RATE = 100


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def asked(throttle: Throttle, who: str, times: int) -> int:
    """How many of them were let through."""
    through = 0
    for _ in range(times):
        try:
            throttle.count(who)
        except TooMany:
            continue
        through += 1
    return through


def test_a_burst_is_let_through_and_no_more_than_that():
    assert asked(Throttle(RATE, Clock()), "a", 5000) == RATE * BURST_SECONDS


def test_who_waits_as_long_as_told_may_ask_again():
    clock = Clock()
    throttle = Throttle(RATE, clock)
    asked(throttle, "a", 5000)
    with pytest.raises(TooMany) as refused:
        throttle.spent("a")
    clock.now += refused.value.seconds

    assert asked(throttle, "a", 1) == 1


def test_one_asker_is_not_answered_for_another():
    throttle = Throttle(RATE, Clock())
    asked(throttle, "a", 5000)

    assert asked(throttle, "b", 5) == 5


def test_without_a_rate_everything_is_let_through():
    assert asked(Throttle(0, Clock()), "a", 50_000) == 50_000


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0, 20)), max_size=30))
def test_over_any_time_no_more_gets_through_than_the_rate_and_a_burst(steps: list[tuple[int, float]]):
    clock = Clock()
    throttle, began, through = Throttle(RATE, clock), clock.now, 0
    for times, idle in steps:
        through += asked(throttle, "a", times)
        assert through <= (clock.now - began + BURST_SECONDS) * RATE + 1
        clock.now += idle


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), max_size=40))
def test_several_that_tell_each_other_let_through_what_one_would_and_no_more_than_one_pace_beside(
    steps: list[tuple[int, int]],
):
    """Each process hears at the end of every pace what the others let through in it."""
    clock = Clock()
    processes = [Throttle(RATE, clock) for _ in range(3)]
    began, through = clock.now, 0
    for which, times in steps:
        through += asked(processes[which], "a", times)
        for one in processes:
            news = one.news()
            for other in processes:
                if other is not one:
                    other.heard(news)
        clock.now += TELL_SECONDS

    assert through <= (clock.now - began + BURST_SECONDS) * RATE + 1


def test_only_what_matters_is_told_and_once():
    throttle = Throttle(10_000, Clock())
    asked(throttle, "often", 50)
    asked(throttle, "seldom", 49)

    assert throttle.news() == {"often": 50}
    assert throttle.news() == {}
