"""Who may set what limits, how they are said on the command line, and when a window is open."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from proto.auth import Limits, LimitsSet, NotAdmin, SetLimits, User, Window
from services.auth import domain
from services.job.domain.windows import opens_at
from services.operate.users import limited
from services.operate.words import BadWord, size

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ME = User(user_id=UUID(int=7), number=7, username="me", role="user", email="", created_at=AT)
ADMIN = replace(ME, user_id=UUID(int=1), role="admin")
SOME = Limits(concurrent=2, storage=500)
NIGHT = Window(opens="22:00", closes="06:00")


def setting(limits: Limits, by: UUID | None = None) -> SetLimits:
    return SetLimits(by=by, username="me", limits=limits)


@pytest.mark.parametrize("by", [None, ADMIN], ids=["operator", "admin"])
def test_the_operator_and_admins_set_limits(by: User | None):
    decided = domain.set_limits(setting(SOME, by.user_id if by else None), ME, Limits(), by, AT)

    assert decided == [LimitsSet(user_id=ME.user_id, limits=SOME, at=AT)]


@pytest.mark.parametrize("by", [None, ME], ids=["nobody we know", "the user"])
def test_nobody_else_does(by: User | None):
    decided = domain.set_limits(setting(SOME, UUID(int=99)), ME, Limits(), by, AT)

    assert isinstance(decided, NotAdmin)


def test_the_same_limits_again_are_no_news():
    assert domain.set_limits(setting(SOME), ME, SOME, None, AT) == []


def test_a_window_that_opens_when_it_closes_is_refused():
    window = Window(opens="10:00", closes="10:00")

    assert not isinstance(domain.set_limits(setting(Limits(windows=(window,))), ME, Limits(), None, AT), list)


def test_what_is_not_said_on_the_command_line_stays_as_it_is():
    assert limited(SOME, None, "1M", None, ["22:00-06:00"]) == Limits(
        concurrent=2, storage=500, bandwidth=1024 * 1024, windows=(NIGHT,)
    )


def test_none_takes_a_limit_away():
    limits = Limits(concurrent=2, storage=500, windows=(NIGHT,))

    assert limited(limits, "none", None, None, ["none"]) == Limits(storage=500)


@pytest.mark.parametrize(
    ("concurrent", "windows"),
    [
        *(("0", None), ("many", None), ("-1", None), ("1.5", None), ("2K", None), ("9" * 30, None)),
        (None, ["25:00-06:00"]),
        (None, ["22:00"]),
        (None, ["a-b"]),
        (None, ["none", "22:00-06:00"]),
    ],
)
def test_what_can_be_no_limit_is_refused(concurrent: str | None, windows: list[str] | None):
    with pytest.raises(BadWord, match=r"whole number between 1 and 10000|such as 22:00-06:00"):
        limited(Limits(), concurrent, None, None, windows)


@pytest.mark.parametrize(
    ("text", "bytes_"), [("500", 500), ("64K", 65536), ("1.5g", 3 * 2**29), ("1T", 2**40), ("0", 0)]
)
def test_sizes_are_in_powers_of_1024(text: str, bytes_: int):
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "G", "12X", "1e999", "nan"])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(BadWord):
        size(text)


def clock(text: str, day: int = 20) -> datetime:
    return datetime(2026, 11, day, int(text[:2]), int(text[3:]), 30, tzinfo=UTC)


@pytest.mark.parametrize("now", ["22:00", "23:59", "00:00", "05:59"])
def test_a_window_over_midnight_is_open_on_both_sides_of_it(now: str):
    assert opens_at([NIGHT], clock(now)) is None


@pytest.mark.parametrize("now", ["06:00", "12:00", "21:59"])
def test_a_closed_window_opens_at_its_next_time(now: str):
    assert opens_at([NIGHT], clock(now)) == datetime(2026, 11, 20, 22, 0, tzinfo=UTC)


def test_the_next_opening_may_be_tomorrow():
    assert opens_at([Window(opens="08:00", closes="09:00")], clock("09:00")) == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def test_of_several_windows_the_next_counts():
    noon = Window(opens="12:00", closes="13:00")

    assert opens_at([NIGHT, noon], clock("07:00")) == datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert opens_at([NIGHT, noon], clock("12:30")) is None


def test_who_has_no_windows_may_always():
    assert opens_at([], clock("03:00")) is None


@given(
    opens=st.times(),
    closes=st.times(),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001
)
def test_a_window_is_open_when_it_said_it_opens(opens, closes, at: datetime):
    window = Window(opens=f"{opens:%H:%M}", closes=f"{closes:%H:%M}")
    assume(window.opens != window.closes)
    then = opens_at([window], at.replace(tzinfo=UTC))

    assert then is None or (then > at.replace(tzinfo=UTC) and opens_at([window], then) is None)
