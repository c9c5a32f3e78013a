"""Who may set what limits, and how they are said on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from proto.auth import Limits, LimitsSet, NotAdmin, SetLimits, User, Window
from services.auth import domain
from services.operate import BadWord, limited, size

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ME = User(user_id=UUID(int=7), number=7, username="me", role="user", email="", created_at=AT)
ADMIN = replace(ME, user_id=UUID(int=1), role="admin")
SOME = Limits(concurrent=2, storage=500)
NIGHT = Window(opens="22:00", closes="06:00")


def setting(limits: Limits, by: UUID | None = None) -> SetLimits:
    return SetLimits(by=by, username="me", limits=limits)


@pytest.mark.parametrize("by", [None, ADMIN], ids=["operator", "admin"])
def test_the_operator_and_admins_set_limits(by: User | None):
    decided = domain.set_limits(setting(SOME, by and by.user_id), ME, Limits(), by, AT)

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
    [("0", None), ("many", None), ("-1", None), (None, ["25:00-06:00"]), (None, ["22:00"]), (None, ["a-b"])],
)
def test_what_can_be_no_limit_is_refused(concurrent: str | None, windows: list[str] | None):
    with pytest.raises(BadWord):
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
