"""Cookies of a user's browser: what is kept of them, who gets them, and that nothing else ever sees a value."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest

from libs import bus as buses
from libs.bus import BusError
from libs.calls import Caller
from libs.supervisor import DataFolder
from proto import REGISTRY
from proto import job as p
from proto.auth import IssuedKey, IssueKey, ReadUser, RevokeKey, User
from proto.unrestrict_proxy import Cookie, ReadCookies
from tests.support.sure import sure
from tests.support.system import System, running

ORIGIN = "moz-extension://5c1f4d6e-0000-4000-8000-000000000000"


def cookie(name: str, value: str, domain: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "domain": domain, "secure": False, "httpOnly": True, **more}


async def synced(http, domain: str, *cookies: dict[str, Any]) -> dict[str, Any]:
    status, answer = await http.gdluxx("PUT", "/cookies", {"domain": domain, "cookies": cookies})
    assert status == 200, answer
    return dict(answer["data"])


@asynccontextmanager
async def worker(system: System) -> AsyncIterator[Caller]:
    """Somebody with a worker's rights on the bus."""
    folder = DataFolder(system.data)
    bus = await buses.open(sure(folder.endpoint()), user="worker", seed=folder.seed("worker"), patience=3)
    try:
        yield Caller(bus, REGISTRY, "worker")
    finally:
        await bus.close()


async def id_of(user) -> UUID:
    async with user.system.operator() as (_, caller):
        return (await caller.query(ReadUser(username=user.name), result=User)).user_id


async def names_for(user, *hosts: str) -> list[list[str]]:
    """Of the cookies that a worker gets for each host."""
    owner = await id_of(user)
    async with worker(user.system) as caller:
        return [
            sorted(one.name for one in await caller.query(ReadCookies(owner=owner, host=host), result=list[Cookie]))
            for host in hosts
        ]


def cookies_seen(site, path: str) -> set[str | None]:
    return {hit.cookie for hit in site.hits(path)}


def jar_of(system: System, job_id: str) -> Path:
    return system.data / "work" / job_id / "cookies-1.txt"


# ---- who gets them --------------------------------------------------------------------------------------------


async def test_cookies_of_a_sites_domain_are_in_the_request_for_a_gallery(user, site):
    value, page = uuid4().hex, f"http://don.test/@held-{uuid4().hex}"
    gate = page.rpartition("held-")[2]
    async with user.http() as http:
        await synced(http, "don.test", cookie("sid", value, ".don.test"))
        job_id = await http.submit(page)
        await site.reached(gate)
        await site.release(gate)
        await http.ended(job_id)

    media = [hit for hit in site.log if gate in hit.path]
    assert media
    assert {hit.cookie for hit in media} == {f"sid={value}"}


async def test_cookies_of_a_sites_domain_are_in_the_request_for_a_video(user, site):
    value, page = uuid4().hex, site.url("/watch/embed", "video.test", disposition=uuid4().hex)
    async with user.http() as http:
        await synced(http, "video.test", cookie("sid", value, ".video.test"))
        job = await http.ended(await http.submit(page))

    assert job["status"] == "Completed"
    assert f"sid={value}" in cookies_seen(site, page.removeprefix("http://video.test"))


async def test_a_file_that_is_closed_to_others_is_fetched_with_the_users_cookies(user, site):
    value = uuid4().hex
    async with user.http() as http:
        await synced(http, "files.test", cookie("sid", value, ".files.test"))
        job = await http.ended(
            await http.submit(site.file(1000, f"{uuid4().hex}.bin", "files.test", cookie=f"sid:{value}"))
        )

    assert job["status"] == "Completed"


async def test_a_foreign_users_cookies_are_in_no_request_of_mine(user, other, site):
    value, page = uuid4().hex, site.url("/watch/embed", "video.test", disposition=uuid4().hex)
    async with other.http() as theirs, user.http() as mine:
        await synced(theirs, "video.test", cookie("sid", value, ".video.test"))
        await theirs.ended(await theirs.submit(site.url("/watch/embed", "video.test", disposition=uuid4().hex)))
        job = await mine.ended(await mine.submit(page))

    assert job["status"] == "Completed"
    assert cookies_seen(site, page.removeprefix("http://video.test")) == {None}


