"""The engine of file hosts against upstreams that misbehave half way; who gives the leases speaks their protocol and
keeps no accounts."""

from __future__ import annotations

import asyncio
import base64
import gzip
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest

from libs.egress.policy import EgressPolicy
from libs.growth import note, told
from libs.message import Refused, new_id
from proto.job import Options
from proto.unrestrict_proxy import (
    CloseLease,
    HostCapReached,
    HostInfo,
    HostRefused,
    KeepLease,
    ListHosts,
    NotYet,
    Opened,
    OpenLink,
    TooManyAtOnce,
    TrafficShort,
    UnsupportedLink,
)
from services.job.engines import EngineFailed
from services.job.engines.hosting import HostTable
from services.job.engines.http import HttpEngine
from services.job.engines.partial import BLOCK
from services.job.engines.unrestrict import KEY, UnrestrictEngine
from tests.conformance.test_http_engine import Watcher, fetch, on_disk
from tests.site import MediaSite
from tests.site.content import sha256

SIZE = 3_000_000
BIG = 12_000_000
"""Some blocks of it are on the disk before the last arrives."""
LINK = "https://filehost.test/file/abc/film.mkv"


class Desk:
    """Gives out what it was given, in order: links, and refusals to raise. It keeps what it was told."""

    def __init__(self, *answers, kept: bool = True, reads: int = 1) -> None:
        self.answers = list(answers)
        self.kept = kept
        self.opens: list[OpenLink] = []
        self.closes: list[CloseLease] = []
        self.keeps: list[KeepLease] = []
        self.was_kept = asyncio.Event()
        """With so many bytes at least."""
        self.reads = reads

    async def send(self, command, *_, **__):
        match command:
            case OpenLink():
                self.opens.append(command)
                answer = self.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            case KeepLease():
                self.keeps.append(command)
                if command.read >= self.reads:
                    self.was_kept.set()
                return self.kept
            case CloseLease():
                self.closes.append(command)
                return None
        raise AssertionError(command)


def opened(url: str, size: int | None = SIZE, **more) -> Opened:
    known = {
        "lease_id": new_id(), "url": url, "headers": {}, "name": "film.mkv", "size": size, "max_chunks": 4,
        "resumable": True, "keep_every": 60.0,
    }  # fmt: skip
    return Opened(**{**known, **more})


@asynccontextmanager
async def site_and_engine(stall: float = 60.0):
    async with MediaSite.start() as site:
        policy = EgressPolicy.parse(f"{site.egress_allow},127.0.0.1")
        async with HttpEngine(policy, stall_seconds=stall) as http:
            yield site, http


async def test_a_file_comes_through_the_link_that_was_opened_and_the_lease_is_given_back_with_what_was_read(tmp_path):
    async with site_and_engine() as (site, http):
        desk = Desk(opened(site.file(SIZE, "film.mkv", "files.test")))
        watcher = await run(http, desk, tmp_path)

        assert (watcher.file.key, watcher.file.size, watcher.file.name) == (KEY, SIZE, "film.mkv")
        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "film.mkv")
        [close] = desk.closes
        assert (close.read, close.status) == (SIZE, None)


async def run(http, desk: Desk, folder, url: str = LINK, **options) -> Watcher:
    watcher = Watcher()
    asked = msgspec.structs.replace(fetch(url, folder), options=Options(**options))
    await UnrestrictEngine(desk, http).fetch(asked, watcher)
    return watcher


async def failure(http, desk: Desk, folder, **options):
    with pytest.raises(EngineFailed) as caught:
        await run(http, desk, folder, **options)
    return caught.value.failure


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 503, 509])
async def test_when_a_link_dies_half_way_the_next_goes_on_from_the_same_byte(tmp_path, status):
    """Another account's link leads to another address with another validator, which proves nothing against it."""
    async with site_and_engine() as (site, http):
        dying = site.file(SIZE, "film.mkv", "files.test", cut=1_000_000, then=status)
        other = site.file(SIZE, "film.mkv", "video.test", etag="always")
        desk = Desk(opened(dying), opened(other))
        watcher = await run(http, desk, tmp_path)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "film.mkv")
        assert [(one.status, one.read) for one in desk.closes] == [(status, 1_000_000), (None, SIZE - 1_000_000)]
        assert [one.have for one in desk.opens] == [0, 1_000_000]
        assert site.log[-1].range == "bytes=1000000-"


