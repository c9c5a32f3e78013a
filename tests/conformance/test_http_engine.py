"""The HTTP engine against the media site: every file arrives whole and right, or the attempt says what was wrong."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import hashlib
import re
import resource
import threading
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from libs.egress.policy import EgressPolicy
from libs.egress.rate import Rate
from proto.job import Options
from services.job.engines import EngineFailed, Fetch, FetchedFile
from services.job.engines.answers import retry_after
from services.job.engines.download import Limits
from services.job.engines.http import KEY, HttpEngine, writing
from services.job.engines.manifest import Identity, boot_id, joined, read_manifest
from services.job.engines.partial import Partial
from tests.site import HOSTILE_NAMES, MediaSite

SIZE = 3_000_000
MIB = 1024 * 1024
EAGER = Limits(split_from=4 * MIB, patience=0.05, worth=0, piece=MIB // 2)
"""Calls for helpers at once, so that small files show what big slow ones do."""


class Watcher:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.files: list[FetchedFile] = []
        self.skips: list[str] = []
        self.titles: list[tuple[str | None, int | None]] = []
        self.marks: list[tuple[int, int | None]] = []
        self.moved = asyncio.Event()

    def progress(self, *, done, total, **_) -> None:
        self.moved.set()
        self.marks.append((done, total))

    async def resolved(self, *, title, total, items_total, **_) -> None:
        assert items_total == 1
        self.titles.append((title, total))

    async def processing(self) -> None:
        raise AssertionError("nothing is processed")

    async def finished(self, file: FetchedFile) -> None:
        self.files.append(file)

    async def skipped(self, key: str) -> None:
        self.skips.append(key)

    async def item_failed(self, key, failure) -> None:
        raise AssertionError(f"a link is one item, and {key} failed: {failure}")

    @property
    def file(self) -> FetchedFile:
        (only,) = self.files
        return only


@asynccontextmanager
async def engine_for(site: MediaSite, limits: Limits | None = None, stall: float = 60.0):
    async with HttpEngine(EgressPolicy.parse(f"{site.egress_allow},127.0.0.1"), limits, stall) as engine:
        yield engine


def fetch(url: str, work: Path, **more) -> Fetch:
    return Fetch(
        job_id=UUID(int=1),
        owner=UUID(int=2),
        attempt=1,
        url=url,
        options=Options(engine="http"),
        work=work,
        proxy="",
        **more,
    )


def on_disk(file: FetchedFile) -> str:
    return hashlib.sha256(file.path.read_bytes()).hexdigest()


async def failure_of(engine: HttpEngine, url: str, work: Path, **more):
    with pytest.raises(EngineFailed) as caught:
        await engine.fetch(fetch(url, work, **more), Watcher())
    return caught.value.failure


@pytest.mark.parametrize("size", [0, 1, 100_000, MIB, SIZE])
@pytest.mark.parametrize("knobs", [{}, {"ranges": 0}, {"length": "none"}, {"etag": "none"}])
async def test_a_file_arrives_whole_with_one_request(tmp_path, size, knobs) -> None:
    """Whatever the server announces or does not, one GET brings the file, its size and its hash."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        await engine.fetch(fetch(site.file(size, "a.bin", "files.test", **knobs), tmp_path), watcher)

        assert (watcher.file.size, watcher.file.name) == (size, "a.bin")
        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(size, "a.bin")
        assert [(hit.method, hit.range) for hit in site.log] == [("GET", None)]
        assert watcher.titles == [("a.bin", None if knobs.get("length") == "none" else size)]


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("a.exe", {}, "files that end in .exe are not kept here"),
        ("get", {"type": "text/x-sh"}, "files of type text/x-sh are not kept here"),
    ],
)
async def test_what_will_not_be_kept_is_given_up_with_its_headers(tmp_path, name, more, why) -> None:
    """The server holds the body back until it is asked to go on; nobody waits for that."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        failure = await failure_of(
            engine,
            site.file(SIZE, name, "files.test", gate="body", **more),
            tmp_path,
            allowed=frozenset({"bin", "txt"}),
        )

        assert (failure.kind, failure.code, failure.message) == ("content", "extension", why)
        assert not (tmp_path / "http.part").stat().st_size


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_cut_connection_is_resumed_where_it_broke(tmp_path, how) -> None:
    """The second request asks for the rest only, with the validator, and the whole has the right hash."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        url = site.file(SIZE, "a.bin", "files.test", cut=1_500_000, cut_how=how)
        await engine.fetch(fetch(url, tmp_path), watcher)
        first, second = site.log

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert (first.range, second.range, second.status) == (None, "bytes=1500000-", 206)
        assert second.if_range is not None
        assert second.sent == SIZE - 1_500_000


