"""What the extension keeps here of its settings: whose it is, what is kept of it, and how much."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from proto.auth import IssuedKey, IssueKey, RevokeKey
from tests.support.system import running

KINDS = ("profiles", "subs", "extraction")
ORIGIN = "chrome-extension://cbhdooiekcodjfckmgemblgikbdipgmc"
RULE = {"id": "r", "pattern": "a", "replacement": "b", "flags": "g", "enabled": True, "order": 0}


def profile(key: str, host: str = "a.example", **more: Any) -> dict[str, Any]:
    """One that is complete for every kind."""
    return {
        "id": key,
        "scope": "host",
        "host": host,
        "createdAt": 1,
        "updatedAt": 2,
        "startSelector": "#a",
        "endSelector": "",
        "applyToPreview": True,
        "autoApply": True,
        "extraction": {"mode": "range", "startSelector": "#a", "endSelector": ""},
        "rules": [RULE],
        **more,
    }


def bundle(*profiles: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"bundle": {"version": 1, "profiles": {one["id"]: one for one in profiles}, **more}}


async def put(http, kind: str, body: Any) -> dict[str, Any]:
    status, answer = await http.gdluxx("PUT", f"/{kind}", body)
    assert status == 200, answer
    return dict(answer["data"])


async def get(http, kind: str) -> dict[str, Any]:
    status, answer = await http.gdluxx("GET", f"/{kind}")
    assert status == 200, answer
    return dict(answer["data"])


async def sent(http, kind: str, body: str) -> tuple[int, str, str | None]:
    """(status, error, what it says about the origin)."""
    async with http.session.put(
        f"{http.url}/api/extension/{kind}",
        data=io.BytesIO(body.encode()),
        headers={"Authorization": f"Bearer {http.user.keys['gdluxx']}", "Origin": ORIGIN},
    ) as answer:
        return answer.status, (await answer.json())["error"], answer.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backup_comes_back_as_it_went_in_and_until_it_is_deleted(kind: str, user):
    body = bundle(profile("one", new={"deep": [1, None]}), profile("two", "b.example"), madeBy="tomorrow")
    async with user.http() as http:
        before = await get(http, kind)
        written = await put(http, kind, body)
        read = await get(http, kind)
        deleted = (await http.gdluxx("DELETE", f"/{kind}"))[1]["data"]
        after = await get(http, kind)

    empty = {
        "hasBackup": False,
        "bundle": {"version": 1, "profiles": {}},
        "profileCount": 0,
        "syncedBy": None,
        "updatedAt": None,
    }
    assert (before, after, deleted) == (empty, empty, {"deleted": True})
    assert (read["bundle"], read["profileCount"]) == (body["bundle"], 2)
    assert written == read | {
        "skipped": {"count": 0, "profiles": []},
        "tolerated": {"count": 0, "profiles": []},
    }


async def test_the_three_kinds_are_apart(user):
    async with user.http() as http:
        for kind in KINDS:
            await put(http, kind, bundle(profile(kind)))
        await http.gdluxx("DELETE", "/subs")
        left = [list((await get(http, kind))["bundle"]["profiles"]) for kind in KINDS]

    assert left == [["profiles"], [], ["extraction"]]


async def test_a_backup_belongs_to_the_user_and_outlives_the_key(user, system):
    async with user.http() as http, system.operator() as (_, caller):
        first, _ = await caller.command(IssueKey(dialect="gdluxx", username=user.name), result=IssuedKey)
        user.keys["gdluxx"] = first.key
        await put(http, "profiles", bundle(profile("one")))
        await caller.command(RevokeKey(owner=None, key_id=first.key_id))
        second, _ = await caller.command(IssueKey(dialect="gdluxx", username=user.name), result=IssuedKey)
        user.keys["gdluxx"] = second.key
        found = await get(http, "profiles")

    assert list(found["bundle"]["profiles"]) == ["one"]


async def test_nobody_sees_or_deletes_the_backup_of_another(user, other):
    async with user.http() as mine, other.http() as theirs:
        await put(mine, "profiles", bundle(profile("one")))
        seen = await get(theirs, "profiles")
        _, deleted = await theirs.gdluxx("DELETE", "/profiles")
        kept = await get(mine, "profiles")

    assert (seen["hasBackup"], deleted["data"]["deleted"], kept["profileCount"]) == (False, False, 1)


async def test_a_backup_is_there_after_a_kill(data: Path):
    with running(data, "") as system:
        user = await asyncio.to_thread(system.user)
        async with user.http() as http:
            await put(http, "subs", bundle(profile("one")))
            for one in system.children("postgres"):
                if one.is_running():
                    one.kill()
        system.process.kill()
        system.process.wait(20)
    with running(data, "") as again:
        user.system = again
        async with user.http() as http:
            found = await get(http, "subs")

    assert list(found["bundle"]["profiles"]) == ["one"]


async def test_what_is_not_looked_at_is_kept_byte_for_byte(user):
    odd = '{"id":"one","scope":"host","host":"a.example","n":1.10,"big":12345678901234567890123,"u":"\\u00e9","e":1E5}'
    async with user.http() as http:
        await http.gdluxx("PUT", "/profiles", '{"bundle":{"version":1,"x": 2.50,"profiles":{"one":' + odd + "}}}")
        async with http.session.get(
            f"{http.url}/api/extension/profiles", headers={"Authorization": f"Bearer {user.keys['gdluxx']}"}
        ) as answer:
            text = await answer.text()

    assert odd in text
    assert '"x":2.50' in text


async def test_a_profile_without_a_frame_is_skipped_and_one_of_another_shape_is_kept_and_named(user):
    frameless = {
        "no host": profile("no host", ""),
        "no path": profile("no path", scope="path"),
        "no origin": profile("no origin", scope="origin"),
        "a scope": profile("a scope", scope="universe"),
        "no object": 5,
    }
    strange = {
        "a mode": profile("a mode", extraction={"mode": "auto"}),
        "rules": profile("rules", rules=[RULE] * 501),
        "flags": profile("flags", rules=[RULE | {"flags": "x"}]),
        "a tuple": profile("a tuple", gallery={"thumbSizes": [1, 2, 3, 4]}),
    }
    good = {"nulls": profile("nulls", directorySource=None, accumulate=None), "__proto__": profile("__proto__")}
    async with user.http() as http:
        answer = await put(http, "extraction", {"bundle": {"version": 1, "profiles": frameless | strange | good}})

    assert answer["bundle"]["profiles"] == strange | {"nulls": good["nulls"]}
    assert {one["id"] for one in answer["skipped"]["profiles"]} == {*frameless, "__proto__"}
    assert {one["id"] for one in answer["tolerated"]["profiles"]} == set(strange)
    assert all(one["reason"] for part in ("skipped", "tolerated") for one in answer[part]["profiles"])


async def test_fifty_rules_are_what_a_substitution_is_known_to_have(user):
    async with user.http() as http:
        profiles = [profile("fifty", rules=[RULE] * 50), profile("more", rules=[RULE] * 51)]
        answer = await put(http, "subs", bundle(*profiles))

    assert (answer["profileCount"], [one["id"] for one in answer["tolerated"]["profiles"]]) == (2, ["more"])


async def test_all_that_was_skipped_is_counted_and_twenty_are_named(user):
    async with user.http() as http:
        answer = await put(http, "profiles", bundle(*(profile(f"p{n}", "") for n in range(30))))

    assert (answer["skipped"]["count"], len(answer["skipped"]["profiles"])) == (30, 20)


WRONG = {
    "no JSON": ("{", "Invalid JSON payload."),
    "a list": ("[]", "payload: Expected `object`, got `array`"),
    "no bundle": ("{}", "payload: Object missing required field `bundle`"),
    "profiles that are a list": (
        '{"bundle": {"version": 1, "profiles": []}}',
        "bundle.profiles: Expected `object`, got `array`",
    ),
    "a nameless client": (
        '{"bundle": {"version": 1, "profiles": {}}, "syncedBy": " "}',
        "syncedBy: must have 1 to 200 characters",
    ),
    "brackets without end": ('{"bundle": {"version": 1, "profiles": {"one": ' + "[" * 100_000, "Invalid JSON payload."),
    "fifty-one of one host": (
        json.dumps(bundle(*(profile(f"p{n}") for n in range(51)))),
        'Host "a.example" has 51 profiles; max allowed is 50.',
    ),
    "ten thousand and one": (
        json.dumps(
            {
                "bundle": {
                    "version": 1,
                    "profiles": {
                        f"p{n}": {"id": "p", "scope": "host", "host": f"h{n % 300}.example"} for n in range(10_001)
                    },
                }
            }
        ),
        "Bundle exceeds maximum of 10000 profiles (10001).",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_no_backup_is_refused_with_cors_and_what_was_there_stays(what: str, user):
    body, error = WRONG[what]
    async with user.http() as http:
        await put(http, "profiles", bundle(profile("one")))
        answer = await sent(http, "profiles", body)
        kept = await get(http, "profiles")

    assert answer == (400, error, ORIGIN)
    assert kept["profileCount"] == 1


async def test_five_mebibytes_are_kept_and_more_are_refused(user):
    room = 5 * 1024 * 1024 - len(json.dumps(bundle(profile("one", blob=""))["bundle"], separators=(",", ":")))

    def of(size: int) -> str:
        return json.dumps(bundle(profile("one", blob="x" * size)), separators=(",", ":"))

    async with user.http() as http:
        await put(http, "profiles", of(room))
        larger = await sent(http, "profiles", of(room + 1))
        much_larger = await sent(http, "profiles", of(2 * room))

    assert larger == (400, "Bundle payload is 5242881 bytes; max allowed is 5242880 bytes.", ORIGIN)
    assert much_larger == (413, "Request body is too large", ORIGIN)
