"""The real gallery-dl as a program against the media site: what arrives, what is known, what dies with what."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path, PurePath

import psutil
import pytest
from aiohttp import web
from msgspec.structs import replace

from services.job.engines import EngineFailed
from services.job.engines.gallerydl import GalleryDlEngine
from services.job.engines.instances import BadInstances, parse_instances
from tests.site import png
from tests.support.engines import Ground, Heard, ended, ground, told

INSTANCES = "mastodon=http://don.test,moebooru=http://booru.test,vichan=http://chan.test"
ALLOWED = {"PATH", "LANG", "HOME", "TMPDIR", "PYTHONUNBUFFERED"}


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@asynccontextmanager
async def gallery(folder: Path):
    async with ground(folder) as there, GalleryDlEngine(folder / "cache", INSTANCES) as engine:
        yield there, engine


def programs() -> list[psutil.Process]:
    """What this process has started and runs gallery-dl."""
    return [child for child in psutil.Process().children() if "gallery_dl" in child.cmdline()]


async def held(there: Ground, engine: GalleryDlEngine, url: str, gate: str, heard: Heard, **more):
    task = asyncio.create_task(engine.fetch(there.fetch(url, **more), heard))
    await there.site.reached(gate)
    (program,) = programs()
    return task, program


@pytest.mark.parametrize(
    ("url", "pictures", "names"),
    [
        ("http://don.test/@alice", [f"alice-{n}" for n in (1, 2, 3)], ["photo.jpg", "clip.mp4"]),
        ("http://don.test/@alice/77", ["alice-1", "alice-2"], []),
        ("http://don.test/@alice#posts", [f"alice-{n}" for n in (1, 2, 3)], ["photo.jpg", "clip.mp4"]),
        ("http://booru.test/post?tags=cat", ["cat-1", "cat-2", "cat-3"], []),
        ("http://chan.test/b/res/1.html", ["1767323045001", "1767323045003"], ["photo.jpg"]),
        ("http://chan.test/b/", ["1767323045001", "1767323045003"], ["photo.jpg"]),
    ],
)
async def test_every_file_of_a_gallery_arrives_byte_for_byte(tmp_path, url, pictures, names) -> None:
    """Each is an item of its own, with a key of its own, inside the work folder."""
    async with gallery(tmp_path) as (there, engine):
        heard = Heard()
        await engine.fetch(there.fetch(url), heard)

        expected = [digest(png(seed)) for seed in pictures] + [there.site.media(name).sha256 for name in names]
        assert sorted(heard.hashes) == sorted(expected)
        assert len(set(heard.keys)) == len(expected)
        assert all(file.path.is_relative_to(tmp_path / "job" / "gallery") for file in heard.files)
        assert heard.resolutions == [(None, None)]
        done = [mark["done"] for mark in heard.marks]
        assert done == sorted(done)
        assert done[-1] == sum(file.size for file in heard.files)


async def test_what_will_not_be_kept_is_not_asked_for(tmp_path) -> None:
    """Each such file is an item that failed; the rest arrives."""
    async with gallery(tmp_path) as (there, engine):
        heard = Heard()
        await engine.fetch(replace(there.fetch("http://don.test/@alice"), allowed=frozenset({"png"})), heard)
        with pytest.raises(EngineFailed) as none:
            fetch = there.fetch("http://don.test/@alice", work="none")
            await engine.fetch(replace(fetch, allowed=frozenset({"pdf"})), Heard())

        assert sorted(heard.hashes) == sorted(digest(png(f"alice-{n}")) for n in (1, 2, 3))
        assert sorted(failure.message for failure in heard.failures.values()) == [
            "files that end in .jpg are not kept here",
            "files that end in .mp4 are not kept here",
        ]
        assert none.value.failure.code == "extension"
        fetched = [hit.path for hit in there.site.log if hit.path.endswith((".png", ".jpg", ".mp4"))]
        assert {PurePath(path).suffix for path in fetched} == {".png"}
        assert len(fetched) == 3


async def test_known_items_are_not_fetched_again(tmp_path) -> None:
    """Keys are the same on every attempt; what is known is passed over without a request."""
    async with gallery(tmp_path) as (there, engine):
        first, again = Heard(keep=False), Heard()
        url = "http://don.test/@many-5"
        await engine.fetch(there.fetch(url), first)
        await engine.fetch(there.fetch(url, known=frozenset(first.keys[1:])), again)

        assert again.skips == first.keys[1:]
        assert (again.keys, again.hashes) == (first.keys[:1], first.hashes[:1])
        assert len(there.site.hits("/art/many-5-3.png")) == 1


async def test_a_file_that_was_fetched_but_not_stored_is_handed_over_again(tmp_path) -> None:
    """A crash between the last byte and storage costs no second download and loses nothing."""
    async with gallery(tmp_path) as (there, engine):
        first, again = Heard(), Heard()
        await engine.fetch(there.fetch("http://booru.test/post?tags=cat"), first)
        await engine.fetch(there.fetch("http://booru.test/post?tags=cat"), again)

        assert (again.keys, again.hashes, again.skips) == (first.keys, first.hashes, [])
        assert len(there.site.hits("/art/cat-1.png")) == 1


async def test_a_gallery_may_be_cut_short(tmp_path) -> None:
    """`max_items` fetches so many and no more."""
    async with gallery(tmp_path) as (there, engine):
        heard = Heard()
        await engine.fetch(there.fetch("http://don.test/@many-50", max_items=3), heard)

        assert len(heard.files) == 3
        assert len([hit for hit in there.site.log if hit.path.startswith("/art/")]) == 3


async def test_cancelled_half_way_the_next_fetch_goes_on(tmp_path) -> None:
    """Cancelling ends the program before it returns; what was stored is known, the rest comes with the next fetch."""
    async with gallery(tmp_path) as (there, engine):
        first, again = Heard(keep=False), Heard()
        url = "http://don.test/@held-wait"
        task, program = await held(there, engine, url, "wait", first)
        async with asyncio.timeout(60):
            await first.moved.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not program.is_running()

        there.site.release("wait")
        await engine.fetch(there.fetch(url, known=frozenset(first.keys)), again)
        assert len(first.files) == 1
        assert again.skips == first.keys
        assert len(again.files) == 4


async def test_a_program_that_does_not_listen_is_killed(tmp_path) -> None:
    """After its patience the group is killed; a stopped process can not answer the friendly request."""
    async with gallery(tmp_path) as (there, engine):
        task, program = await held(there, engine, "http://don.test/@held-stuck", "stuck", Heard())
        program.send_signal(signal.SIGSTOP)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert not program.is_running()


async def test_a_killed_program_is_a_passing_failure(tmp_path) -> None:
    """The attempt ends at once and may be tried again."""
    async with gallery(tmp_path) as (there, engine):
        task, program = await held(there, engine, "http://don.test/@held-gone", "gone", Heard())
        os.killpg(program.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed) as caught:
            await task

        assert caught.value.failure.kind == "transient"


async def test_the_program_is_told_no_secrets_and_dies_with_us(tmp_path, monkeypatch) -> None:
    """Environment and command line have nothing of ours; the file with the proxy's password is for its owner alone."""
    monkeypatch.setenv("LONGSHORE_SECRET_KEY", "only-for-us")
    monkeypatch.setenv("http_proxy", "http://elsewhere.test")
    async with gallery(tmp_path) as (there, engine):
        task, program = await held(there, engine, "http://don.test/@held-look", "look", Heard())
        settings = tmp_path / "job" / "gallery.json"
        assert set(told(program.pid)) <= ALLOWED
        assert not re.search(r"127\.0\.0\.1|only-for-us", Path(f"/proc/{program.pid}/cmdline").read_text())
        assert settings.stat().st_mode & 0o777 == 0o600
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{program.pid}/limits").read_text())
        assert os.getpgid(program.pid) == program.pid
        there.site.release("look")
        await task