async def test_it_goes_on_through_several_cuts_but_not_for_ever(tmp_path) -> None:
    """Each cut that left new bytes is resumed, until too many come in a row; then the job decides, and what came is
    there for its next attempt."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        healed = Watcher()
        (tmp_path / "a").mkdir()
        url = site.file(SIZE, "a.bin", "files.test", cut=600_000, cut_times=4)
        await engine.fetch(fetch(url, tmp_path / "a"), healed)
        (tmp_path / "b").mkdir()
        url = site.file(SIZE, "b.bin", "files.test", cut=300_000, cut_times=0)
        failure = await failure_of(engine, url, tmp_path / "b")
        again = Watcher()
        await engine.fetch(fetch(url, tmp_path / "b"), again)

        assert healed.file.sha256 == site.sha256(SIZE, "a.bin")
        assert (failure.kind, failure.code) == ("transient", "connection_lost")
        assert [hit.start for hit in site.hits("/file/3000000/b.bin")] == list(range(0, SIZE, 300_000))
        assert again.file.sha256 == on_disk(again.file) == site.sha256(SIZE, "b.bin")


async def test_a_cut_that_brings_nothing_is_left_to_the_job(tmp_path) -> None:
    """Without new bytes there is no second request."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        failure = await failure_of(engine, site.file(SIZE, "a.bin", "files.test", cut=0, cut_times=0), tmp_path)

        assert (failure.kind, len(site.log)) == ("transient", 1)


async def test_without_a_validator_a_cut_file_begins_again(tmp_path) -> None:
    """What can not be proven to be the same file is never continued: the job's next attempt begins anew."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(SIZE, "a.bin", "files.test", cut=1_000_000, etag="none")
        failure = await failure_of(engine, url, tmp_path)
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert failure.kind == "transient"
        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert [(hit.range, hit.status) for hit in site.log] == [(None, 200), (None, 200)]


async def test_a_weak_etag_is_never_a_reason_to_continue(tmp_path) -> None:
    """The date is offered instead; a server that does not take it sends the whole file, and that is what is kept."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        await engine.fetch(fetch(site.file(SIZE, "a.bin", "files.test", cut=1_000_000, etag="weak"), tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert [(hit.if_range or "")[:2] for hit in site.log] == ["", "Fr"]
        assert [hit.status for hit in site.log] == [200, 200]


async def test_a_file_replaced_half_way_is_fetched_from_the_start(tmp_path) -> None:
    """The result is the new version alone, never a splice of both."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        url = site.file(SIZE, "a.bin", "files.test", cut=1_000_000, etag="changing")
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin", version=2)
        assert [hit.status for hit in site.log] == [200, 200]


# -- resuming by the next attempt -------------------------------------------------------------------------------------


async def stopped_half_way(site: MediaSite, engine: HttpEngine, url: str, work: Path) -> None:
    """An attempt that is cancelled while the server holds the second half at gate `g`, which is open afterwards."""
    watcher = Watcher()
    task = asyncio.create_task(engine.fetch(fetch(url, work), watcher))
    await site.until(lambda hits: bool(hits) and hits[-1].sent == SIZE // 2)
    async with asyncio.timeout(60):
        await watcher.moved.wait()
    task.cancel()
    await asyncio.wait({task})
    site.release("g")
    assert task.cancelled()


async def test_a_cancelled_attempt_leaves_what_the_next_one_goes_on_from(tmp_path) -> None:
    """All bytes that had arrived are kept, to the last; the next attempt asks for the others."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(SIZE, "a.bin", "files.test", gate="g")
        await stopped_half_way(site, engine, url, tmp_path)
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert site.log[-1].status == 206
        assert site.log[-1].start > 0
        assert site.log[-1].sent == SIZE - site.log[-1].start
        assert watcher.titles == [("a.bin", SIZE)]


