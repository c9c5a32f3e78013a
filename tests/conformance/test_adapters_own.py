"""What is one platform's own: where its protocol says two things with one word, or one thing in two ways."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
import pytest
from msgspec.structs import replace

from services.unrestrict_proxy import adapters
from services.unrestrict_proxy.adapters.contract import Credentials, HostError, HostFile, Pending
from services.unrestrict_proxy.adapters.tokens import one_time_code
from services.unrestrict_proxy.adapters.verdicts import (
    ACCOUNT_FLOOD,
    ADDRESS,
    CAPTCHA,
    EXHAUSTED,
    FLOOD,
    HOST_DOWN,
    HOST_LIMIT,
    HOST_SLOTS,
    LATER,
    LOCKED,
    NOT_PREMIUM,
    OFFLINE,
    PASSWORD,
    PRIVATE,
    SESSION_OVER,
    SLOTS,
    WRONG_LOGIN,
)  # fmt: skip
from tests.site.hosts import Answer, Hosts
from tests.support.adapters import SIZE, assert_nothing_secret, bench_of, fetched, refusal
from tests.support.sure import being


async def test_keep2share_says_21_of_dead_files_and_of_used_up_accounts(hosts: Hosts) -> None:
    """The account and the file are asked again before a file is called dead, which would be final."""
    async with bench_of(hosts, "keep2share") as bench:
        file = bench.host.add_file("a.bin", SIZE)
        dead = await refusal(bench.link(bench.host.add_file("b.bin", SIZE, state="offline")))
        bench.account.traffic_left = SIZE - 1
        short = await refusal(bench.link(file))
        bench.account.traffic_left = 0
        used = await refusal(bench.link(file))
        state = await bench.state()

    assert (dead.scope, dead.status, dead.code) == ("file", 104, "21")
    assert [(one.scope, one.status, one.exhausted) for one in (short, used)] == [("account", 107, True)] * 2
    assert used.retry_after is not None
    assert 0 < used.retry_after <= 86400
    assert state.reset_at is not None


async def test_keep2share_takes_a_permanent_token_instead_of_a_login(hosts: Hosts) -> None:
    async with bench_of(hosts, "keep2share") as bench:
        bench.credentials = Credentials(secret=bench.account.secret, base_url=bench.host.base_url)
        body = await fetched(bench, await bench.link(bench.host.add_file("a.bin", SIZE)))
        bench.account.secret = "another"
        error = await refusal(bench.state())

    assert len(body) == SIZE
    assert (error.scope, error.status, error.renew) == ("account", 107, False)
    assert bench.host.count("login") == 0


def test_files_of_keep2shares_sisters_are_not_taken_for_its_own() -> None:
    """The same id at a sister may be another file."""
    refs = [
        adapters.classify(f"https://{domain}/file/0123456789abc/name")
        for domain in ("k2s.cc", "keep2share.cc", "fboom.me", "fileboom.me", "tezfiles.com")
    ]

    assert [None if one is None else one.file_ref for one in refs] == [
        "0123456789abc",
        "0123456789abc",
        "fboom.me/0123456789abc",
        "fboom.me/0123456789abc",
        "tezfiles.com/0123456789abc",
    ]


async def test_keep2share_says_how_long_to_wait(hosts: Hosts) -> None:
    async with bench_of(hosts, "keep2share") as bench:
        bench.host.script("slots", on="resolve")
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert error.retry_after == 120.5


async def test_1fichier_calls_a_files_owner_and_an_accounts_owner_locked_alike(hosts: Hosts) -> None:
    locked = Answer(status=403, body=b'{"status": "KO", "message": "Owner locked"}')
    async with bench_of(hosts, "1fichier") as bench:
        file = bench.host.add_file("a.bin", SIZE)
        bench.host.script(locked, on="resolve")
        of_file = await refusal(bench.link(file))
        bench.host.script(locked, on="resolve")
        bench.host.script(locked, on="account")
        of_account = await refusal(bench.link(file))

    assert [(one.scope, one.status) for one in (of_file, of_account)] == [("file", 102), ("account", 107)]


def test_1fichier_has_links_with_the_id_as_a_name_below_the_domain() -> None:
    new = adapters.classify("https://www.1fichier.com/?abcdef12345&af=7")

    assert new is not None
    assert adapters.classify("http://abcdef12345.dfichiers.com/") == new
    assert adapters.classify("https://abcdef12345.1fichier.com") == new
    assert adapters.classify("https://1fichier.com/console/") is None
    assert adapters.classify("https://www.1fichier.com/") is None


async def test_nitroflare_gives_a_guests_answer_to_who_has_no_premium(hosts: Hosts) -> None:
    async with bench_of(hosts, "nitroflare", premium=False) as bench:
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert (error.scope, error.status) == ("account", 107)


async def test_realdebrid_denies_permission_for_a_password_and_for_an_account(hosts: Hosts) -> None:
    """Code 9: the account is asked before it is put aside for what is the file's."""
    async with bench_of(hosts, "realdebrid") as bench:
        file = bench.host.add_file("a.bin", SIZE, password="open")
        of_file = await refusal(bench.link(file, "wrong"))
        bench.account.premium = False
        bench.host.script("password", on="resolve")
        of_account = await refusal(bench.link(file, "open"))

    assert [(one.scope, one.status) for one in (of_file, of_account)] == [("file", 103), ("account", 107)]