async def test_a_domain_that_was_synced_again_has_its_new_cookies_alone(user):
    async with user.http() as http:
        await synced(http, "a.example", cookie("one", "1", ".a.example"), cookie("two", "2", ".a.example"))
        await synced(http, "b.example", cookie("kept", "1", ".b.example"))
        await synced(http, "A.EXAMPLE.", cookie("three", "3", ".a.example"))

    assert await names_for(user, "a.example", "b.example") == [["three"], ["kept"]]


async def test_cookies_serve_the_hosts_below_their_domain_and_never_the_reverse(user):
    async with user.http() as http:
        await synced(http, "example.com", cookie("above", "1", ".example.com"))
        await synced(http, "sub.example.com", cookie("below", "1", "sub.example.com", hostOnly=True))
        await synced(http, "10.1.2.3", cookie("address", "1", "10.1.2.3", hostOnly=True))

    hosts = ("example.com", "sub.example.com", "a.sub.example.com", "notexample.com", "com", "2.3", "10.1.2.3")
    assert await names_for(user, *hosts) == [["above"], ["above", "below"], ["above", "below"], [], [], [], ["address"]]


async def test_a_domains_own_cookie_serves_it_though_it_was_synced_on_a_host_below(user):
    async with user.http() as http:
        await synced(
            http,
            "www.example.com",
            cookie("everywhere", "1", ".example.com"),
            cookie("here", "1", "www.example.com", hostOnly=True),
            cookie("strange", "1", ".elsewhere.org"),
        )

    assert await names_for(user, "example.com", "img.example.com", "www.example.com", "elsewhere.org") == [
        ["everywhere"],
        ["everywhere"],
        ["everywhere", "here"],
        ["strange"],
    ]


async def test_what_has_expired_is_left_out(user):
    now = time.time()
    async with user.http() as http:
        answer = await synced(
            http,
            "example.com",
            cookie("old", "1", ".example.com", expirationDate=now - 1),
            cookie("good", "1", ".example.com", expirationDate=now + 1000.5),
            cookie("session", "1", ".example.com", session=True, expirationDate=now - 1),
        )

    [described] = answer["domains"]
    assert (described["cookieCount"], described["expiredCount"], described["earliestExpiry"]) == (3, 1, now + 1000.5)
    assert await names_for(user, "example.com") == [["good", "session"]]


async def test_what_was_deleted_is_given_to_nobody(user):
    async with user.http() as http:
        await synced(http, "a.example", cookie("one", "1", ".a.example"))
        await synced(http, "b.example", cookie("two", "1", ".b.example"))
        await http.gdluxx("DELETE", "/cookies?domain=a.example")
        one_left = await names_for(user, "a.example", "b.example")
        await http.gdluxx("DELETE", "/cookies")

    assert one_left == [[], ["two"]]
    assert await names_for(user, "a.example", "b.example") == [[], []]


async def test_not_even_the_operator_may_ask_for_cookies(user):
    owner = await id_of(user)
    async with user.system.operator() as (_, caller):
        with pytest.raises(BusError):
            await caller.command(ReadCookies(owner=owner, host="example.com"), result=list[Cookie], timeout=0.5)


async def test_cookies_belong_to_the_user_and_outlive_the_key(user):
    async with user.http() as http, user.system.operator() as (_, caller):
        first, _ = await caller.command(IssueKey(dialect="gdluxx", username=user.name), result=IssuedKey)
        user.keys["gdluxx"] = first.key
        await synced(http, "a.example", cookie("one", "1", ".a.example"))
        await caller.command(RevokeKey(owner=None, key_id=first.key_id))
        second, _ = await caller.command(IssueKey(dialect="gdluxx", username=user.name), result=IssuedKey)
        user.keys["gdluxx"] = second.key
        _, answer = await http.gdluxx("GET", "/cookies")

    assert [one["domain"] for one in answer["data"]["domains"]] == ["a.example"]


# ---- limits ---------------------------------------------------------------------------------------------------