async def test_a_partial_file_of_another_link_is_not_continued(tmp_path) -> None:
    """The manifest names the link; bytes of another one are thrown away."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        await stopped_half_way(site, engine, site.file(SIZE, "a.bin", "files.test", gate="g"), tmp_path)
        watcher = Watcher()
        await engine.fetch(fetch(site.file(SIZE, "b.bin", "files.test"), tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "b.bin")


@pytest.mark.parametrize("manifest", [None, b"", b"{}", b"not json", b'{"identity":{}}'])
async def test_a_partial_file_without_a_readable_manifest_begins_again(tmp_path, manifest) -> None:
    """Bytes that nothing vouches for are not used."""
    (tmp_path / "http.part").write_bytes(b"x" * 1000)
    if manifest is not None:
        (tmp_path / "http.part.manifest").write_bytes(manifest)
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        await engine.fetch(fetch(site.file(SIZE, "a.bin", "files.test"), tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")


async def test_a_file_that_was_whole_is_not_fetched_again(tmp_path) -> None:
    """A worker that died between the last byte and its report costs the origin nothing."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(SIZE, "a.bin", "files.test", disposition="unicode")
        await engine.fetch(fetch(url, tmp_path), Watcher())
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert (watcher.file.name, watcher.file.sha256) == (HOSTILE_NAMES["unicode"], site.sha256(SIZE, "a.bin"))
        assert len(site.log) == 1


async def test_a_whole_file_of_unknown_length_is_recognised_by_416(tmp_path) -> None:
    """The answer names the size; when it is the one on disk, the file is whole."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(SIZE, "a.bin", "files.test", length="none")
        await engine.fetch(fetch(url, tmp_path), Watcher())
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert [hit.status for hit in site.log] == [200, 416]


async def test_a_range_beyond_a_file_that_shrank_begins_again(tmp_path) -> None:
    """416 with another size is no end: the file is fetched from the start in the same attempt."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(SIZE, "a.bin", "files.test", length="none")
        await engine.fetch(fetch(url, tmp_path), Watcher())
        with (tmp_path / "http.part").open("ab") as file:
            file.write(b"more than there ever was")
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert [hit.status for hit in site.log] == [200, 416, 200]


async def test_two_attempts_never_write_the_same_file(tmp_path) -> None:
    """The second waits for the first to let go."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        with (tmp_path / "http.part").open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            task = asyncio.create_task(engine.fetch(fetch(site.file(10, "a.bin", "files.test"), tmp_path), Watcher()))
            done, _ = await asyncio.wait({task}, timeout=0.2)
            asked = len(site.log)
        await task

        assert (done, asked) == (set(), 0)


async def test_what_was_only_written_counts_until_the_machine_starts_again(tmp_path) -> None:
    """After a loss of power only what was synced is believed, even if the file is longer."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(SIZE, "a.bin", "files.test", gate="g")
        await stopped_half_way(site, engine, url, tmp_path)
        manifest = tmp_path / "http.part.manifest"
        content = manifest.read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        manifest.write_text(content.replace(boot, "another").replace('"synced":[]', '"synced":[[0,4096]]'))
        with (tmp_path / "http.part").open("r+b") as file:
            file.seek(4096)
            file.write(b"lost" * 1000)
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")
        assert site.log[-1].range == "bytes=4096-"


async def test_what_was_not_synced_before_the_machine_started_again_is_cut_off(tmp_path) -> None:
    """Within this boot the length says what is there, and a kill before the next sync would make it count."""
    path = tmp_path / "p"
    async with Partial(path) as partial:
        await partial.begin(Identity(url="http://files.test/a", size=1000, etag=None, last_modified=None))
        manifest = tmp_path / "p.manifest"
        told = manifest.read_text().replace(boot_id(), "another").replace('"synced":[]', '"synced":[[0,400]]')
        manifest.write_text(told)
        path.write_bytes(bytes(700))
    async with Partial(path) as partial:
        assert (partial.done, path.stat().st_size) == (400, 400)