@pytest.mark.parametrize(
    ("code", "scope", "status"),
    [(-1, "request", 106), (5, "account", 105), (19, "host", 105), (24, "file", 104), (36, "account", 107)],
)
async def test_realdebrids_numbers(hosts: Hosts, code: int, scope: str, status: int) -> None:
    async with bench_of(hosts, "realdebrid") as bench:
        body = msgspec.json.encode({"error": "words", "error_code": code})
        bench.host.script(Answer(status=403, body=body), on="resolve")
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert (error.scope, error.status, error.code) == (scope, status, str(code))


async def test_realdebrid_counts_some_hosts_in_links_and_not_in_bytes(hosts: Hosts) -> None:
    async with bench_of(hosts, "realdebrid") as bench:
        state = await bench.state()

    assert set(state.per_host) == {"rapidgator.net"}
    assert state.traffic_left is None


async def test_alldebrid_tells_that_a_file_has_a_password(hosts: Hosts) -> None:
    async with bench_of(hosts, "alldebrid") as bench:
        (found,) = await bench.check(bench.host.add_file("a.bin", SIZE, password="open"))

    assert found.password_needed


async def test_alldebrid_may_fail_to_make_a_link_that_it_promised(hosts: Hosts) -> None:
    async with bench_of(hosts, "alldebrid") as bench:
        file = bench.host.add_file("a.bin", SIZE, polls=2)
        line = await bench.line()
        pending = await bench.adapter.resolve(line, bench.named(file), None)
        file.state = "offline"
        error = await refusal(bench.adapter.poll(line, being(Pending, pending)))

    assert (error.scope, error.status) == ("request", 105)


async def test_torbox_may_fail_to_fetch_what_it_promised(hosts: Hosts) -> None:
    async with bench_of(hosts, "torbox") as bench:
        file = bench.host.add_file("a.bin", SIZE, polls=2)
        line = await bench.line()
        pending = await bench.adapter.resolve(line, bench.named(file), None)
        file.state = "offline"
        error = await refusal(bench.adapter.poll(line, being(Pending, pending)))

    assert (error.scope, error.status) == ("request", 105)


async def test_torbox_that_must_cool_down_says_that_a_server_failed(hosts: Hosts) -> None:
    """The account is asked, since it is the account that has to wait."""
    failed = Answer(status=400, body=b'{"success": false, "error": "DOWNLOAD_SERVER_ERROR", "detail": "Failed."}')
    cooling = b'{"success": true, "data": {"plan": 2, "cooldown_until": "2999-01-01T00:00:00Z"}}'
    async with bench_of(hosts, "torbox") as bench:
        file = bench.host.add_file("a.bin", SIZE)
        bench.host.script(failed, on="resolve", times=2)
        server = await refusal(bench.link(file))
        bench.host.script(Answer(body=cooling), on="account")
        account = await refusal(bench.link(file))

    assert (server.scope, server.status) == ("request", 105)
    assert (account.scope, account.status, account.exhausted) == ("account", 107, True)
    assert account.retry_after is not None


