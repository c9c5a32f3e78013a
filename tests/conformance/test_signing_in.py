"""Signing in, many times at once and while the password changes."""

from __future__ import annotations

import asyncio

from libs.calls import Answer, Call
from libs.message import Meta, Refused, new_id
from proto.auth import BadCredentials, CreateUser, LogIn, SetPassword
from services.auth import handlers, tokens
from services.auth.tokens import AccessTokens, RefreshTokens

CALL = Call(meta=Meta(correlation=new_id()), command_id=None, actor="", deadline=0.0, body=b"")
KEY = "an installation's key of more than thirty-two characters"
PRIVATE, _ = tokens.new_signing_key()
OLD, NEW = "the old password", "the new password"
AT_ONCE = 12


class Door:
    """Of one user, on a database."""

    def __init__(self, pool, store) -> None:
        self.pool = pool
        self._store = store

    async def make(self) -> None:
        await handlers.create_user(CreateUser(username="ada", password=OLD), CALL, self.pool, self._store)

    async def try_(self, password: str) -> Answer | Refused:
        access, refreshing = AccessTokens("k", PRIVATE), RefreshTokens(KEY)
        command = LogIn(username="ada", password=password)
        try:
            return await handlers.log_in(command, CALL, self.pool, self._store, access, refreshing)
        except Refused as refused:
            return refused

    async def change(self) -> Answer:
        return await handlers.set_password(SetPassword(username="ada", password=NEW), CALL, self.pool, self._store)


async def door(installation) -> Door:
    one = Door(await installation.pool("auth"), await installation.store("auth"))
    await one.make()
    return one


async def until_waiting(pool, count: int) -> None:
    async with asyncio.timeout(60):
        while await pool.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted") < count:
            await asyncio.sleep(0.02)  # until so many wait for their turn


async def test_of_wrong_passwords_that_come_at_once_each_counts(installation):
    one = await door(installation)

    answers = await asyncio.gather(*(one.try_("a wrong one") for _ in range(AT_ONCE)))

    wrong = [answer for answer in answers if isinstance(answer, Refused) and isinstance(answer.refusal, BadCredentials)]
    assert await one.pool.fetchval("select failures from auth.lockouts where username = 'ada'") == len(wrong)
    assert 5 <= len(wrong) <= len(answers) == AT_ONCE


async def test_whoever_signs_in_while_the_password_changes_has_no_session_of_the_old_one(installation):
    """In either order: a session that was opened before is ended, and none is opened after."""
    one = await door(installation)
    gate = await installation.pool("auth", 1)
    for first, second in ((one.try_(OLD), one.change()), (one.change(), one.try_(OLD))):
        await one.pool.execute("update auth.users set password_hash = $1", tokens.hash_password(OLD))
        async with gate.acquire() as conn, conn.transaction():
            await conn.execute("select pg_advisory_xact_lock(hashtextextended('auth.user ada', 0))")
            earlier = asyncio.create_task(first)
            await until_waiting(one.pool, 1)
            later = asyncio.create_task(second)
            await until_waiting(one.pool, 2)
        await asyncio.gather(earlier, later)

    assert await one.pool.fetchval("select count(*) from auth.sessions where ended_at is null") == 0
    assert await one.pool.fetchval("select count(*) from auth.sessions") == 1


async def test_whoever_gets_a_new_password_is_not_locked_out_for_tries_at_the_old_one(installation):
    one = await door(installation)
    await asyncio.gather(*(one.try_("a wrong one") for _ in range(AT_ONCE)))
    await one.change()

    assert await one.pool.fetchval("select count(*) from auth.lockouts") == 0