# -- several connections ----------------------------------------------------------------------------------------------


async def test_a_slow_file_comes_over_several_connections(tmp_path) -> None:
    """At most four at a time, each a range of its own, and the result is the file."""
    async with MediaSite.start() as site, engine_for(site, EAGER) as engine:
        watcher = Watcher()
        size = 12 * MIB
        file = site.file(size, "a.bin", "files.test", rate=8 * MIB, gate="front", gate_at=2 * MIB)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(engine.fetch(fetch(file, tmp_path), watcher))
            await site.until(lambda hits: len(hits) >= 4)
            site.release("front")
        ranges = [hit.range for hit in site.log]

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(size, "a.bin")
        assert ranges[0] is None
        assert len(set(ranges)) == len(ranges)
        assert all(hit.if_range for hit in site.log[1:])
        assert max(done for done, _ in watcher.marks) == size


@pytest.mark.parametrize("knobs", [{"ranges": 0}, {"etag": "weak"}, {"etag": "none"}, {"length": "none"}])
async def test_a_file_that_can_not_be_split_safely_is_not(tmp_path, knobs) -> None:
    """Without ranges, a strong ETag or a size one connection brings all of it."""
    async with MediaSite.start() as site, engine_for(site, EAGER) as engine:
        watcher = Watcher()
        size = 5 * MIB
        await engine.fetch(fetch(site.file(size, "a.bin", "files.test", rate=16 * MIB, **knobs), tmp_path), watcher)

        assert watcher.file.sha256 == site.sha256(size, "a.bin")
        assert len(site.log) == 1


async def test_a_killed_worker_leaves_word_of_what_several_connections_had_brought(tmp_path) -> None:
    """The first stands still, the second has brought almost all that is left to it, and nobody says goodbye."""
    two = msgspec.structs.replace(EAGER, connections=2)
    async with MediaSite.start() as site, engine_for(site, two) as engine:
        file = site.file(8 * MIB, "a.bin", "files.test", gate="front", gate_at=2 * MIB)
        running = asyncio.create_task(engine.fetch(fetch(file, tmp_path), Watcher()))
        async with asyncio.timeout(60):
            while noted(tmp_path) <= 7 * MIB:
                await asyncio.sleep(0.02)  # the worker that comes next looks once
        site.release("front")
        await running


async def test_a_block_that_is_on_the_disk_is_noted_when_the_next_one_comes(tmp_path) -> None:
    """A slow server fills a block in seconds: what waits for others to be noted is lost with a kill."""
    async with Partial(tmp_path / "http.part") as partial:
        await partial.begin(Identity(url="http://files.test/a", size=8 * MIB, etag=None, last_modified=None))
        await partial.spread()
        await partial.write(0, bytearray(MIB), MIB)
        while partial.done < MIB:
            await asyncio.sleep(0)
        await partial.write(MIB, bytearray(MIB), MIB)
        partial.checkpoint()

        assert noted(tmp_path) == MIB