async def test_a_link_of_torbox_with_the_accounts_key_in_it_is_not_given_on(hosts: Hosts) -> None:
    async with bench_of(hosts, "torbox") as bench:
        bench.host.next_link = f"https://cdn.test/a.bin?token={bench.account.secret}"
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert error.status == 106
    assert bench.account.secret not in str(vars(error))


async def test_debridlink_tells_limits_by_host_and_links_of_folders_as_a_list(hosts: Hosts) -> None:
    async with bench_of(hosts, "debridlink", traffic_left=1 << 30) as bench:
        state = await bench.state()
        body = b'{"success": true, "value": [{"downloadUrl": "https://cdn.test/a"}, {"downloadUrl": "https://cdn.test/b"}]}'
        bench.host.script(Answer(body=body), on="resolve")
        link = await bench.link(bench.host.add_file("a.bin", SIZE))

    assert state.per_host == {"rapidgator.net": 1 << 30, "rg.to": 1 << 30}
    assert state.reset_at is not None
    assert link.url == "https://cdn.test/a"


async def test_keep2share_may_say_with_21_itself_that_it_is_the_traffic(hosts: Hosts) -> None:
    body = (
        b'{"status": "error", "code": 406, "errorCode": 21, "errors": [{"code": 2, "message": "Traffic limit exceed"}]}'
    )
    async with bench_of(hosts, "keep2share") as bench:
        bench.host.script(Answer(status=406, body=body), on="resolve")
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert (error.scope, error.status, error.exhausted) == ("account", 107, True)
    assert bench.host.count("account") == 0


@pytest.mark.parametrize("platform", ["rapidgator", "keep2share", "linksnappy"])
async def test_a_refused_login_is_never_mended_by_another_login(hosts: Hosts, platform: str) -> None:
    """Whatever words it was refused with: who sends wrong passwords again and again is locked out."""
    async with bench_of(hosts, platform) as bench:
        bench.host.script("session_expired", on="login")
        error = await refusal(bench.line())

    assert (error.scope, error.status, error.renew) == ("account", 107, False)


async def test_rapidgators_passwords_and_tokens_are_in_no_address(hosts: Hosts) -> None:
    async with bench_of(hosts, "rapidgator", secret="plainsecret") as bench:
        await bench.link(bench.host.add_file("a.bin", SIZE))
        asked = [hit.path for hit in hosts.site.log if hit.path.startswith(bench.host.base_url.partition("/hosts")[1])]
        tokens = [bench.account.secret, *bench.host.sessions]

    assert asked
    assert not [path for path in asked for token in tokens if token in unquote(path)]


async def test_premiumize_without_fair_use_left_has_no_traffic(hosts: Hosts) -> None:
    async with bench_of(hosts, "premiumize") as bench:
        unknown = await bench.state()
        bench.account.traffic_left = 0
        gone = await bench.state()

    assert (unknown.traffic_left, gone.traffic_left) == (None, 0)


async def test_linksnappys_unlimited_traffic_is_unknown_and_its_lifetime_has_no_end(hosts: Hosts) -> None:
    body = b'{"status": "OK", "error": false, "return": {"expire": "lifetime", "trafficleft": "unlimited"}}'
    async with bench_of(hosts, "linksnappy") as bench:
        bench.host.script(Answer(body=body), on="account")
        state = await bench.state()

    assert (state.usable, state.premium_until, state.traffic_left) == (True, None, None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'"expire": "2000000000", "trafficleft": "2048", "maxtraffic": "4096"', (True, 2 << 20, 4 << 20)),
        (b'"expire": 2000000000, "trafficleft": "0"', (True, 0, None)),
        (b'"expire": 2000000000, "trafficleft": -7', (True, 0, None)),
        (b'"expire": 2000000000, "trafficleft": "-7"', (True, 0, None)),
        (b'"expire": "1500000000", "trafficleft": 2048', (False, 2 << 20, None)),
        (b'"expire": 1500000000, "trafficleft": 2048', (False, 2 << 20, None)),
        (b'"expire": "expired", "trafficleft": null', (False, None, None)),
    ],
)
async def test_linksnappys_numbers_may_be_text_less_than_nothing_or_of_the_past(
    hosts: Hosts, said: bytes, expected: tuple[bool, int | None, int | None]
) -> None:
    async with bench_of(hosts, "linksnappy") as bench:
        bench.host.script(Answer(body=b'{"status": "OK", "error": false, "return": {%b}}' % said), on="account")
        state = await bench.state()

    assert (state.usable, state.traffic_left, state.traffic_total) == expected


