"""A mapping whose states share what they have, beside a plain one that is copied each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.job.domain.growing import Growing


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdefgh"), st.integers())))
def test_every_state_stays_as_it_was_wherever_others_grow_from_it(steps: list[tuple[int, str, int]]):
    """Each step grows from any state there is."""
    states: list[tuple[Growing[int], dict[str, int]]] = [(Growing(), {})]
    for start, key, value in steps:
        growing, plain = states[start % len(states)]
        states.append((growing.plus(key, value), plain if key in plain else {**plain, key: value}))

    for growing, plain in states:
        assert list(growing.items()) == list(plain.items())
        assert len(growing) == len(plain)
        assert [key in growing for key in "abcdefgh"] == [key in plain for key in "abcdefgh"]


def test_growing_from_the_last_state_copies_nothing():
    """Else a job of twenty thousand items would copy two hundred million."""
    states = [Growing[int]()]
    for number in range(100):
        states.append(states[-1].plus(str(number), number))

    assert len({id(state._shared) for state in states}) == 1