async def test_a_block_that_could_not_be_written_is_an_error_and_does_not_count_as_there(tmp_path) -> None:
    """Else a full disk would make a whole file with a hole in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Partial(tmp_path / "http.part") as partial:
        await partial.begin(Identity(url="http://files.test/a", size=2 * MIB, etag=None, last_modified=None))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
        try:
            await partial.write(0, bytearray(MIB), MIB)
            await partial.write(MIB, bytearray(MIB), MIB)
            with pytest.raises(OSError, match="too large"):
                await partial.settle()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert partial.done == MIB


def noted(work: Path) -> int:
    """Bytes that whoever goes on would find, but for what a loss of power takes."""
    known = read_manifest(work / "http.part.manifest")
    return 0 if known is None else sum(stop - start for start, stop in known.written)


async def test_a_server_that_refuses_more_connections_is_no_failure(tmp_path) -> None:
    """Helpers that are sent away leave the work to the first connection."""
    async with MediaSite.start() as site, engine_for(site, EAGER) as engine:
        watcher = Watcher()
        size = 6 * MIB
        file = site.file(size, "a.bin", "files.test", etag="always", gate="front")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(engine.fetch(fetch(file, tmp_path), watcher))
            await site.until(lambda hits: len(hits) > 1)
            site.release("front")

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(size, "a.bin")


async def test_a_split_file_resumes_with_all_that_its_connections_brought(tmp_path) -> None:
    """Whatever holes a cancelled attempt left, the next one asks for them and for nothing else twice."""
    async with MediaSite.start() as site, engine_for(site, EAGER) as engine:
        size = 12 * MIB
        url = site.file(size, "a.bin", "files.test", rate=4 * MIB, gate="front", gate_at=MIB)
        task = asyncio.create_task(engine.fetch(fetch(url, tmp_path), Watcher()))
        await site.until(lambda hits: len(hits) >= 4 and all(hit.sent > 600_000 for hit in hits[:4]))
        task.cancel()
        await asyncio.wait({task})
        site.release("front")
        first = len(site.log)
        async with engine_for(site) as plain:
            watcher = Watcher()
            await plain.fetch(fetch(url, tmp_path), watcher)
        asked_again = sum(hit.sent for hit in site.log[first:] if hit.ended == "whole")

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(size, "a.bin")
        assert asked_again < size - 4 * 300_000


# -- what can be wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, "auth_required", "auth_required"),
        (403, "content", "forbidden"),
        (404, "content", "gone"),
        (410, "content", "gone"),
        (418, "content", "http_418"),
        (429, "rate_limited", "http_429"),
        (451, "content", "gone"),
        (500, "transient", "http_500"),
        (503, "transient", "http_503"),
        (599, "transient", "http_599"),
    ],
)
async def test_a_status_says_of_which_class_the_failure_is(tmp_path, status, kind, code) -> None:
    """One request, one typed failure, and no retry of the engine's own."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        failure = await failure_of(engine, site.file(10, "a.bin", "files.test", status=status), tmp_path)

        assert (failure.kind, failure.code) == (kind, code)
        assert len(site.log) == 1


async def test_a_server_that_asks_to_wait_is_heard(tmp_path) -> None:
    """Retry-After becomes the time of the next attempt."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        url = site.file(10, "a.bin", "files.test", status=429, retry_after=3600)
        failure = await failure_of(engine, url, tmp_path)

        assert failure.retry_at is not None
        assert timedelta(minutes=59) < failure.retry_at - datetime.now(UTC) <= timedelta(hours=1)


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("Saturday, 21-Nov-26 12:00:05 GMT", 5),
        ("9" * 5000, 7 * 86400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 7 * 86400),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_trusted_too_far(value, seconds) -> None:
    """A week at the most, never in the past, and nonsense is nothing."""
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)

    assert retry_after(value, NOW) == expected


async def test_a_file_shorter_than_announced_is_never_taken_for_whole(tmp_path) -> None:
    """The connection ends early each time: a transient failure, and the bytes stay for the next attempt."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        failure = await failure_of(engine, site.file(SIZE, "a.bin", "files.test", length="wrong"), tmp_path)

        assert failure.kind == "transient"


@pytest.mark.parametrize(
    ("headers", "codes"),
    [
        ("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5", {"wrong_range"}),
        ("HTTP/1.1 200 OK\r\nContent-Length: nine", {"bad_answer"}),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", {"bad_answer", "connection_lost"}),
        ("SSH-2.0-OpenSSH_9.2", {"bad_answer"}),
    ],
)
async def test_nonsense_from_a_server_is_a_typed_failure(tmp_path, headers, codes) -> None:
    """No answer, however wrong, ends in anything but EngineFailed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{headers}\r\n\r\nhello".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpEngine(EgressPolicy.parse("127.0.0.1")) as engine:
        port = server.sockets[0].getsockname()[1]
        failure = await failure_of(engine, f"http://127.0.0.1:{port}/a.bin", tmp_path)

        assert failure.code in codes


@asynccontextmanager
async def compressing(body: bytes, coding: str, *, path: str = "a.csv", more: str = "", length: bool = False):
    """An engine, and the address of a server that compresses whatever it is asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = f"Content-Length: {len(body)}\r\n" if length else ""
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n{said}{more}\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpEngine(EgressPolicy.parse("127.0.0.1")) as engine:
        yield engine, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{path}"