async def test_how_long_the_host_asks_to_wait_is_said_when_the_lease_is_given_back(tmp_path):
    async with site_and_engine() as (site, http):
        busy = site.file(SIZE, "film.mkv", "files.test", fail=429, retry_after=2)
        desk = Desk(opened(busy), opened(site.file(SIZE, "film.mkv", "video.test")))
        await run(http, desk, tmp_path)

        assert [(one.status, one.retry_after) for one in desk.closes] == [(429, 2), (None, None)]


async def test_a_link_whose_file_is_not_as_long_as_was_said_is_given_back_and_nothing_of_it_is_kept(tmp_path):
    async with site_and_engine() as (site, http):
        wrong = site.file(SIZE - 7, "film.mkv", "files.test")
        desk = Desk(opened(wrong), opened(site.file(SIZE, "film.mkv", "video.test")))
        watcher = await run(http, desk, tmp_path)

        assert watcher.file.sha256 == site.sha256(SIZE, "film.mkv")
        assert [(one.status, one.reason) for one in desk.closes] == [(0, "wrong_length"), (None, "")]


async def test_a_file_that_is_replaced_under_the_same_link_half_way_is_fetched_anew_and_never_a_mixture(tmp_path):
    """Of one address the validator does prove something, also for another process that goes on."""
    async with site_and_engine() as (site, http):
        link = site.file(SIZE, "film.mkv", "files.test", etag="changing", cut=1_000_000, cut_times=2)
        watcher = await run(http, Desk(*(opened(link) for _ in range(3))), tmp_path)

        third = sha256(SIZE, "film.mkv", version=3)
        assert watcher.file.sha256 == on_disk(watcher.file) == third


async def test_a_file_that_is_replaced_while_nobody_fetches_it_is_no_mixture_either(tmp_path):
    async with site_and_engine() as (site, http):
        link = site.file(SIZE, "film.mkv", "files.test", etag="changing", gate="half", gate_at=2 * BLOCK)
        desk = Desk(opened(link, keep_every=0.05), opened(link))
        first = asyncio.create_task(run(http, desk, tmp_path))
        async with asyncio.timeout(60):
            await desk.was_kept.wait()
        first.cancel()
        await asyncio.wait([first])
        site.release("half")
        await site.until(lambda hits: hits[0].ended == "gone", timeout=60)
        watcher = await run(http, desk, tmp_path)

        assert desk.opens[1].have > 0
        assert watcher.file.sha256 == on_disk(watcher.file) == sha256(SIZE, "film.mkv", version=2)


async def test_a_host_that_does_not_say_how_long_its_answer_is_is_believed_when_it_ends_where_it_should(tmp_path):
    async with site_and_engine() as (site, http):
        short = site.file(SIZE - 7, "film.mkv", "files.test", length="none")
        right = site.file(SIZE, "film.mkv", "video.test", length="none")
        desk = Desk(opened(short), opened(right))
        watcher = await run(http, desk, tmp_path)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "film.mkv")
        assert [one.reason for one in desk.closes] == ["wrong_length", ""]


async def test_what_will_not_be_kept_is_given_up_with_one_link_and_nothing_read(tmp_path):
    async with site_and_engine() as (site, http):
        desk = Desk(opened(site.file(SIZE, "film.exe", "files.test", gate="body")))
        asked = msgspec.structs.replace(fetch(LINK, tmp_path), allowed=frozenset({"mkv"}))
        with pytest.raises(EngineFailed) as caught:
            await UnrestrictEngine(desk, http).fetch(asked, Watcher())

        assert (caught.value.failure.kind, caught.value.failure.code) == ("content", "extension")
        assert [(one.read, one.reason) for one in desk.closes] == [(0, "")]


