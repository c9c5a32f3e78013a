"""What is kept of a secret."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from libs.calls import Call
from libs.egress.policy import EgressPolicy
from libs.message import Meta, new_id
from libs.sealing import CannotOpen, Sealer
from proto.auth import CreateUser, IssuedKey, IssueKey
from proto.unrestrict_proxy import AddHostAccount, Cookie, PutCookies, ReadCookies
from services.auth import handlers as auth
from services.notifier import handlers as notifier
from services.unrestrict_proxy import adapters
from services.unrestrict_proxy import handlers as unrestrict
from services.unrestrict_proxy.pool import Pool
from services.unrestrict_proxy.pool import handlers as accounts
from tests.support.sure import being, sure

INSTALLATION = "an installation's key of more than thirty-two characters"
CALL = Call(meta=Meta(correlation=new_id()), command_id=None, actor="", deadline=0.0, body=b"")


async def everything(pool, schema: str) -> str:
    """Every row of every table as text; binary columns both in hex and as they are."""
    tables = await pool.fetch("select table_name from information_schema.tables where table_schema = $1", schema)
    text = ""
    for table in tables:
        for row in await pool.fetch(f"select * from {schema}.{table['table_name']}"):
            text += " ".join(one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in row.values())
    return text


async def test_a_host_accounts_secret_is_kept_sealed_and_opens_in_its_own_row_alone(installation):
    pool, store = await installation.pool("unrestrict_proxy"), await installation.store("unrestrict_proxy")
    sealer = Sealer(INSTALLATION, "host-account")
    account = AddHostAccount(account_id=new_id(), platform="rapidgator", username="me", secret="a secret of theirs")

    policy = EgressPolicy.parse("")
    async with Pool(pool, store, policy, INSTALLATION, (sure(adapters.find("rapidgator")),)) as hosts:
        await accounts.add_account(account, CALL, store, sealer, hosts, policy)

    sealed = await pool.fetchval("select sealed_secret from unrestrict_proxy.accounts")
    assert account.secret not in await everything(pool, "unrestrict_proxy")
    assert sealer.open(sealed, str(account.account_id)) == account.secret.encode()
    for stranger, place in (
        (sealer, str(new_id())),
        (Sealer(INSTALLATION, "webhook-secret"), str(account.account_id)),
        (Sealer(INSTALLATION + "!", "host-account"), str(account.account_id)),
    ):
        with pytest.raises(CannotOpen):
            stranger.open(sealed, place)


async def test_cookies_are_kept_sealed_and_opened_for_their_owner_alone(installation):
    pool, store = await installation.pool("unrestrict_proxy"), await installation.store("unrestrict_proxy")
    sealer, owner = Sealer(INSTALLATION, "cookies"), new_id()
    cookie = Cookie(name="the name of theirs", value="the value of theirs", domain=".site.test")

    await unrestrict.put_cookies(PutCookies(owner=owner, domain="site.test", cookies=(cookie,)), CALL, store, sealer)
    mine = await unrestrict.read_cookies(ReadCookies(owner=owner, host="site.test"), pool, sealer)
    foreign = await unrestrict.read_cookies(ReadCookies(owner=new_id(), host="site.test"), pool, sealer)
    other_key = Sealer(INSTALLATION + "!", "cookies")
    lost = await unrestrict.read_cookies(ReadCookies(owner=owner, host="site.test"), pool, other_key)

    kept = await everything(pool, "unrestrict_proxy")
    assert cookie.name not in kept
    assert cookie.value not in kept
    assert cookie.value not in repr(mine)
    assert (mine.result, foreign.result, lost.result) == ([cookie], [], [])


async def test_a_password_and_a_key_are_kept_as_hashes(installation):
    pool, store = await installation.pool("auth"), await installation.store("auth")
    user = CreateUser(username="me", password="a password of theirs")

    await auth.create_user(user, CALL, pool, store)
    issued = being(IssuedKey, (await auth.issue_key(IssueKey(dialect="jobs", username="me"), CALL, pool, store)).result)

    kept = await everything(pool, "auth")
    assert "$argon2id$" in kept
    assert user.password not in kept
    assert issued.key not in kept
    assert issued.key.removeprefix("sk_") not in kept


async def test_a_webhook_secret_is_kept_sealed_and_is_the_same_each_time(installation):
    pool = await installation.pool("notifier")
    sealer, owner = Sealer(INSTALLATION, "webhook-secret"), new_id()

    first = await notifier.secret_of(owner, pool, sealer)
    second = await notifier.secret_of(owner, pool, sealer)

    assert first == second
    assert first not in await everything(pool, "notifier")


FAILING = """
import structlog
from libs import telemetry

def fail(password: str) -> None:
    raise ValueError("a reason")

telemetry.setup("test")
try:
    fail("".join(["in", "-", "hand"]))
except ValueError:
    structlog.get_logger().exception("call.failed")
"""


async def test_the_log_of_a_failure_has_its_place_and_not_what_was_in_hand():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FAILING), cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()

    assert b'"name": "fail"' in said
    assert b"a reason" in said
    assert b"in-hand" not in said