ROWS = b"some rows of a table\n" * 200_000
"""More than one block of it."""


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(ROWS), "gzip"),
        (gzip.compress(ROWS), "x-gzip"),
        (gzip.compress(ROWS[:7]) + gzip.compress(ROWS[7:]), "gzip"),
        (zlib.compress(ROWS), "deflate"),
        (ROWS, "identity"),
    ],
)
async def test_what_a_server_compresses_unasked_is_kept_as_the_file_that_it_is(tmp_path, body, coding, length) -> None:
    async with compressing(body, coding, length=length, more='ETag: "v"\r\nAccept-Ranges: bytes\r\n') as (engine, url):
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

    assert watcher.file.path.read_bytes() == ROWS
    assert watcher.file.size == len(ROWS)


@pytest.mark.parametrize(("path", "kind"), [("a.tar.gz", "text/plain"), ("a", "application/x-gzip")])
async def test_an_archive_whose_server_says_how_it_was_packed_stays_packed(tmp_path, path, kind) -> None:
    packed = gzip.compress(ROWS)
    async with compressing(packed, "gzip", path=path, more=f"Content-Type: {kind}\r\n") as (engine, url):
        watcher = Watcher()
        await engine.fetch(fetch(url, tmp_path), watcher)

    assert watcher.file.path.read_bytes() == packed


@pytest.mark.parametrize(
    ("body", "coding", "code"),
    [
        (b"whatever", "br", "compressed"),
        (b"this is no gzip", "gzip", "bad_answer"),
        (gzip.compress(ROWS)[:-9], "gzip", "connection_lost"),
    ],
)
async def test_what_can_not_be_inflated_is_a_failure_and_no_file(tmp_path, body, coding, code) -> None:
    async with compressing(body, coding) as (engine, url):
        assert (await failure_of(engine, url, tmp_path)).code == code


async def test_what_inflates_beyond_the_largest_file_is_stopped_on_the_way(tmp_path) -> None:
    limited = HttpEngine(EgressPolicy.parse("127.0.0.1"), Limits(largest=8 * MIB))
    async with compressing(gzip.compress(bytes(64 * MIB)), "gzip") as (_, url), limited as engine:
        failure = await failure_of(engine, url, tmp_path)

    assert failure.code == "too_large"
    assert (tmp_path / "http.part").stat().st_size < 16 * MIB


async def test_a_silent_server_is_left_after_the_stall(tmp_path) -> None:
    """No bytes for the stall time is a lost connection, not a wait without end."""
    async with MediaSite.start() as site, engine_for(site, stall=0.2) as engine:
        failure = await failure_of(engine, site.file(SIZE, "a.bin", "files.test", gate="g", gate_at=0), tmp_path)

        assert (failure.kind, failure.code) == ("transient", "connection_lost")


async def test_a_host_that_is_not_there_is_down(tmp_path) -> None:
    """Refused connections and names without an address are of the class that waits for the host."""
    async with MediaSite.start() as site:
        port = site.port

    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with HttpEngine(EgressPolicy.parse("127.0.0.1", nowhere)) as engine:
        refused = await failure_of(engine, f"http://127.0.0.1:{port}/a.bin", tmp_path)
        unknown = await failure_of(engine, "http://nowhere.example/a.bin", tmp_path)

    assert (refused.kind, refused.code) == (unknown.kind, unknown.code) == ("host_down", "unreachable")


@pytest.mark.parametrize("size_known", [True, False])
async def test_a_file_larger_than_allowed_is_refused(tmp_path, size_known) -> None:
    """By its announced length before any byte, else when it has grown too large."""
    async with MediaSite.start() as site, engine_for(site, Limits(largest=2 * MIB)) as engine:
        url = site.file(SIZE, "a.bin", "files.test") if size_known else site.url("/endless/a.bin", "files.test")
        failure = await failure_of(engine, url, tmp_path)

        assert (failure.kind, failure.code) == ("permanent", "too_large")
        assert (tmp_path / "http.part").stat().st_size <= 4 * MIB