async def test_a_page_instead_of_the_file_is_no_file(tmp_path):
    async with site_and_engine() as (site, http):
        page = site.url("/html/film.mkv", "files.test")
        desk = Desk(opened(page, size=None), opened(site.file(SIZE, "film.mkv", "video.test")))
        watcher = await run(http, desk, tmp_path)

        assert watcher.file.sha256 == site.sha256(SIZE, "film.mkv")


@pytest.mark.parametrize("size", [None, SIZE])
async def test_an_upstream_that_compresses_unasked_brings_the_file_and_not_what_it_was_packed_into(tmp_path, size):
    """Also when the connection is lost on the way: what is missing can not be asked for then."""
    data = b"0123456789" * (SIZE // 10)
    packed = gzip.compress(data, 0)
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        ranged = b"\r\nRange: " in asked[-1]
        status = f"206 Partial Content\r\nContent-Range: bytes 5-9/{len(packed)}" if ranged else "200 OK"
        body = packed[5:10] if ranged else packed[: len(packed) // 2] if len(asked) == 1 else packed
        writer.write(f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\n\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpEngine(EgressPolicy.parse("127.0.0.1")) as http:
        link = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/film.mkv"
        watcher = await run(http, Desk(*(opened(link, size=size) for _ in range(4))), tmp_path)

    assert watcher.file.path.read_bytes() == data


async def test_an_upstream_that_ignores_ranges_is_read_from_the_start_and_the_file_is_right(tmp_path):
    async with site_and_engine() as (site, http):
        dying = site.file(SIZE, "film.mkv", "files.test", cut=1_000_000, then=403)
        desk = Desk(opened(dying), opened(site.file(SIZE, "film.mkv", "video.test", ranges=0)))
        watcher = await run(http, desk, tmp_path)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "film.mkv")


async def test_an_upstream_that_falls_silent_is_left_for_another_link(tmp_path):
    async with site_and_engine(stall=0.5) as (site, http):
        silent = site.file(SIZE, "film.mkv", "files.test", gate="never", gate_at="head")
        desk = Desk(opened(silent), opened(site.file(SIZE, "film.mkv", "video.test")))
        watcher = await run(http, desk, tmp_path)
        site.release("never")

        assert watcher.file.sha256 == site.sha256(SIZE, "film.mkv")
        assert desk.closes[0].status == 0


async def test_links_that_all_bring_nothing_are_left_to_the_jobs_next_attempt_which_goes_on_where_they_ended(tmp_path):
    async with site_and_engine() as (site, http):
        dying = site.file(SIZE, "film.mkv", "files.test", cut=1_000_000, then=403)
        dead = site.url("/status/403", "files.test")
        failed = await failure(http, Desk(opened(dying), *(opened(dead) for _ in range(20))), tmp_path)
        again = Desk(opened(site.file(SIZE, "film.mkv", "video.test")))
        watcher = await run(http, again, tmp_path)

        assert (failed.kind, failed.code) == ("transient", "host_106")
        assert watcher.file.sha256 == site.sha256(SIZE, "film.mkv")
        assert again.closes[0].read == SIZE - 1_000_000


async def test_a_slot_that_went_to_another_is_left_at_once_and_asked_for_anew(tmp_path):
    async with site_and_engine() as (site, http):
        slow = site.file(SIZE, "film.mkv", "files.test", gate="slow", gate_at=2_000_000)
        desk = Desk(opened(slow, keep_every=0.05), opened(site.file(SIZE, "film.mkv", "video.test")), kept=False)
        watcher = await run(http, desk, tmp_path)
        site.release("slow")

        assert watcher.file.sha256 == site.sha256(SIZE, "film.mkv")
        assert [one.reason for one in desk.closes] == ["lease_lost", ""]


async def test_a_lease_is_kept_with_what_was_read_so_far(tmp_path):
    async with site_and_engine() as (site, http):
        slow = site.file(BIG, "film.mkv", "files.test", gate="slow", gate_at=10_000_000)
        desk = Desk(opened(slow, BIG, keep_every=0.05))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(run(http, desk, tmp_path))
            await desk.was_kept.wait()
            site.release("slow")
            watcher = await running

        assert watcher.file.size == BIG
        assert desk.keeps[0].lease_id == desk.closes[0].lease_id


async def test_what_is_on_the_disk_is_counted_while_the_upstream_stands_still(tmp_path):
    """A slow host brings a block in seconds, and nobody would see anything move for half a minute."""
    async with site_and_engine() as (site, http):
        slow = site.file(SIZE, "film.mkv", "files.test", gate="slow", gate_at=2 * BLOCK + 10)
        desk = Desk(opened(slow, keep_every=0.05), reads=2 * BLOCK)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(run(http, desk, tmp_path))
            await desk.was_kept.wait()
            site.release("slow")
            await running

        assert desk.keeps[-1].read >= 2 * BLOCK


async def test_where_a_reader_waits_another_connection_begins_while_the_first_goes_on(tmp_path):
    async with site_and_engine() as (site, http):
        front = site.file(BIG, "film.mkv", "files.test", gate="front", gate_at=2_000_000)
        engine = UnrestrictEngine(Desk(opened(front, BIG, early=True, max_chunks=2)), http)
        watcher, asked = Watcher(), fetch(LINK, tmp_path)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.fetch(asked, watcher))
            with await noted(tmp_path / "host.part") as there:
                while (9_000_000, BIG) not in (seen := told(there.fileno())):
                    engine.awaited(asked.job_id, 9_000_000)
                    await asyncio.sleep(0.02)  # the interval of a reader that waits
                site.release("front")
                await running

        assert seen[0][1] <= 2_000_000
        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(BIG, "film.mkv")
        assert [hit.range for hit in site.log] == [None, "bytes=9000000-11999999"]


async def test_readers_of_a_host_that_allows_one_connection_wait_for_the_first(tmp_path):
    async with site_and_engine() as (site, http):
        front = site.file(BIG, "film.mkv", "files.test", gate="front", gate_at=2_000_000)
        engine = UnrestrictEngine(Desk(opened(front, BIG, early=True, max_chunks=1)), http)
        watcher, asked = Watcher(), fetch(LINK, tmp_path)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.fetch(asked, watcher))
            with await noted(tmp_path / "host.part") as there:
                while not told(there.fileno()):
                    engine.awaited(asked.job_id, 9_000_000)
                    await asyncio.sleep(0.02)  # the interval of a reader that waits
                site.release("front")
                await running

        assert watcher.file.sha256 == site.sha256(BIG, "film.mkv")
        assert len(site.log) == 1