async def test_linksnappy_may_write_that_a_host_works_as_a_number(hosts: Hosts) -> None:
    body = b'{"status": "OK", "return": {"rapidgator.net": {"Status": 1}, "nitroflare.com": {"Status": 0}}}'
    async with bench_of(hosts, "linksnappy") as bench:
        bench.host.script(Answer(body=body), on="hosts")
        served = await bench.adapter.hosts(await bench.line())

    assert served == ("rapidgator.net",)


async def test_keep2share_asks_for_a_guests_captcha_where_a_token_is_none_any_more(hosts: Hosts) -> None:
    """At a login the same number asks for a person."""
    async with bench_of(hosts, "keep2share") as bench:
        file = bench.host.add_file("a.bin", SIZE)
        bench.host.script(Answer(status=406, body=b'{"status":"error","code":406,"errorCode":30}'), on="resolve")
        forgotten = await refusal(bench.link(file))
        bench.host.script(Answer(status=406, body=b'{"status":"error","code":406,"errorCode":30}'), on="login")
        asked = await refusal(bench.line())

    assert (forgotten.scope, forgotten.renew) == ("account", True)
    assert (asked.message, asked.renew) == (CAPTCHA.message, False)


async def test_realdebrid_without_a_limited_host_says_so_with_an_empty_list(hosts: Hosts) -> None:
    async with bench_of(hosts, "realdebrid") as bench:
        bench.host.script(lambda user: user, on="account")
        bench.host.script(Answer(body=b"[]"), on="account")
        state = await bench.state()

    assert (state.usable, state.per_host) == (True, {})


async def test_realdebrid_may_know_no_name_of_a_file(hosts: Hosts) -> None:
    async with bench_of(hosts, "realdebrid") as bench:
        bench.host.script(Answer(body=b'{"filename": null, "filesize": 0, "supported": 1}'), on="check")
        [info] = await bench.check(bench.host.add_file("a.bin", SIZE))

    assert (info.online, info.name, info.size) == ("online", None, None)


@pytest.mark.parametrize(
    ("platform", "call", "body", "expected"),
    [
        (
            "alldebrid",
            "hosts",
            b'{"status":"success","data":{"hosts":{"a":{"domains":["a.test"],"status":null},"b":{"domains":[],"status":true}}}}',
            ("a.test",),
        ),
        (
            "torbox",
            "hosts",
            b'{"success": true, "data": [{"domains": null, "status": true}, {"domains": ["a.test"], "status": true}]}',
            ("a.test",),
        ),
    ],
)
async def test_one_host_of_a_list_without_a_field_leaves_the_others(
    hosts: Hosts, platform: str, call: str, body: bytes, expected: tuple[str, ...]
) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.host.script(Answer(body=body), on=call)
        served = await bench.adapter.hosts(await bench.line())

    assert served == expected


async def test_torboxes_progress_beyond_its_end_is_its_end(hosts: Hosts) -> None:
    body = b'{"success": true, "data": {"download_state": "downloading", "progress": 1.5, "files": null}}'
    async with bench_of(hosts, "torbox") as bench:
        bench.host.script(Answer(body=body), on="poll")
        found = await bench.adapter.poll(await bench.line(), Pending(ticket="7"))

    assert isinstance(found, Pending)
    assert found.fraction == 1.0


