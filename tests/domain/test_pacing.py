"""The bucket and its shares, as arithmetic."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.egress.rate import BURST_SECONDS, Rate
from services.job.domain.sharing import share
from services.job.worker.pacing import Pace, Pacing

ONE, TWO, THREE = (UUID(int=n) for n in range(1, 4))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_who_has_no_limit_never_waits():
    assert Rate(None, Clock()).passed(10**12) == 0


def test_what_is_owed_shrinks_with_time():
    clock = Clock()
    rate = Rate(1000, clock)
    clock.now += 10
    first = rate.passed(1250)
    clock.now += 0.4

    assert first == pytest.approx(1.25 - BURST_SECONDS)
    assert rate.owed() == pytest.approx(0.6)


def test_a_limit_that_is_lifted_lets_pass_at_once():
    clock = Clock()
    rate = Rate(1000, clock)
    rate.passed(100_000)
    rate.set(None)

    assert (rate.owed(), rate.passed(10**9)) == (0, 0)


def test_what_is_owed_is_paid_at_the_new_rate():
    clock = Clock()
    rate = Rate(1000, clock)
    owed = rate.passed(8000)
    rate.set(4000)

    assert rate.owed() == pytest.approx(owed / 4)


def test_a_limit_that_comes_late_owes_nothing_for_what_passed_before():
    rate = Rate(None, Clock())
    rate.passed(10**9)
    rate.set(1000)

    assert rate.owed() == 0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 5)), max_size=50), st.integers(1024, 10**7))
def test_no_more_passes_than_the_rate_and_one_burst_allow(steps: list[tuple[int, float]], per_second: int):
    """Several connections share the bucket; each waits as it was told before its next bytes."""
    clock = Clock()
    rate = Rate(per_second, clock)
    began, passed = clock.now, 0
    for count, idle in steps:
        clock.now += rate.owed() + idle
        assert passed <= (clock.now - began + BURST_SECONDS) * per_second * (1 + 1e-6) + 1
        rate.passed(count)
        passed += count


def test_shares_follow_how_much_each_worker_runs():
    running = {ONE: 1, TWO: 3}

    assert (share(1000, running, ONE), share(1000, running, TWO)) == (250, 750)
    assert share(1000, {}, ONE) == 1000


def test_a_worker_that_is_not_counted_yet_gets_the_share_of_one_attempt():
    assert share(1000, {ONE: 1, TWO: 3}, THREE) == 200


@given(st.dictionaries(st.uuids(), st.integers(1, 50), min_size=1, max_size=20), st.integers(1024, 10**9))
def test_all_shares_together_are_no_more_than_the_limit(running: dict[UUID, int], bandwidth: int):
    assert sum(share(bandwidth, running, worker) for worker in running) <= bandwidth


def test_attempts_of_one_owner_share_a_bucket_for_as_long_as_any_runs():
    pacing = Pacing()
    mine, theirs = pacing.of(ONE), pacing.of(TWO)
    mine.set(1000)

    assert pacing.of(ONE) is mine
    assert theirs.rate.per_second is None
    del mine
    assert pacing.of(ONE).rate.per_second is None


def test_what_is_dealt_reaches_who_runs_for_the_owner_and_nobody_else():
    pacing = Pacing()
    mine, theirs = pacing.of(ONE), pacing.of(TWO)
    pacing.dealt(ONE, 1000, {ONE: 1, TWO: 3}, ONE)
    pacing.dealt(THREE, 1000, {ONE: 1}, ONE)

    assert (mine.share, theirs.share) == (250, None)


def test_what_goes_out_takes_from_what_comes_in():
    """Two attempts; one has several files and fetches while it stores, the other only stores."""
    pace = Pace()
    pace.set(1200)
    with pace.coming(), pace.coming():
        both = pace.rate.per_second
        with pace.going(instead=False):
            several = (pace.rate.per_second, pace.out)
            with pace.going(instead=True):
                all_three = (pace.rate.per_second, pace.out)
        after = pace.rate.per_second

    assert (both, after) == (1200, 1200)
    assert several == (800, 400)
    assert all_three == (400, 400)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1000, 10**9))
def test_in_and_out_together_are_no_more_than_the_share(coming: int, storing: int, dealt: int):
    pace = Pace()
    pace.set(dealt)
    with ExitStack() as running:
        for _ in range(coming + storing):
            running.enter_context(pace.coming())
        for _ in range(storing):
            running.enter_context(pace.going(instead=True))
        going, fetched = pace.out, pace.rate.per_second

        assert going is not None
        assert fetched is not None
        assert going * storing + (fetched if coming else 0) <= dealt


def test_without_a_limit_nothing_is_paced():
    pace = Pace()
    with pace.coming(), pace.going(instead=True):
        assert (pace.rate.per_second, pace.out) == (None, None)