async def test_what_a_second_connection_was_refused_with_is_not_why_the_first_ended(tmp_path):
    """429 to one connection too many says nothing of the account, which would be put aside for it."""
    async with site_and_engine(stall=3.0) as (site, http):
        silent = site.file(BIG, "film.mkv", "files.test", gate="front", gate_at=0, then=429)
        other = site.file(BIG, "film.mkv", "video.test")
        desk = Desk(opened(silent, BIG, early=True, max_chunks=2), opened(other, BIG))
        engine, watcher, asked = UnrestrictEngine(desk, http), Watcher(), fetch(LINK, tmp_path)
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(engine.fetch(asked, watcher))
            while len(site.log) < 2 and not running.done():
                engine.awaited(asked.job_id, 9_000_000)
                await asyncio.sleep(0.02)  # the interval of a reader that waits
            await running
        site.release("front")

        assert watcher.file.sha256 == site.sha256(BIG, "film.mkv")
        assert [(one.status, one.reason) for one in desk.closes] == [(0, "connection_lost"), (None, "")]


async def noted(path):
    """What a file says of itself to who reads it along, as soon as it does."""
    while not note(path).exists():
        await asyncio.sleep(0.02)  # the interval of a reader that waits
    return note(path).open("rb")


async def test_a_job_that_is_stopped_gives_its_lease_back(tmp_path):
    async with site_and_engine() as (site, http):
        slow = site.file(BIG, "film.mkv", "files.test", gate="slow", gate_at=10_000_000)
        desk = Desk(opened(slow, BIG, keep_every=0.05))
        running = asyncio.create_task(run(http, desk, tmp_path))
        async with asyncio.timeout(60):
            await desk.was_kept.wait()
        running.cancel()
        await asyncio.wait([running])
        site.release("slow")

        assert [one.lease_id for one in desk.closes] == [desk.keeps[0].lease_id]