async def test_rapidgators_traffic_may_be_null(hosts: Hosts) -> None:
    body = b'{"response": {"user": {"is_premium": true, "traffic": null}}, "status": 200, "details": null}'
    async with bench_of(hosts, "rapidgator") as bench:
        bench.host.script(Answer(body=body), on="account")
        state = await bench.state()

    assert (state.usable, state.traffic_left) == (True, None)


@pytest.mark.parametrize("style", ["basic", "header", "cookie"])
async def test_a_generic_host_takes_basic_credentials_headers_and_cookies(hosts: Hosts, style: str) -> None:
    async with bench_of(hosts, "generic", secret=f"a-{style}-secret") as bench:
        secret, name = bench.account.secret, ""
        match style:
            case "basic":
                name = bench.account.username
            case "header":
                secret = f"X-Key: {secret}"
            case "cookie":
                secret = f"Cookie: key={secret}"
        bench.credentials = Credentials(
            username=name, secret=secret, domains=("127.0.0.1",), base_url=bench.host.base_url
        )
        state = await bench.state()
        link = await bench.link(bench.host.add_file("a.bin", SIZE))
        body = await fetched(bench, link)

    assert state.usable
    assert (len(body), link.size, link.name, link.resumable) == (SIZE, SIZE, "a.bin", True)
    assert secret not in repr(link)


async def test_a_generic_hosts_redirect_takes_no_credentials_along_to_another_host(hosts: Hosts) -> None:
    async with bench_of(hosts, "generic") as bench:
        inside = await bench.link(bench.host.add_file("redirected.bin", SIZE))
        bench.host.direct_origin = "http://elsewhere.test"
        outside = await bench.link(bench.host.add_file("redirected too.bin", SIZE))
        to_itself, to_another = (one.brought[0] for one in bench.host.direct.values())

    assert (inside.headers["Authorization"], outside.headers) == (to_itself["Authorization"], {})
    assert outside.url.startswith("http://elsewhere.test/")
    assert outside.size == SIZE
    assert "Authorization" not in to_another


async def test_a_file_that_a_generic_host_forbids_costs_no_good_account(hosts: Hosts) -> None:
    """With an address to ask about the account, it is known whose matter it is; without, the account only rests."""
    async with bench_of(hosts, "generic") as bench:
        file = bench.host.add_file("a.bin", SIZE)
        bench.host.script("frozen", on="resolve", times=None)
        of_file = await refusal(bench.link(file))
        bench.credentials = msgspec.structs.replace(bench.credentials, base_url=None)
        of_either = await refusal(bench.link(file))

    assert (of_file.scope, of_file.status) == ("file", 103)
    assert (of_either.scope, of_either.status, of_either.retry_after) == ("account", 107, 3600)


async def test_a_generic_host_gives_its_credentials_to_its_own_domains_alone(hosts: Hosts) -> None:
    async with bench_of(hosts, "generic") as bench:
        foreign = bench.adapter.match("http://files.elsewhere.test/a.bin")
        assert isinstance(foreign, HostFile)
        error = await refusal(bench.adapter.resolve(await bench.line(), foreign, None))

    assert (error.scope, error.status) == ("file", 101)


@pytest.mark.parametrize("secret", ["just a key", "X-Key: a\nRange: bytes=0-1", "Bad Name: x", "X-Key: \x07"])
async def test_a_generic_secret_that_is_neither_a_password_nor_headers_is_refused(hosts: Hosts, secret: str) -> None:
    async with bench_of(hosts, "generic") as bench:
        bench.credentials = Credentials(secret=secret, domains=("127.0.0.1",))
        error = await refusal(bench.line())

    assert (error.scope, error.status) == ("account", 107)
    assert secret not in str(vars(error))


async def test_a_generic_host_without_ranges_is_not_resumable(hosts: Hosts) -> None:
    async with bench_of(hosts, "generic") as bench:
        link = await bench.link(bench.host.add_file("a.bin", SIZE, knobs={"ranges": 0}))

    assert (link.resumable, link.size) == (False, SIZE)