@pytest.mark.parametrize("declared", [True, False])
async def test_a_page_is_left_to_the_other_engines(tmp_path, declared) -> None:
    """Unless this engine was asked for by name: then the page is what was wanted."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        link = fetch(site.url("/html/movie.mp4", "files.test"), tmp_path)
        if declared:
            await engine.fetch(link, watcher)

            assert watcher.file.media_type == "text/html"
            return
        with pytest.raises(EngineFailed) as caught:
            await engine.fetch(msgspec.structs.replace(fetch(link.url, tmp_path), options=Options()), watcher)

        assert caught.value.failure.code == "not_mine"


# -- redirects --------------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_five_times(tmp_path) -> None:
    """The sixth is too many."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        target = site.file(10, "a.bin", "video.test")
        watcher = Watcher()
        await engine.fetch(fetch(site.url("/redirect", "files.test", to=target, hops=4), tmp_path), watcher)
        (tmp_path / "more").mkdir()
        failure = await failure_of(engine, site.url("/redirect", "files.test", to=target, hops=5), tmp_path / "more")

        assert watcher.file.sha256 == site.sha256(10, "a.bin")
        assert (failure.kind, failure.code) == ("content", "too_many_redirects")


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://localhost/",
        "http://inside.example/",
        "//10.0.0.1/",
        "http://user:secret@files.test/file/10/a.bin",
        "file:///etc/passwd",
        "ftp://files.test/a",
        "http://files.test:22/",
    ],
)
async def test_a_redirect_leads_nowhere_that_a_link_may_not(tmp_path, target) -> None:
    """Each hop is judged like the first link, by its text and by what its name resolves to; nothing is fetched."""

    async def lookup(host: str, port: int) -> list[str]:
        return ["10.1.2.3"]

    async with MediaSite.start() as site:
        mapped = ",".join(part for part in site.egress_allow.split(",") if part.startswith("video.test"))
        mapped += f",files.test:80=127.0.0.1:{site.port}"
        async with HttpEngine(EgressPolicy.parse(mapped, lookup)) as engine:
            failure = await failure_of(engine, site.url("/redirect", "video.test", to=target), tmp_path)

        assert (failure.kind, failure.code) == ("permanent", "egress_refused")
        assert len(site.log) == 1


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HOSTILE_NAMES)
async def test_a_name_from_the_server_has_no_path_and_no_controls(tmp_path, kind) -> None:
    """It is only a hint, but never more than one printable name."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        await engine.fetch(fetch(site.file(10, "a.bin", "files.test", disposition=kind), tmp_path), watcher)
        name = watcher.file.name

        assert name not in {"", ".", ".."}
        assert not set(name) & set("/\\\0\r\n\u202e")
        assert len(name) <= 1000
        assert watcher.file.path == tmp_path / "http.part"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.bin"', "a b.bin"),
        ("attachment; filename=a.bin", "a.bin"),
        ("attachment; filename=\"plain.bin\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.bin", "größe.bin"),
        ("attachment; filename*=utf-8'de'gr%C3%B6%C3%9Fe.bin; filename=plain.bin", "größe.bin"),
        ("attachment; filename*=iso-8859-1''gr%F6%DFe.bin", "größe.bin"),
        ('attachment; filename="a \\"quoted\\" b.bin"', 'a "quoted" b.bin'),
        ('inline; filename="größe.bin"', "größe.bin"),
        ("attachment; filename=gr%C3%B6%C3%9Fe.bin", "größe.bin"),
        ("attachment", "from path.bin"),
        ("garbage;;;=", "from path.bin"),
        ("attachment; filename*=UTF-8''%FF%FE", "\ufffd\ufffd"),
        ('attachment; filename=""', "from path.bin"),
    ],
)
async def test_the_name_follows_the_header_then_the_path(tmp_path, header, name) -> None:
    """`filename*` wins over `filename`, and a header that says nothing leaves the path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Disposition: {header}\r\n\r\nok".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpEngine(EgressPolicy.parse("127.0.0.1")) as engine:
        watcher = Watcher()
        port = server.sockets[0].getsockname()[1]
        await engine.fetch(fetch(f"http://127.0.0.1:{port}/x/from%20path.bin?q", tmp_path), watcher)

        assert watcher.file.name == name


