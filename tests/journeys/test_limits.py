"""What one user may take, as the operator sets it and the user's programs meet it."""

from __future__ import annotations

import asyncio

import pytest

from libs.message import Refused
from proto.auth import Limits, ReadLimits, ReadUser, SetLimits, User
from tests.support.system import longshore


async def limit(user, *words: str) -> str:
    """What `longshore user limit` prints."""
    return await asyncio.to_thread(longshore, "user", "limit", user.name, *words, data=user.system.data)


async def test_the_operator_sets_and_sees_a_users_limits(user):
    await limit(user, "--concurrent", "3", "--bandwidth", "2M", "--window", "22:00-06:00", "--window", "12:00-13:00")
    shown = await limit(user, "--concurrent", "none", "--storage", "10G")

    assert shown.splitlines() == [
        "concurrent: none",
        "bandwidth: 2097152",
        "storage: 10737418240",
        "window: 22:00-06:00, 12:00-13:00",
    ]


async def test_a_user_who_is_no_admin_sets_nobodys_limits(user, system):
    async with system.operator() as (_, caller):
        known = await caller.query(ReadUser(username=user.name), result=User)
        with pytest.raises(Refused, match="only an admin"):
            await caller.command(SetLimits(by=known.user_id, username=user.name, limits=Limits(concurrent=1)))

        assert await caller.query(ReadLimits(username=user.name), result=Limits) == Limits()