def test_a_generic_file_is_named_by_its_link_without_what_does_not_matter() -> None:
    generic = adapters.find("generic")
    assert generic is not None
    found = {
        generic.match(url)
        for url in (
            "http://user:pw@Files.Example:80/a b/c.bin?x=1#part",
            "http://files.example/a%20b/c.bin?x=1",
            "HTTP://FILES.example./a b/c.bin?x=1",
        )
    }

    assert {None if one is None else one.url for one in found} == {"http://files.example/a%20b/c.bin?x=1"}
    assert generic.match("http://files.example/") is None


def gator_says(details: str, status: int = 401) -> Answer:
    body = msgspec.json.encode({"response": None, "status": status, "details": details})
    return Answer(status=status, body=body)


def fichier_says(message: str) -> Answer:
    return Answer(status=403, body=msgspec.json.encode({"status": "KO", "message": message}))


def flare_says(message: str, code: int) -> Answer:
    return Answer(body=msgspec.json.encode({"type": "error", "message": message, "code": code}))


def snappy_says(error: str) -> Answer:
    return Answer(body=msgspec.json.encode({"status": "ERROR", "error": error}))


def k2s_says(code: int, reason: int) -> Answer:
    body = {"status": "error", "code": 406, "errorCode": code, "errors": [{"code": reason, "message": "no"}]}
    return Answer(status=406, body=msgspec.json.encode(body))


def premiumize_says(message: str) -> Answer:
    return Answer(body=msgspec.json.encode({"status": "error", "message": message}))


@pytest.mark.parametrize(
    ("platform", "answer", "expected"),
    [
        ("rapidgator", gator_says("Error: Session not found"), SESSION_OVER),
        ("rapidgator", gator_says("Error: Session doesn't exist"), SESSION_OVER),
        ("rapidgator", gator_says("Error: This download session is not for you", 403), SESSION_OVER),
        ("rapidgator", gator_says("Error: Exceeded traffic", 423), EXHAUSTED),
        ("rapidgator", gator_says("Error: Too much today", 423), EXHAUSTED),
        ("rapidgator", gator_says("Error: This file can be downloaded by premium only", 403), NOT_PREMIUM),
        ("rapidgator", gator_says("Error: You can download files up to 1 GB in free mode", 403), NOT_PREMIUM),
        (
            "rapidgator",
            gator_says("Error: ACCOUNT LOCKED FOR VIOLATION OF OUR TERMS. PLEASE CONTACT SUPPORT.", 403),
            LOCKED,
        ),
        ("rapidgator", Answer(status=403, body=b'{"error": "Denied by IP", "success": false}'), ADDRESS),
        ("1fichier", fichier_says("Flood detected: IP Locked #38"), FLOOD),
        ("1fichier", fichier_says("Flood detected: User Locked #39"), ACCOUNT_FLOOD),
        ("1fichier", fichier_says("Flood detected: User APK Locked #40"), ACCOUNT_FLOOD),
        ("1fichier", fichier_says("IP Locked #28"), ADDRESS),
        ("1fichier", fichier_says("Only 1 location allowed at a time #40"), SLOTS),
        ("1fichier", fichier_says("Only 5 locations allowed at a time #40"), SLOTS),
        ("1fichier", fichier_says("Usage of professional equipment, must have CDN credits #705"), ADDRESS),
        ("1fichier", fichier_says("Invalid password. Resource not allowed #51"), PASSWORD),
        ("nitroflare", flare_says("Access denied", 1), NOT_PREMIUM),
        ("nitroflare", flare_says("It is somewhere else", 4), OFFLINE),
        ("nitroflare", flare_says("Invalid captcha", 6), CAPTCHA),
        ("linksnappy", snappy_says("Incorrect Username or Password"), WRONG_LOGIN),
        ("linksnappy", snappy_says("Two-Factor Verification Required"), CAPTCHA),
        (
            "linksnappy",
            snappy_says("Your Account has Expired, Please <a href='/myaccount/extend'>extend it</a>"),
            NOT_PREMIUM,
        ),
        ("linksnappy", snappy_says("Please upgrade to Elite membership"), NOT_PREMIUM),
        ("linksnappy", snappy_says("No server available for this filehost, Please retry after few minutes"), HOST_DOWN),
        ("linksnappy", snappy_says("You have reached max download request"), HOST_SLOTS),
        ("linksnappy", snappy_says("You have reached max download limit of 10 GB"), EXHAUSTED),
        ("linksnappy", snappy_says("Account has exceeded the daily quota"), EXHAUSTED),
        ("linksnappy", snappy_says("File deleted on 2026-01-01"), OFFLINE),
        ("linksnappy", snappy_says("This file requires password"), PASSWORD),
        ("premiumize", premiumize_says("customer_id and pin parameter missing or not logged in"), WRONG_LOGIN),
        ("premiumize", premiumize_says("Fair use limit reached!"), EXHAUSTED),
        ("premiumize", premiumize_says("Daily linklimit for this service reached"), HOST_LIMIT),
        ("premiumize", premiumize_says("content not in cache"), LATER),
        ("premiumize", premiumize_says("item not found"), OFFLINE),
        ("keep2share", k2s_says(21, 9), PRIVATE),
        ("keep2share", k2s_says(42, 9), PRIVATE),
        ("keep2share", k2s_says(42, 4), PRIVATE),
    ],
)
async def test_what_public_clients_know_of_a_platforms_words_is_known(hosts: Hosts, platform, answer, expected) -> None:
    async with bench_of(hosts, platform) as bench:
        bench.host.script(answer, on="resolve")
        error = await refusal(bench.link(bench.host.add_file("a.bin", SIZE)))

    assert error.message == expected.message
    assert (error.scope, error.status) == (expected.scope, expected.status)