async def test_the_link_is_asked_for_as_it_is_spelt(tmp_path) -> None:
    """Signatures of a link cover its spelling, so nothing is decoded or put in order; the fragment stays here."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpEngine(EgressPolicy.parse("127.0.0.1")) as engine:
        port = server.sockets[0].getsockname()[1]
        await engine.fetch(fetch(f"http://127.0.0.1:{port}/a%2fb/ä;c?x=%3A+%2b&x=~#top", tmp_path), Watcher())

    assert asked[0].startswith(b"GET /a%2fb/%C3%A4;c?x=%3A+%2b&x=~ HTTP/1.1\r\n")
    assert b"Accept-Encoding: identity\r\n" in asked[0]


# -- the rest ---------------------------------------------------------------------------------------------------------


async def test_an_item_that_is_stored_already_is_skipped(tmp_path) -> None:
    """Nothing is asked of the server."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        await engine.fetch(fetch(site.file(10, "a.bin", "files.test"), tmp_path, known=frozenset({KEY})), watcher)

        assert (watcher.skips, watcher.files, site.log) == ([KEY], [], [])


async def test_a_rate_is_kept_without_changing_a_byte(tmp_path) -> None:
    """A limited download is the same download."""
    async with MediaSite.start() as site, engine_for(site) as engine:
        watcher = Watcher()
        await engine.fetch(fetch(site.file(SIZE, "a.bin", "files.test"), tmp_path, rate=Rate(8 * MIB)), watcher)

        assert watcher.file.sha256 == on_disk(watcher.file) == site.sha256(SIZE, "a.bin")


async def test_the_hash_follows_whatever_order_the_bytes_come_in(tmp_path) -> None:
    """Blocks written from the end to the start hash as the file reads from start to end."""
    content = bytes(range(256)) * 4096 * 3
    async with Partial(tmp_path / "p") as partial:
        for at in range(len(content) - MIB, -1, -MIB):
            block = partial.block()
            block[:] = content[at : at + MIB]
            await partial.write(at, block, MIB)
        digest = await partial.digest()

    assert digest == hashlib.sha256(content).hexdigest()


async def test_a_small_file_takes_neither_threads_of_its_own_nor_a_large_block(tmp_path) -> None:
    """Two hundred of them cost more in threads and pages than in bytes."""
    async with Partial(tmp_path / "p") as partial:
        await partial.begin(Identity(url="http://files.test/a", size=1000, etag=None, last_modified=None))
        block = partial.block()
        block[:1000] = bytes(1000)
        await partial.write(0, block, 1000)
        digest = await partial.digest()
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("partial-")]

    assert (len(block), threads) == (1001, [])
    assert digest == hashlib.sha256(bytes(1000)).hexdigest()


@pytest.mark.parametrize(
    ("extents", "fresh", "expected"),
    [
        ((), (3, 5), ((3, 5),)),
        (((0, 3),), (3, 5), ((0, 5),)),
        (((0, 3), (7, 9)), (4, 6), ((0, 3), (4, 6), (7, 9))),
        (((0, 3), (7, 9)), (3, 7), ((0, 9),)),
        (((0, 9),), (3, 5), ((0, 9),)),
        (((5, 9),), (0, 20), ((0, 20),)),
    ],
)
def test_extents_stay_in_order_and_apart(extents, fresh, expected) -> None:
    """What touches is one."""
    assert joined(extents, fresh) == expected


async def test_where_there_is_no_room_it_is_said_how_much_there_is_and_how_much_is_kept(tmp_path) -> None:
    """A disk with some megabytes free is not full to whoever looks at it."""
    with pytest.raises(EngineFailed) as refused:
        async with writing(tmp_path / "http.part") as partial:
            await partial.begin(Identity(url="http://files.test/a", size=None, etag=None, last_modified=None))
            partial.check_room(1 << 60)

    failure = refused.value.failure
    assert failure.code == "disk_full"
    assert re.fullmatch(
        r"there is no room for this file: the disk has [0-9,]+ MiB free, of which 256 MiB are kept for the database, "
        r"and the file takes 1,099,511,627,776 MiB more; make room on the disk",
        failure.message,
    )
