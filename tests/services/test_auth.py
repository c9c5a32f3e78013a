"""Signing in, keys, and what becomes of secrets."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import jwt
import psutil
import pytest

from libs.bus import Stream, follow
from libs.message import Refused
from proto.auth import IssuedKey, IssueKey, ReadPublicKeys, RevokeKey, SetPassword
from tests.support.system import PASSWORD, longshore


async def login(http, name: str, password: str):
    return await http.call("POST", "/api/v1/auth/login", {"username": name, "password": password})


async def until_status(http, wanted: int, method: str, path: str, **headers: str) -> None:
    """What auth takes back is heard by the gateway a moment later."""
    async with asyncio.timeout(60):
        while (await http.call(method, path, **headers))[0] != wanted:
            await asyncio.sleep(0.01)  # the interval of a polling client


async def test_a_revoked_key_is_refused_at_once_though_it_was_just_used(user, system):
    async with system.operator() as (_, caller), user.http() as http:
        issued, _ = await caller.command(IssueKey(dialect="jobs", username=user.name), result=IssuedKey)
        before, _ = await http.call("GET", "/jobs", x_api_key=issued.key)
        await caller.command(RevokeKey(owner=None, key_id=issued.key_id))
        await until_status(http, 401, "GET", "/jobs", x_api_key=issued.key)
        other, _ = await http.jobs("GET", "/jobs")

    assert (before, other) == (200, 200)


async def test_the_operator_lists_and_revokes_keys_and_never_sees_them_again(user):
    async with user.http() as http:
        listed = await asyncio.to_thread(longshore, "key", "list", "--user", user.name, data=user.system.data)
        key_id = next(line.split()[0] for line in listed.splitlines() if " jobs " in line)
        await asyncio.to_thread(longshore, "key", "revoke", key_id, data=user.system.data)
        await until_status(http, 401, "GET", "/jobs", x_api_key=user.keys["jobs"])
        left = await asyncio.to_thread(longshore, "key", "list", "--user", user.name, data=user.system.data)

    assert not any(key in listed for key in user.keys.values())
    assert key_id not in left
    assert "gdluxx" in left


async def test_too_many_wrong_passwords_lock_even_the_right_one_out_for_a_while(user):
    async with user.http() as http:
        wrong = [(await login(http, user.name, "not the one"))[0] for _ in range(5)]
        async with http.session.post(
            f"{http.url}/api/v1/auth/login", json={"username": user.name, "password": PASSWORD}
        ) as answer:
            locked, retry_after = answer.status, answer.headers.get("Retry-After")

    assert wrong == [401] * 5
    assert locked == 429
    assert 1 <= int(retry_after) <= 6


@pytest.mark.parametrize("name", ["nobody-at-all", "", "a\0b", "x" * 70_000, "../admin", "\N{SNOWMAN}"])
async def test_a_name_that_is_not_there_is_answered_as_a_wrong_password(user, name: str):
    """Also one that nobody can have."""
    async with user.http() as http:
        status, nobody = await login(http, name, PASSWORD)
        _, wrong = await login(http, user.name, "not the one")

    assert status == 401
    assert nobody["detail"] == wrong["detail"]


async def test_an_access_token_is_signed_with_eddsa_by_a_key_that_only_auth_has(user, system):
    async with system.operator() as (_, caller), user.http() as http:
        token = await http.token()
        public = await caller.query(ReadPublicKeys(), result=dict[str, str])
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, public[header["kid"]], algorithms=["EdDSA"], issuer="longshore")
        unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": header["kid"]})
        confused = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": header["kid"]})
        refused = [
            (await http.call("GET", "/api/v1/auth/me", authorization=f"Bearer {one}"))[0]
            for one in (unsigned, confused, token[:-4] + "AAAA", "nonsense")
        ]

    assert (header["alg"], claims["name"], claims["exp"] - claims["iat"]) == ("EdDSA", user.name, 900)
    assert refused == [401] * 4


async def test_a_new_password_ends_the_sessions_that_the_old_one_opened(user, system):
    async with system.operator() as (_, caller), user.http() as http:
        token = await http.token()
        await caller.command(SetPassword(username=user.name, password="another password"))
        await until_status(http, 401, "GET", "/api/v1/auth/me", authorization=f"Bearer {token}")
        old, _ = await login(http, user.name, PASSWORD)
        new, _ = await login(http, user.name, "another password")

    assert (old, new) == (401, 200)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa"])
async def test_a_weak_password_is_refused_with_what_it_needs(user, system, password: str):
    async with system.operator() as (_, caller):
        with pytest.raises(Refused, match="at least 8 characters, not all the same"):
            await caller.command(SetPassword(username=user.name, password=password))


async def test_no_secret_is_in_an_event_a_log_a_command_line_or_a_childs_environment(user, system, site):
    """Of a whole day in short: signing in, refreshing, keys, a job with a link that names a password."""
    async with system.operator() as (bus, _), user.http() as http:
        _, session = await login(http, user.name, PASSWORD)
        await login(http, user.name, wrong := f"wrong-{uuid4().hex}")
        await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]})
        async with http.socket():
            await http.ended(await http.submit(site.file(1000, f"{uuid4().hex}.bin")))
        events = b""
        for stream in ("EV_AUTH", "EV_JOB", "EV_STORAGE", "EV_NOTIFIER"):
            end = await Stream(bus, stream).last_sequence()
            if end:
                async with asyncio.timeout(30), follow(bus, stream) as batches:
                    async for batch in batches:
                        events += b"".join(one.body + repr(one.headers).encode() for one in batch)
                        if batch[-1].sequence >= end:
                            break
    logs = "".join(path.read_text(errors="replace") for path in (system.data / "run").glob("*.log")) + system.log()
    family = [psutil.Process(system.process.pid), *psutil.Process(system.process.pid).children(recursive=True)]
    lines = " ".join(" ".join(one.cmdline()) for one in family)
    inherited = " ".join(" ".join(one.environ().values()) for one in family[1:])
    made = json.loads((system.data / "secrets.json").read_text())
    of_databases = [made["postgres_password"], *made["service_passwords"].values()]
    tokens = [session["access_token"], session["refresh_token"]]
    secrets = [PASSWORD, wrong, made["secret_key"], *of_databases, *tokens, *user.keys.values()]

    assert len(events) > 1000
    assert all(len(secret) > 12 for secret in secrets)
    for place in (events.decode(errors="replace"), logs, lines, inherited):
        assert [secret for secret in secrets if secret in place] == []