@pytest.mark.parametrize(
    "words",
    [
        "Error e-mail or password",
        "Wrong e-mail or password.",
        "Password cannot be blank",
        "Parameter login or password is missing",
    ],
)
async def test_rapidgator_has_many_words_for_a_wrong_login(hosts: Hosts, words: str) -> None:
    async with bench_of(hosts, "rapidgator") as bench:
        bench.host.script(gator_says(f"Error: {words}", 400), on="login")
        error = await refusal(bench.state())

    assert error.message == WRONG_LOGIN.message


SEED = b"12345678901234567890"
"""Of the examples in RFC 6238; in base32 it is what follows."""
SPELT = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_one_time_codes_are_those_of_the_standard(at: int, code: str) -> None:
    assert one_time_code(SPELT, at) == code
    assert one_time_code("gezd gnbv gy3t qojq gezd gnbv gy3t qojq", at) == code


def test_a_seed_that_is_none_is_a_wrong_login_that_does_not_show_it() -> None:
    with pytest.raises(HostError) as caught:
        one_time_code("not base32!", 0)

    assert (caught.value.scope, caught.value.code) == ("account", "bad_seed")
    assert "base32" not in str(caught.value)


async def test_rapidgator_is_given_the_code_of_a_second_factor(hosts: Hosts) -> None:
    async with bench_of(hosts, "rapidgator", seed=SEED) as bench:
        without = await refusal(bench.state())
        bench.credentials = replace(bench.credentials, secret=f"{bench.account.secret}\n{SPELT}")
        state = await bench.state()

    assert without.message == CAPTCHA.message
    assert state.usable


@pytest.mark.parametrize(
    ("platform", "device"),
    [("realdebrid", ("device", "secret of the device")), ("debridlink", ("application",))],
)
async def test_a_refresh_token_is_changed_into_a_session_that_ends(hosts: Hosts, platform: str, device) -> None:
    async with bench_of(hosts, platform, refresh_token="refresh me") as bench:
        bench.credentials = replace(bench.credentials, secret="\n".join((*device, "refresh me")))
        line = await bench.line()
        state = await bench.adapter.account(line)
        bench.host.expire_sessions()
        over = await refusal(bench.adapter.account(line))
        again = await bench.state()
        bench.account.refresh_token = "another"
        refused = await refusal(bench.line())

    assert line.session.expires_at is not None
    assert (state.usable, again.usable) == (True, True)
    assert (over.message, over.renew) == (SESSION_OVER.message, True)
    assert (refused.message, refused.renew) == (WRONG_LOGIN.message, False)
    assert_nothing_secret(bench, refused)