async def test_the_program_dies_with_the_one_that_started_it(tmp_path) -> None:
    """A worker that is killed leaves no program that goes on writing."""
    script = (
        "import asyncio, pathlib, sys\n"
        "from services.job.engines import sandbox\n"
        "async def main():\n"
        "    home = pathlib.Path(sys.argv[1])\n"
        "    async with sandbox.program(['/bin/sh', '-c', 'echo $$; exec sleep 600'], cwd=home,\n"
        "                               env=sandbox.environment(home)) as program:\n"
        "        print((await program.stdout.readline()).decode(), flush=True)\n"
        "        await program.wait()\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert worker.stdout is not None
    async with asyncio.timeout(30):
        pid = int(await worker.stdout.readline())
    worker.kill()
    await worker.wait()
    await ended(pid)


@pytest.mark.parametrize(
    ("url", "kind", "code"),
    [
        ("http://don.test/@empty", "content", "empty"),
        ("http://don.test/@nobody", "content", "gone"),
        ("http://files.test/nothing", "content", "not_mine"),
        ("https://mastodon.social/@Gargron", "host_down", "unreachable"),
    ],
)
async def test_failures_have_a_class_and_plain_words(tmp_path, url, kind, code) -> None:
    """What went wrong decides whether the job tries again; the words name no tool and no folder."""
    async with gallery(tmp_path) as (there, engine):
        failure = await there.failure(engine, url)

        assert (failure.kind, failure.code) == (kind, code)
        assert not re.search(r"gallery|--|\x1b|/tmp|Traceback", failure.message)


async def test_asked_for_by_name_an_unknown_link_is_unsupported(tmp_path) -> None:
    """Nobody else has a turn then, so the answer is final."""
    async with gallery(tmp_path) as (there, engine):
        failure = await there.failure(engine, "http://files.test/nothing", engine="gallerydl")

        assert (failure.kind, failure.code) == ("content", "unsupported_url")


@pytest.mark.parametrize(
    ("knobs", "kind", "code"),
    [("fail=404", "content", "gone"), ("fail=403", "content", "forbidden"), ("fail=429", "rate_limited", "http_429")],
)
async def test_a_file_that_can_not_be_had_is_told_from_one_that_can_later(tmp_path, knobs, kind, code) -> None:
    """Gone for good: an item fails. For now: the attempt does, and the others are stored."""
    status: dict[str, object] = {
        "id": "5",
        "uri": "x",
        "reblog": None,
        "in_reply_to_id": None,
        "account": {"id": "1", "acct": "eve", "username": "eve"},
        "tags": [],
        "created_at": "2026-01-02T03:04:05.000Z",
        "media_attachments": [
            {"id": "51", "url": f"http://files.test/art/eve-1.png?{knobs}"},
            {"id": "52", "url": "http://files.test/art/eve-2.png"},
        ],
    }
    async with (
        instance(status) as allowed,
        ground(tmp_path, also=allowed) as there,
        GalleryDlEngine(tmp_path / "cache", "mastodon=http://other.test") as engine,
    ):
        heard, failed = Heard(), None
        try:
            await engine.fetch(there.fetch("http://other.test/@eve/5"), heard)
        except EngineFailed as error:
            failed = error.failure
        (failure,) = [failed] if failed else heard.failures.values()

        assert heard.hashes == [digest(png("eve-2"))]
        assert (failure.kind, failure.code) == (kind, code)
        assert (failed is None) == (kind == "content")


@asynccontextmanager
async def instance(status: dict[str, object]):
    """Another Mastodon, with one post. Yields what opens it for the proxy."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps(status), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/api/v1/statuses/5", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"other.test=127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("text", ["mastodon", "mastodon=don.test", "a b=http://x.test", "x=ftp://x.test", "x=http://"])
def test_a_wrong_instance_is_named(text) -> None:
    """The operator reads which part can not be understood."""
    with pytest.raises(BadInstances, match="is not software=https://host"):
        parse_instances(text)


def test_instances_are_read_by_software() -> None:
    """Several of one software, with or without a slash at the end."""
    assert parse_instances("mastodon=http://a.test/, mastodon=https://b.test:8443,vichan=http://c.test") == {
        "mastodon": ["http://a.test", "https://b.test:8443"],
        "vichan": ["http://c.test"],
    }