async def refused(http, body: Any) -> tuple[int, str | None]:
    """(status, what it says about the origin)."""
    async with http.session.put(
        f"{http.url}/api/extension/cookies",
        data=io.BytesIO(json.dumps(body).encode()),
        headers={"Authorization": f"Bearer {http.user.keys['gdluxx']}", "Origin": ORIGIN},
    ) as answer:
        assert (await answer.json())["success"] is False
        return answer.status, answer.headers.get("Access-Control-Allow-Origin")


async def test_more_than_two_million_bytes_of_cookies_are_refused_and_what_was_there_stays(user):
    full = [cookie(f"c{n}", "v" * 8192, ".a.example") for n in range(200)]
    async with user.http() as http:
        await synced(http, "a.example", *full)
        too_much = await refused(http, {"domain": "b.example", "cookies": full[:60]})
        _, answer = await http.gdluxx("GET", "/cookies")
        await synced(http, "a.example", *full[:100])

    assert too_much == (413, ORIGIN)
    assert [(one["domain"], one["cookieCount"]) for one in answer["data"]["domains"]] == [("a.example", 200)]


async def test_a_five_hundred_and_first_domain_is_refused_and_a_known_one_is_not(user):
    async with user.http() as http:
        for first in range(0, 500, 50):
            await asyncio.gather(*(synced(http, f"d{n}.example") for n in range(first, first + 50)))
        too_many = await refused(http, {"domain": "one-more.example", "cookies": []})
        again = await synced(http, "d7.example", cookie("one", "1", "d7.example"))

    assert too_many == (413, ORIGIN)
    assert (again["domainCount"], again["cookieCount"]) == (500, 1)


async def test_two_that_are_synced_at_once_do_not_go_above_the_limit_together(user):
    half = [cookie(f"c{n}", "v" * 8192, ".a.example") for n in range(130)]
    bodies = [{"domain": f"{name}.example", "cookies": half} for name in ("a", "b")]
    async with user.http() as http:
        statuses = sorted(
            status for status, _ in await asyncio.gather(*(http.gdluxx("PUT", "/cookies", body) for body in bodies))
        )

    assert statuses == [200, 413]


async def test_a_body_that_is_too_large_is_refused_with_cors(user):
    body = {"domain": "a.example", "cookies": [cookie("a", "v" * 8192, ".a.example", extra="x" * 4_000_000)]}
    async with user.http() as http:
        assert await refused(http, body) == (413, ORIGIN)


GOOD = cookie("a", "b", "a.example")
BAD = {
    "a name": GOOD | {"name": "n" * 4097},
    "a value": GOOD | {"value": "v" * 8193},
    "a domain": GOOD | {"domain": "d" * 256},
    "no domain": GOOD | {"domain": ""},
    "a sameSite": GOOD | {"sameSite": "sometimes"},
    "an expiry": GOOD | {"expirationDate": -1},
    "an expiry that is no number": GOOD | {"expirationDate": "tomorrow"},
    "secure": {name: value for name, value in GOOD.items() if name != "secure"},
}


@pytest.mark.parametrize("what", BAD)
async def test_a_cookie_outside_the_limits_of_its_fields_is_refused(what: str, user):
    async with user.http() as http:
        assert await refused(http, {"domain": "a.example", "cookies": [GOOD, BAD[what]]}) == (400, ORIGIN)


async def test_two_hundred_and_one_cookies_of_a_domain_are_refused(user):
    async with user.http() as http:
        assert await refused(http, {"domain": "a.example", "cookies": [GOOD] * 201}) == (400, ORIGIN)


