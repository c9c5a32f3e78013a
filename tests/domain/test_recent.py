"""What was found out a moment ago."""

from __future__ import annotations

from libs.recent import Recent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_good_until_its_seconds_are_over_and_again_when_it_is_kept_anew():
    clock = Clock()
    recent: Recent[str, int] = Recent(10, 3, clock)
    recent.keep("a", 1)
    clock.now += 9.9
    assert recent.get("a") == 1
    clock.now += 0.1
    assert recent.get("a") is None
    recent.keep("a", 2)
    assert recent.get("a") == 2


def test_of_too_many_the_one_that_was_kept_longest_ago_is_forgotten():
    recent: Recent[str, int] = Recent(10, 3, Clock())
    for key in "abcad":
        recent.keep(key, 1)
    assert [recent.get(key) for key in "abcd"] == [1, None, 1, 1]


def test_what_is_outdated_is_forgotten_by_its_key_by_its_value_or_with_all_the_rest():
    recent: Recent[str, int] = Recent(10, 9, Clock())
    for value, key in enumerate("abcd"):
        recent.keep(key, value)
    recent.forget("a")
    recent.forget("never there")
    recent.forget_where(lambda value: value == 2)
    assert [recent.get(key) for key in "abcd"] == [None, 1, None, 3]
    recent.clear()
    assert [recent.get(key) for key in "abcd"] == [None] * 4