async def test_a_platform_that_prepares_the_file_is_asked_again_until_it_is_ready(tmp_path):
    async with site_and_engine() as (site, http):
        desk = Desk(NotYet(after=0.01), NotYet(after=0.01), opened(site.file(SIZE, "film.mkv", "files.test")))
        watcher = await run(http, desk, tmp_path)

        assert (watcher.file.size, len(desk.opens)) == (SIZE, 3)


async def test_credentials_go_to_the_server_they_are_for_and_not_where_it_redirects_to(tmp_path):
    async with site_and_engine() as (site, http):
        stays = site.file(SIZE, "film.mkv", "files.test", auth="me:secret")
        elsewhere = site.file(SIZE, "film.mkv", "video.test", auth="me:secret")
        away = site.url("/redirect", "files.test", to=elsewhere)
        header = {"Authorization": "Basic " + base64.b64encode(b"me:secret").decode()}
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        watcher = await run(http, Desk(opened(stays, headers=header)), tmp_path / "a")
        desk = Desk(*(opened(away, headers=header) for _ in range(10)))
        await failure(http, desk, tmp_path / "b")

        assert watcher.file.size == SIZE
        assert {one.status for one in desk.closes} == {401}


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (HostRefused(message="it is gone", status=104), "content", "host_104"),
        (HostRefused(message="it is private", status=103), "content", "host_103"),
        (HostRefused(message="maintenance", status=105, retry_after=60), "transient", "host_105"),
        (HostRefused(message="no account", status=107, retry_after=60), "rate_limited", "host_107"),
        (TrafficShort(message="too little", needed=2, left=1), "content", "host_52"),
        (HostCapReached(message="the cap", platform="x", retry_after=60), "rate_limited", "host_54"),
        (TooManyAtOnce(message="too many", platform="x", limit=1, retry_after=60), "rate_limited", "host_55"),
        (UnsupportedLink(message="not ours"), "content", "not_mine"),
    ],
)
async def test_what_the_host_or_the_users_traffic_refuses_is_a_failure_of_its_class(tmp_path, refusal, kind, code):
    async with site_and_engine() as (_, http):
        failed = await failure(http, Desk(Refused(refusal)), tmp_path)

        assert (failed.kind, failed.code, failed.message) == (kind, code, refusal.message)
        assert (failed.retry_at is None) == (getattr(refusal, "retry_after", None) is None)


async def others(url: str, options: Options):
    del url, options
    return ["http"]


HOSTS = [
    HostInfo(
        platform="filehost", name="FileHost", domains=("filehost.test", "fh.test"), max_chunks=4, max_downloads=3,
        resumable=True, working=True, traffic_left=None, traffic_total=None,
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
]  # fmt: skip


class Lister:
    def __init__(self, *answers) -> None:
        self.answers = list(answers)

    async def send(self, command, *_, **__):
        assert isinstance(command, ListHosts)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_only_links_of_hosts_with_accounts_go_this_way_and_an_engine_that_was_named_goes_first():
    table = HostTable(Lister(HOSTS), others)

    assert await table.route("https://www.fh.test/file/1", Options()) == ["unrestrict", "http"]
    assert await table.route("https://notfh.test/file/1", Options()) == ["http"]
    assert await table.route("https://fh.test/file/1", Options(engine="ytdlp")) == ["http"]


async def test_hosts_that_changed_are_asked_for_anew():
    table = HostTable(Lister([], HOSTS), others)
    before = await table.route("https://fh.test/file/1", Options())
    table.forget()

    assert before == ["http"]
    assert await table.route("https://fh.test/file/1", Options()) == ["unrestrict", "http"]


async def test_while_nobody_says_which_hosts_there_are_links_go_the_way_they_would_go_anyway():
    assert await HostTable(Lister(TimeoutError()), others).route("https://fh.test/file/1", Options()) == ["http"]