async def test_a_link_is_looked_at_with_the_cookies_of_who_asks_and_told_to_nobody_else(user, other, site):
    path = "/watch/og"
    before = len(site.hits(path))
    async with user.http() as http, other.http() as stranger:
        await synced(http, "video.test", cookie("sid", "mine", ".video.test"))
        statuses = [
            (await one.jobs("POST", "/metadata", {"url": site.url(path, "video.test")}))[0]
            for one in (http, http, stranger)
        ]
    asked = [hit.cookie for hit in site.hits(path)][before:]

    assert statuses == [200, 200, 200]
    assert set(asked[: len(asked) // 2]) == {"sid=mine"}
    assert set(asked[len(asked) // 2 :]) == {None}


# ---- where they are, and where not ----------------------------------------------------------------------------


async def gated(http, site) -> tuple[str, str]:
    """(job, gate) of a download that waits half way, on a host that cookies were synced for."""
    gate = uuid4().hex
    await synced(http, "files.test", cookie("sid", uuid4().hex, ".files.test"))
    job_id = await http.submit(site.file(1_000_000, f"{uuid4().hex}.bin", "files.test", gate=gate, gate_at=500_000))
    await site.reached(gate)
    return job_id, gate


async def test_the_file_of_cookies_is_ours_alone_and_goes_when_the_job_completes(user, system, site):
    async with user.http() as http:
        job_id, gate = await gated(http, site)
        jar = jar_of(system, job_id)
        mode, lines = jar.stat().st_mode & 0o777, jar.read_text().splitlines()
        await site.release(gate)
        job = await http.ended(job_id)

    assert mode == 0o600
    assert lines[0] == "# Netscape HTTP Cookie File"
    assert lines[1].split("\t")[:5] == [".files.test", "TRUE", "/", "FALSE", "4102444800"]
    assert job["status"] == "Completed"
    assert not jar.exists()


async def test_the_file_of_cookies_goes_when_the_job_is_paused(user, system, site):
    async with user.http() as http, system.operator() as (_, caller):
        job_id, _ = await gated(http, site)
        assert jar_of(system, job_id).exists()
        await caller.command(p.PauseJob(owner=None, job_id=UUID(job_id)))
        await gone(jar_of(system, job_id))

        assert jar_of(system, job_id).parent.exists()


async def test_the_file_of_cookies_goes_when_an_attempt_fails_and_there_will_be_another(user, system, site):
    async with user.http() as http:
        await synced(http, "files.test", cookie("sid", "1", ".files.test"))
        job_id = await http.submit(site.file(1000, f"{uuid4().hex}.bin", "files.test", fail=503))
        await http.until(job_id, lambda job: job["download_retries"] > 0)
        await gone(jar_of(system, job_id))


async def gone(path: Path) -> None:
    async with asyncio.timeout(60):
        while path.exists():
            await asyncio.sleep(0.02)  # a file has no signal for its end


async def test_what_a_killed_worker_left_is_swept_away(data: Path, site):
    with running(data, site.egress_allow) as system:
        user = await asyncio.to_thread(system.user)
        async with user.http() as http:
            job_id, _ = await gated(http, site)
            jar = jar_of(system, job_id)
            assert jar.exists()
            [one] = [child for child in system.children("services worker") if child.ppid() == system.process.pid]
            one.kill()
            await gone(jar)


async def test_no_value_is_in_any_file_command_line_or_environment_of_the_installation(
    tmp_path: Path, data: Path, site
):
    value = f"never-to-be-seen-{uuid4().hex}"
    page, gate = site.url("/watch/embed", "video.test"), uuid4().hex
    with running(data, site.egress_allow) as system:
        user = await asyncio.to_thread(system.user)
        async with user.http() as http:
            await synced(http, "video.test", cookie("sid", value, ".video.test"))
            await refused(http, {"domain": "video.test", "cookies": [cookie("sid", value, "")]})
            await http.ended(await http.submit(page))
            held = site.url("/watch/embed", "video.test", media=f"gate={gate}&gate_at=1000")
            job_id = await http.submit(held)
            await site.reached(gate)
            processes = psutil.Process(system.process.pid).children(recursive=True)
            said = [text for one in processes for text in (*one.cmdline(), *one.environ().values())]
            in_use = jar_of(system, job_id).exists()
            await site.release(gate)
            await http.ended(job_id)
            _, shown = await http.gdluxx("GET", "/cookies")
        system.stop()

    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert in_use
    assert value not in str(shown)
    assert not any(value in text for text in said)
    assert [path for path in kept if value.encode() in path.read_bytes()] == []
