"""What every adapter of a file host promises, against a server that speaks its platform's protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import structlog

from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.adapters.contract import Credentials, HostError, Pending
from tests.site.hosts import SPEECHES, Answer, Broken, Fault, Hosts
from tests.support.adapters import SIZE, assert_nothing_secret, bench_of, fetched, refusal

METERED = [name for name, speech in SPEECHES.items() if speech.metered]
CHECKED = [name for name, speech in SPEECHES.items() if speech.checks]
ANYWHERE: tuple[Broken, ...] = ("html", "truncated", "list", "missing", "huge", "http_500", "redirect")
GENERIC: tuple[Broken, ...] = ("html", "http_500")
"""A generic host promises no protocol: a JSON body may be the file."""
CACHED_ONLY = {"premiumize", "torbox"}
"""They tell of what they have already, and of nothing else."""

FAULTS: Mapping[Fault, tuple[str, int]] = {
    "session_expired": ("account", 107),
    "wrong_login": ("account", 107),
    "frozen": ("account", 107),
    "not_premium": ("account", 107),
    "exhausted": ("account", 107),
    "slots": ("account", 107),
    "address_refused": ("account", 107),
    "maintenance": ("host", 105),
    "host_down": ("host", 105),
    "host_limit": ("account", 107),
    "unsupported": ("file", 101),
    "offline": ("file", 104),
    "banned": ("file", 102),
    "private": ("file", 103),
    "password": ("file", 103),
    "later": ("request", 105),
    "unknown": ("request", 106),
}
SAYABLE = [(name, fault) for name, speech in SPEECHES.items() for fault in FAULTS if fault in speech.faults]
SLOTS_OF_A_HOST = {("alldebrid", "slots"), ("debridlink", "slots")}
ACCOUNT_FLOODED = {"realdebrid", "alldebrid", "premiumize", "debridlink", "torbox", "linksnappy"}


def saying(fault: Fault) -> list[str]:
    return [name for name, speech in SPEECHES.items() if fault in speech.faults]


def test_every_platform_has_a_scripted_server() -> None:
    assert {one.platform for one in adapters.PLATFORMS} == set(SPEECHES)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_the_bytes_really_come_by_the_link(hosts: Hosts, platform: str) -> None:
    """What is behind a resolved link is the file, whole and in ranges."""
    async with bench_of(hosts, platform) as bench:
        file = bench.host.add_file("a file.bin", SIZE)
        link = await bench.link(file)
        body = await fetched(bench, link)
        async with bench.http.get(link.url, headers={**link.headers, "Range": "bytes=1000-1999"}) as answer:
            part = await answer.read()

    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert (answer.status, part) == (206, body[1000:2000])
    assert (link.name or file.name, link.size or SIZE) == (file.name, SIZE)
    assert link.url not in repr(link)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_an_account_tells_what_it_has(hosts: Hosts, platform: str) -> None:
    """Premium until when, and which domains; without premium it is not usable and says why."""
    async with bench_of(hosts, platform) as bench:
        state = await bench.state()
        domains = await bench.adapter.hosts(await bench.line())
        bench.account.premium = False
        poor = await bench.state()

    assert state.usable
    assert platform == "generic" or (state.premium_until is not None and state.premium_until > datetime.now(UTC))
    assert set(bench.adapter.domains) <= set(domains)
    assert domains
    assert platform == "generic" or (not poor.usable and poor.reason)


@pytest.mark.parametrize("platform", METERED)
async def test_what_is_left_of_the_traffic_is_told_in_bytes(hosts: Hosts, platform: str) -> None:
    """Of the whole account or by host; and what is told after a file was had is less by its size."""
    async with bench_of(hosts, platform) as bench:
        bench.account.traffic_left = 7 << 30
        before = await bench.state()
        await bench.link(bench.host.add_file("a.bin", 1 << 20))
        after = await bench.state()

    assert 7 << 30 in {before.traffic_left, *before.per_host.values()}
    assert (7 << 30) - (1 << 20) in {after.traffic_left, *after.per_host.values()}


@pytest.mark.parametrize("platform", CHECKED)
async def test_a_check_answers_in_the_order_of_what_was_asked(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        gone = bench.host.add_file("gone.bin", 5, state="offline")
        there = [bench.host.add_file(f"{number}.bin", SIZE + number) for number in range(3)]
        found = await bench.check(gone, *there)

    assert found[0].online == ("unknown" if platform in CACHED_ONLY else "offline")
    assert [one.online for one in found[1:]] == ["online"] * 3
    assert [(one.name, one.size) for one in found[1:]] == [(one.name, one.size) for one in there]


@pytest.mark.parametrize("platform", CHECKED)
async def test_a_whole_batch_is_one_call_as_far_as_the_platform_allows(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        batch = bench.adapter.caps.batch
        found = await bench.check(*[bench.host.add_file(f"{number}.bin", 9) for number in range(batch)])

    assert [one.online for one in found] == ["online"] * batch
    assert bench.host.count("check") == (0 if platform == "generic" else 1)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_an_answer_that_no_protocol_promises_is_an_error_of_the_host(hosts: Hosts, platform: str) -> None:
    """HTML, half a JSON, other types, missing fields, a redirect, too much: a HostError, and nothing secret in it."""
    async with bench_of(hosts, platform) as bench:
        file = bench.host.add_file("a.bin", SIZE)
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [lambda: bench.link(file)]
        calls += [bench.state] if platform != "generic" else []
        calls += [lambda: bench.check(file)] if platform in CHECKED else []
        for broken in GENERIC if platform == "generic" else ANYWHERE:
            for call in calls:
                bench.host.unscript()
                bench.host.script(broken, times=None)
                error = await refusal(call())
                assert (error.scope, error.status) in {("host", 105), ("request", 106)}, broken
                assert_nothing_secret(bench, error)


@pytest.mark.parametrize(("platform", "fault"), SAYABLE)
async def test_every_refusal_has_its_scope_and_status(hosts: Hosts, platform: str, fault: Fault) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.account.frozen = fault == "frozen"
        if fault != "frozen":
            bench.host.script(fault, on="resolve", times=None)
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

        assert (error.scope, error.status) == FAULTS[fault]
        assert error.exhausted == (fault == "exhausted")
        assert error.renew == (fault == "session_expired")
        assert error.narrow == (fault in {"host_down", "host_limit"} or (platform, fault) in SLOTS_OF_A_HOST)
        assert error.detail
        assert_nothing_secret(bench, error)


@pytest.mark.parametrize("platform", saying("flood"))
async def test_a_flood_says_when_to_come_again(hosts: Hosts, platform: str) -> None:
    """It is the account that waits where the account is counted, or else the platform."""
    async with bench_of(hosts, platform) as bench:
        bench.host.script("flood", on="resolve")
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert (error.scope, error.status) == ("account" if platform in ACCOUNT_FLOODED else "host", 105)
    assert error.retry_after


@pytest.mark.parametrize("platform", SPEECHES)
async def test_a_retry_after_header_is_obeyed(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.host.script(Answer(status=503, body=b"{", headers={"Retry-After": "77"}), on="resolve")
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert (error.scope, error.status, error.retry_after) == ("host", 105, 77)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_wrong_credentials_are_an_account_error_that_no_login_mends(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.account.secret = "another"
        error = await refusal(bench.state())

    assert (error.scope, error.status, error.renew) == ("account", 107, False)


@pytest.mark.parametrize("platform", saying("session_expired"))
async def test_an_expired_session_is_renewed_by_a_login(hosts: Hosts, platform: str) -> None:
    """Logins may be repeated: each gives a session of its own, and earlier ones stay good."""
    async with bench_of(hosts, platform) as bench:
        file = bench.named(bench.host.add_file("a.bin", SIZE))
        first, second = await bench.line(), await bench.line()
        await bench.adapter.resolve(first, file, None)
        bench.host.expire_sessions()
        errors = [
            await refusal(bench.adapter.resolve(second, file, None)),
            await refusal(bench.adapter.account(second)),
        ]
        third = await bench.line()
        await bench.adapter.resolve(third, file, None)

    assert [(one.scope, one.status, one.renew) for one in errors] == [("account", 107, True)] * 2
    assert bench.host.count("login") == 3
    assert not [
        token for token in (first.session.token, *first.session.cookies.values()) if token and token in repr(first)
    ]


@pytest.mark.parametrize("platform", saying("captcha"))
async def test_a_captcha_at_login_is_for_a_person(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.host.script("captcha", times=None)
        error = await refusal(bench.state())

    assert (error.scope, error.status, error.renew, bool(error.retry_after)) == ("account", 107, False, True)


@pytest.mark.parametrize("platform", saying("exhausted"))
async def test_used_up_traffic_is_told_from_a_dead_file(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        file, dead = bench.host.add_file("a.bin", SIZE), bench.host.add_file("b.bin", SIZE, state="offline")
        gone = await refusal(bench.link(dead))
        if bench.host.speech.metered:
            bench.account.traffic_left = 0
        else:
            bench.host.script("exhausted", on="resolve")
        used = await refusal(bench.link(file))

    assert (gone.scope, gone.status, gone.exhausted) == ("file", 104, False)
    assert (used.scope, used.status, used.exhausted) == ("account", 107, True)


@pytest.mark.parametrize("platform", saying("password"))
async def test_a_file_with_a_password_is_had_with_it_and_not_without(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        file = bench.host.add_file("a.bin", SIZE, password="open sesame")
        errors = [await refusal(bench.link(file)), await refusal(bench.link(file, "sesame seed"))]
        body = await fetched(bench, await bench.link(file, "open sesame"))

    assert [(one.scope, one.status) for one in errors] == [("file", 103)] * 2
    assert len(body) == SIZE


@pytest.mark.parametrize("platform", ["alldebrid", "torbox", "linksnappy"])
async def test_a_link_that_is_made_later_is_polled_until_it_is_there(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        file = bench.host.add_file("a.bin", SIZE, polls=3)
        line = await bench.line()
        got = await bench.adapter.resolve(line, bench.named(file), None)
        seen = []
        while isinstance(got, Pending):
            seen.append(got)
            got = await bench.adapter.poll(line, got)
        body = await fetched(bench, got)

    assert len(seen) == 4
    assert all(0 < one.after <= 60 for one in seen)
    assert (len(body), got.name, got.size or SIZE) == (SIZE, "a.bin", SIZE)
    assert not [one for one in seen if one.ticket in repr(one) and len(one.ticket) > 20]


@pytest.mark.parametrize("platform", sorted(set(SPEECHES) - {"alldebrid", "torbox", "linksnappy"}))
async def test_who_gives_links_at_once_has_nothing_to_poll(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        polled = bench.adapter.poll(await bench.line(), Pending(ticket="1"))
        error = await refusal(polled)

    assert (error.scope, error.status) == ("request", 106)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_an_unknown_refusal_is_kept_whole_but_for_the_secrets(hosts: Hosts, platform: str) -> None:
    """Also when the platform repeats them: the log has the answer, and nobody has the account from the log."""
    async with bench_of(hosts, platform) as bench:
        line = await bench.line()
        file = bench.named(bench.host.add_file("a.bin", SIZE))
        tokens = " ".join([bench.account.secret, *bench.host.sessions])
        body = f'{{"strange": "words", "you sent": "{tokens}", "link": "https://x.test/file?sig=abc", "token": "t0k"}}'
        answer = Answer(status=418, body=body.encode())
        bench.host.script(answer, on="resolve", times=None)
        with structlog.testing.capture_logs() as logs:
            error = await refusal(bench.adapter.resolve(line, file, None))

        assert (error.scope, error.status) == ("request", 106)
        assert "strange" in error.detail
        assert not [secret for secret in ("sig=abc", "t0k") if secret in error.detail]
        assert_nothing_secret(bench, error)
        assert not logs


@pytest.mark.parametrize("platform", saying("password"))
async def test_a_files_password_is_not_kept_with_a_refusal(hosts: Hosts, platform: str) -> None:
    async with bench_of(hosts, platform) as bench:
        answer = Answer(status=418, body=b'{"said": "no file opens with open sesame", "or with": "open+sesame"}')
        bench.host.script(answer, on="resolve", times=None)
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE), "open sesame"))

    assert "no file opens" in error.detail
    assert "sesame" not in error.detail


@pytest.mark.parametrize("platform", SPEECHES)
async def test_a_host_that_is_not_reached_says_nothing_of_the_account(hosts: Hosts, platform: str) -> None:
    """The error is the network's own, without the address's query, which may hold the password."""
    async with bench_of(hosts, platform) as bench:
        file = bench.host.add_file("a.bin", SIZE)
        bench.host.script("reset", times=None)
        for call in (bench.link(file), bench.state()):
            with pytest.raises((aiohttp.ClientError, TimeoutError)) as caught:
                await call
            assert_nothing_secret(bench, caught.value)


@pytest.mark.parametrize("platform", SPEECHES)
async def test_differently_spelled_links_of_a_file_are_one(hosts: Hosts, platform: str) -> None:
    """Alias domains, names below them and what follows the id do not matter; lookalikes are nobody's."""
    async with bench_of(hosts, platform) as bench:
        adapter = bench.adapter
        file = bench.host.add_file("a.bin", SIZE)
        aliases = [one for one in adapter.domains if one not in {"fboom.me", "fileboom.me", "tezfiles.com"}]
        spelled = [
            file.url.replace(f"//{adapter.domains[0]}", f"//{host}")
            for domain in aliases
            for host in (domain, f"www.{domain}", domain.upper(), f"{domain}.", f"u:p@{domain}")
        ]
        found = {adapter.match(url) for url in spelled}
        foreign = [file.url.replace(f"//{adapter.domains[0]}", f"//{one}.evil.test") for one in aliases]

    assert len(found) == min(1, len(aliases))
    assert {None if one is None else one.ref.platform for one in found} <= {platform}
    assert [adapter.match(url) for url in foreign] == [None] * len(foreign)
    assert adapter.domains or adapter.caps.multihost or platform == "generic"
    assert [adapter.match(url) for url in ("", "ftp://x.test/a", "https://[::bad", "x" * 5000)] == [None] * 4


@pytest.mark.parametrize("platform", sorted(set(SPEECHES) - {"generic"}))
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "//x.test/a", "http://", "https://x\n.test/"]
)
async def test_a_link_that_is_none_of_the_web_is_not_given_on(hosts: Hosts, platform: str, url: str) -> None:
    async with bench_of(hosts, platform) as bench:
        file = bench.host.add_file("a.bin", SIZE)
        bench.host.next_link = url
        error = await refusal(bench.link(file))

    assert (error.scope, error.status, error.code) == ("request", 106, "bad_link")


def test_no_secret_is_in_the_repr_of_credentials() -> None:
    assert "hidden" not in repr(Credentials(username="me", secret="hidden", base_url="http://hidden.test"))


async def test_a_host_error_is_not_mistaken_for_another_exception() -> None:
    assert not issubclass(HostError, (OSError, ValueError, aiohttp.ClientError))
