"""The real yt-dlp in forked runners against the media site: what arrives, what resumes, what dies with what."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest
from msgspec.structs import replace

from services.job.engines import EngineFailed
from services.job.engines.ytdlp import YtdlpEngine
from tests.site import pictures
from tests.support.engines import Ground, Heard, ended, ground, pages, runner_of, told
from tests.support.sure import sure

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIP_KEY = "html5mediaembed embed-1"
ALLOWED = {"PATH", "LANG", "HOME", "TMPDIR", "YTDLP_NO_PLUGINS", "PYTHONPATH"}


def partial(folder: Path, key: str) -> Path:
    return folder / "media" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.mp4.part"


async def held(there: Ground, engine: YtdlpEngine, url: str, gate: str, heard: Heard | None = None, **more):
    """A fetch that waits at a gate of the site, and the process that runs it."""
    fetch = there.fetch(url, **more)
    task = asyncio.create_task(engine.fetch(fetch, heard or Heard()))
    await there.site.reached(gate)
    return task, runner_of(engine, fetch)


@asynccontextmanager
async def paged(folder: Path, **texts: tuple[str, str]):
    """With pages of the test's own on pages.test."""
    async with pages(**texts) as allowed, ground(folder, also=allowed) as there:
        yield there


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/video/clip.mp4", "clip.mp4"),
        ("/watch/embed", "Embedded clip (1).mp4"),
        ("/watch/og", "Open graph clip.mp4"),
        ("/watch/jsonld", "Linked data clip.mp4"),
    ],
)
async def test_a_video_arrives_byte_for_byte(tmp_path, engine, path, name) -> None:
    """A direct or embedded file is what the site has, named by its title, with one request for its bytes."""
    async with ground(tmp_path) as there:
        heard = Heard()
        await engine.fetch(there.fetch(there.site.url(path, "video.test")), heard)
        (file,) = heard.files

        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert (file.name, file.media_type) == (name, "video/mp4")
        assert heard.resolutions == [(name.removesuffix(".mp4"), 1)]
        assert heard.stages == []


@pytest.mark.parametrize("path", ["/hls/clip.m3u8", "/hls/master.m3u8", "/dash/clip.mpd", "/watch/sources"])
async def test_a_stream_of_pieces_becomes_one_film(tmp_path, engine, path) -> None:
    """HLS and DASH are put together by ffmpeg into a file that shows the same pictures; progress never goes back."""
    async with ground(tmp_path) as there:
        heard = Heard()
        await engine.fetch(there.fetch(there.site.url(path, "video.test", media="rate=60000")), heard)
        (file,) = heard.files
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(there.site.media("clip.mp4").body)

        assert file.path.suffix == ".mp4"
        assert pictures(file.path) == pictures(clip)
        done = [mark["done"] for mark in heard.marks]
        shares = [mark["done"] / mark["total"] for mark in heard.marks if mark["total"]]
        assert done == sorted(done)
        assert shares == sorted(shares)
        assert shares[-1] <= 1


async def test_sound_alone_is_taken_out(tmp_path, engine) -> None:
    """`audio_only` gives an m4a without pictures."""
    async with ground(tmp_path) as there:
        heard = Heard()
        await engine.fetch(there.fetch(there.site.url("/watch/embed", "video.test"), audio_only=True), heard)
        (file,) = heard.files
        probe = await asyncio.create_subprocess_exec(
            imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(file.path), stderr=asyncio.subprocess.PIPE
        )
        _, said = await probe.communicate()

        assert (file.path.suffix, heard.stages) == (".m4a", ["processing"])
        assert b"Audio: aac" in said
        assert b"Video:" not in said


async def test_what_a_site_says_of_a_film_is_told_with_it(tmp_path) -> None:
    async with ground(tmp_path) as there, YtdlpEngine(tmp_path / "cache") as engine:
        heard, silent = Heard(), Heard()
        await engine.fetch(there.fetch(there.site.url("/watch/jsonld", "video.test")), heard)
        await engine.fetch(there.fetch(there.site.url("/watch/embed", "video.test"), work="other"), silent)

        assert heard.facts == [("What it is about.", "2026-01-31")]
        assert silent.facts[0][0] is None


@pytest.mark.parametrize(
    ("allowed", "options", "kept"),
    [
        ({"png"}, {}, False),
        ({"png"}, {"container": "mp4"}, False),
        ({"mp4"}, {"container": "mkv"}, False),
        ({"mp4"}, {"audio_only": True, "container": "mp3"}, False),
        ({"mp4"}, {"preferred_container": "mkv"}, True),
        ({"mkv"}, {"container": "mkv"}, True),
    ],
)
async def test_what_will_not_be_kept_is_not_asked_for(tmp_path, engine, allowed, options, kept) -> None:
    """What counts is the ending of what it would be made into."""
    async with ground(tmp_path) as there:
        fetch = there.fetch(there.site.url("/watch/embed", "video.test"), **options)
        heard = Heard()
        with nullcontext() if kept else pytest.raises(EngineFailed) as failed:
            await engine.fetch(replace(fetch, allowed=frozenset(allowed)), heard)

        assert bool(heard.files) == kept
        assert failed is None or failed.value.failure.code == "extension"
        assert kept or not [hit for hit in there.site.log if hit.path.endswith(".mp4") and hit.sent > 1000]


@pytest.mark.parametrize("options", [{}, {"audio_only": True}])
async def test_a_file_of_a_kind_that_yt_dlp_does_not_know_has_the_ending_of_its_address(
    tmp_path, engine, options
) -> None:
    """And is judged by it."""
    async with ground(tmp_path) as there:
        fetch = there.fetch(there.site.url("/file/1000/paper.exe", "files.test"), **options)
        heard = Heard()
        await engine.fetch(fetch, heard)

        assert [file.name for file in heard.files] == ["paper.exe"]


async def test_known_items_of_a_playlist_are_not_fetched_again(tmp_path, engine) -> None:
    """Each entry has its own stable key; one that is known is passed over and its bytes are not asked for."""
    async with ground(tmp_path) as there:
        url = there.site.url("/watch/two", "video.test")
        first = Heard(keep=False)
        await engine.fetch(there.fetch(url), first)
        again = Heard()
        await engine.fetch(there.fetch(url, work="again", known=frozenset(first.keys[:1])), again)

        clips = [there.site.media("clip.mp4").sha256, there.site.media("second.mp4").sha256]
        assert first.hashes == clips
        assert len(set(first.keys)) == 2
        assert (first.resolutions, first.skips) == ([("Two clips", 2)], [])
        assert (again.skips, again.keys, again.hashes) == (first.keys[:1], first.keys[1:], clips[1:])
        assert len(there.site.hits("/video/clip.mp4")) == 1


async def test_a_playlist_may_be_cut_short(tmp_path, engine) -> None:
    """`max_items` fetches so many and no more."""
    async with ground(tmp_path) as there:
        heard = Heard()
        await engine.fetch(there.fetch(there.site.url("/watch/two", "video.test"), max_items=1), heard)

        assert len(heard.files) == 1
        assert there.site.hits("/video/second.mp4") == []


async def test_a_feed_is_a_playlist(tmp_path, engine) -> None:
    """Every enclosure of a feed is an item with the title of its entry."""
    async with ground(tmp_path) as there:
        heard = Heard()
        await engine.fetch(there.fetch(there.site.url("/feed.rss", "video.test")), heard)

        assert [file.name for file in heard.files] == ["First item.mp4", "Second item.mp3"]
        assert heard.hashes == [there.site.media(name).sha256 for name in ("clip.mp4", "tone.mp3")]


async def test_entries_with_the_same_last_part_are_different_items(tmp_path, engine) -> None:
    """Two enclosures called `clip.mp4` in different places are two files with two keys, on any attempt."""
    links = [f"http://files.test/file/{size}/clip.mp4" for size in (50_000, 60_000)]
    items = "".join(f'<item><title>x</title><enclosure url="{link}" type="video/mp4"/></item>' for link in links)
    feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>f</title>{items}</channel></rss>'
    async with paged(tmp_path, feed=("application/rss+xml", feed)) as there:
        first, again = Heard(keep=False), Heard()
        await engine.fetch(there.fetch("http://pages.test/feed"), first)
        await engine.fetch(there.fetch("http://pages.test/feed", known=frozenset(first.keys[1:])), again)

        assert first.hashes == [there.site.sha256(50_000, "clip.mp4"), there.site.sha256(60_000, "clip.mp4")]
        assert len(set(first.keys)) == 2
        assert (again.skips, again.keys) == (first.keys[1:], first.keys[:1])


async def test_an_entry_that_is_gone_does_not_take_the_others_along(tmp_path, engine) -> None:
    """The missing one is reported as failed for good, the others arrive, and the attempt is a success."""
    page = '<html><body><video src="http://video.test/video/none.mp4"></video>{}</body></html>'
    text = page.format('<video src="http://video.test/video/clip.mp4"></video>')
    async with paged(tmp_path, two=("text/html", text), none=("text/html", page.format(""))) as there:
        heard = Heard()
        await engine.fetch(there.fetch("http://pages.test/two"), heard)

        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert [failure.code for failure in heard.failures.values()] == ["gone"]
        assert (await there.failure(engine, "http://pages.test/none", work="other")).code == "gone"


async def test_a_passing_failure_of_an_entry_is_left_to_the_next_attempt(tmp_path, engine) -> None:
    """The rest of the playlist still arrives; the attempt fails as transient, and the next one fetches what is left."""
    text = (
        '<html><body><video src="http://video.test/video/second.mp4?fail=503&amp;times=6"></video>'
        '<video src="http://video.test/video/clip.mp4"></video></body></html>'
    )
    async with paged(tmp_path, two=("text/html", text)) as there:
        first, again = Heard(keep=False), Heard()
        with pytest.raises(EngineFailed) as caught:
            await engine.fetch(there.fetch("http://pages.test/two"), first)
        await engine.fetch(there.fetch("http://pages.test/two", known=frozenset(first.keys)), again)

        assert (caught.value.failure.kind, caught.value.failure.code) == ("transient", "http_503")
        assert first.hashes == [there.site.media("clip.mp4").sha256]
        assert again.hashes == [there.site.media("second.mp4").sha256]
        assert again.skips == first.keys


async def test_cancelled_half_way_the_next_fetch_resumes(tmp_path, engine) -> None:
    """Cancelling ends the runner before it returns; the next fetch asks only for what is missing."""
    async with ground(tmp_path) as there:
        url = there.site.url("/watch/embed", "video.test", media="gate=half&gate_at=60000")
        heard = Heard()
        task, runner = await held(there, engine, url, "half", heard)
        async with asyncio.timeout(60):
            await heard.moved.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not psutil.pid_exists(runner.pid)

        there.site.release("half")
        await engine.fetch(there.fetch(url), heard)

        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert there.site.hits("/video/clip.mp4")[-1].start > 0


async def test_pieces_that_came_are_not_asked_for_again(tmp_path, engine) -> None:
    """An HLS download that was cancelled goes on with the pieces that are missing."""
    async with ground(tmp_path) as there:
        url = there.site.url("/hls/clip.m3u8", "video.test", media="gate=pieces&gate_at=30000")
        task, _ = await held(there, engine, url, "pieces")
        await there.site.reached("pieces", times=3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        there.site.release("pieces")
        heard = Heard()
        await engine.fetch(there.fetch(url), heard)
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(there.site.media("clip.mp4").body)

        assert pictures(heard.files[0].path) == pictures(clip)
        whole = [hit.path for hit in there.site.log if hit.path.startswith("/hls/clip-") and hit.sent > 30_000]
        assert len(whole) == len(set(whole))
        assert list(heard.files[0].path.parent.iterdir()) == [heard.files[0].path]


@pytest.mark.parametrize("noted", [True, False])
async def test_a_note_that_a_kill_left_wrong_does_no_harm(tmp_path, engine, noted) -> None:
    """What was already put together may have a piece twice or miss one: it is put together again, from the pieces."""
    async with ground(tmp_path) as there:
        url = there.site.url("/hls/clip.m3u8", "video.test", media="gate=note&gate_at=30000")
        heard = Heard()
        task, _ = await held(there, engine, url, "note", heard)
        await there.site.reached("note", times=3)
        async with asyncio.timeout(60):
            await heard.moved.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        media = tmp_path / "job" / "media"
        name = next(media.glob("*.mp4.part-Frag*")).name.partition(".part")[0]
        (media / f"{name}.part").write_bytes(b"twice" * 10_000)
        (media / f"{name}.ytdl").unlink(missing_ok=True)
        if noted:
            (media / f"{name}.ytdl").write_text('{"downloader": {"current_fragment": {"index": 2}}}')

        there.site.release("note")
        await engine.fetch(there.fetch(url), heard)
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(there.site.media("clip.mp4").body)

        assert pictures(heard.files[0].path) == pictures(clip)


async def test_a_runner_that_does_not_listen_is_killed(tmp_path, engine) -> None:
    """After its patience the group is killed; a stopped process can not answer the friendly request."""
    async with ground(tmp_path) as there:
        url = there.site.url("/watch/embed", "video.test", media="gate=stuck")
        task, runner = await held(there, engine, url, "stuck")
        runner.send_signal(signal.SIGSTOP)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert not psutil.pid_exists(runner.pid)


async def test_a_partial_file_that_is_whole_is_begun_again(tmp_path, engine) -> None:
    """The server answers 416 to a request behind the end; the file is fetched anew instead of failing for ever."""
    async with ground(tmp_path) as there:
        fetch = there.fetch(there.site.url("/watch/embed", "video.test"))
        whole = partial(fetch.work, CLIP_KEY)
        whole.parent.mkdir()
        whole.write_bytes(there.site.media("clip.mp4").body)
        heard = Heard()
        await engine.fetch(fetch, heard)

        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert [hit.status for hit in there.site.hits("/video/clip.mp4")][-1] == 200
        assert 416 in [hit.status for hit in there.site.hits("/video/clip.mp4")]


async def test_a_file_that_was_fetched_but_not_stored_is_handed_over_again(tmp_path, engine) -> None:
    """A crash between the last byte and storage costs no second download."""
    async with ground(tmp_path) as there:
        fetch, first, again = there.fetch(there.site.url("/watch/embed", "video.test")), Heard(), Heard()
        await engine.fetch(fetch, first)
        await engine.fetch(fetch, again)

        assert again.hashes == first.hashes
        assert len(there.site.hits("/video/clip.mp4")) == 1


def stubborn(folder: Path) -> tuple[Path, Path]:
    """An ffmpeg that answers questions, says who it is when it has work, and then neither works nor ends."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    real = imageio_ffmpeg.get_ffmpeg_exe()
    program.write_text(
        f"#!/bin/sh\ntrap '' INT TERM\n"
        f'case "$*" in *-y*file:*) echo $$ > {pipe}; while :; do sleep 60; done;; *) exec {real} "$@";; esac\n'
    )
    program.chmod(0o755)
    return program, pipe


@pytest.mark.parametrize("how", ["cancel", "zygote killed", "runner killed"])
async def test_what_a_runner_started_dies_with_it(tmp_path, how) -> None:
    """Cancelled, or with its parent or grandparent killed: no ffmpeg goes on writing into the folder of the next
    attempt, and the next job works."""
    program, pipe = stubborn(tmp_path)
    async with ground(tmp_path) as there, YtdlpEngine(tmp_path / "cache", ffmpeg=program) as engine:
        hls = there.site.url("/hls/clip.m3u8", "video.test")
        task = asyncio.create_task(engine.fetch(there.fetch(hls), Heard()))
        async with asyncio.timeout(60):
            ffmpeg = int(await asyncio.to_thread(pipe.read_text))
        zygote = engine.zygote
        assert zygote is not None
        (runner,) = psutil.Process(zygote).children()
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not psutil.pid_exists(runner.pid)
        else:
            os.kill(zygote if how == "zygote killed" else runner.pid, signal.SIGKILL)
            with pytest.raises(EngineFailed) as caught:
                await task
            assert (caught.value.failure.kind, caught.value.failure.code) == ("transient", "engine_lost")
        await ended(ffmpeg)

        heard = Heard()
        await engine.fetch(there.fetch(there.site.url("/watch/embed", "video.test"), work="next"), heard)
        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert (engine.zygote == zygote) == (how != "zygote killed")


async def test_a_runner_that_dies_leaves_the_others_alone(tmp_path, engine) -> None:
    """Each job has a process of its own."""
    async with ground(tmp_path) as there:
        heard = Heard()
        doomed, runner = await held(
            there, engine, there.site.url("/watch/embed", "video.test", media="gate=doomed"), "doomed"
        )
        other = asyncio.create_task(
            engine.fetch(
                there.fetch(there.site.url("/watch/embed", "video.test", media="gate=other"), work="other"), heard
            )
        )
        await there.site.reached("other")
        runner.kill()
        with pytest.raises(EngineFailed):
            await doomed
        there.site.release("other")
        await other

        assert heard.hashes == [there.site.media("clip.mp4").sha256]


async def test_children_are_told_no_secrets_and_have_limits(tmp_path, monkeypatch) -> None:
    """Neither environment nor command line of zygote and runner has anything of ours; no core file can be written."""
    monkeypatch.setenv("LONGSHORE_SECRET_KEY", "only-for-us")
    monkeypatch.setenv("http_proxy", "http://elsewhere.test")
    async with ground(tmp_path) as there, YtdlpEngine(tmp_path / "cache") as engine:
        url = there.site.url("/watch/embed", "video.test", media="gate=look")
        task, runner = await held(there, engine, url, "look")
        for pid in (sure(engine.zygote), runner.pid):
            assert set(told(pid)) <= ALLOWED
            assert not re.search(r"127\.0\.0\.1|only-for-us", Path(f"/proc/{pid}/cmdline").read_text())
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{runner.pid}/limits").read_text())
        assert os.getpgid(runner.pid) == runner.pid == os.getsid(runner.pid)
        assert runner.cwd().startswith(str(tmp_path / "job"))
        there.site.release("look")
        await task


async def test_the_zygote_goes_when_nobody_needs_it(tmp_path) -> None:
    """Idle, its memory is given back; the next job starts another."""
    async with ground(tmp_path) as there, YtdlpEngine(tmp_path / "cache", idle=0.2) as engine:
        assert engine.zygote is None
        assert await engine.suitable("https://vimeo.com/123456")
        await ended(sure(engine.zygote))
        assert engine.zygote is None

        heard = Heard()
        await engine.fetch(there.fetch(there.site.url("/watch/embed", "video.test")), heard)
        assert heard.hashes == [there.site.media("clip.mp4").sha256]


async def test_the_zygote_goes_with_the_engine(tmp_path) -> None:
    """Leaving the engine leaves no process behind."""
    async with YtdlpEngine(tmp_path / "cache") as engine:
        assert not await engine.suitable("https://files.test/watch")
        zygote = engine.zygote
        assert zygote is not None
    assert not psutil.pid_exists(zygote)


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("/watch/nothing", "content", "unsupported_url"),
        ("/watch/embed?fail=404", "content", "gone"),
        ("/watch/embed?fail=410", "content", "gone"),
        ("/watch/embed?fail=401", "auth_required", "auth_required"),
        ("/watch/embed?fail=403", "content", "forbidden"),
        ("/watch/embed?fail=500", "transient", "http_500"),
        ("/watch/embed?fail=503", "transient", "http_503"),
        ("/watch/embed?fail=429", "rate_limited", "http_429"),
        ("/watch/embed?media=fail%3D503", "transient", "http_503"),
        ("/watch/embed?media=fail%3D404", "content", "gone"),
        ("/watch/embed?media=cut%3D1000%26cut_times%3D0", "transient", "connection_lost"),
        ("/watch/embed?cut=10&cut_times=0", "transient", "connection_lost"),
        ("/redirect?to=http%3A%2F%2F169.254.169.254%2F", "permanent", "egress_refused"),
        ("/redirect?to=https%3A%2F%2F10.0.0.1%2F", "permanent", "egress_refused"),
        ("/redirect?to=http%3A%2F%2Fnowhere.invalid%2F", "host_down", "unreachable"),
    ],
)
async def test_failures_have_a_class_and_plain_words(tmp_path, engine, path, kind, code) -> None:
    """What went wrong decides whether the job tries again; the words name no tool, no folder and no command line."""
    async with ground(tmp_path) as there:
        failure = await there.failure(engine, f"http://video.test{path}")

        assert (failure.kind, failure.code) == (kind, code)
        assert not re.search(r"yt.?dlp|ffmpeg|--|\x1b|/tmp|Traceback", failure.message)


async def test_a_server_may_say_when_to_come_back(tmp_path, engine) -> None:
    """Retry-After becomes the earliest time of the next attempt."""
    async with ground(tmp_path) as there:
        failure = await there.failure(engine, "http://video.test/watch/embed?fail=429&retry_after=500")

        assert failure.retry_at is not None
        assert 400 < (failure.retry_at - datetime.now(UTC)).total_seconds() <= 500


async def test_a_live_stream_is_refused(tmp_path, engine) -> None:
    """A manifest without an end would fill the disk."""
    live = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:5,\nhttp://video.test/hls/clip-0.ts\n"
    async with paged(tmp_path, **{"live.m3u8": ("application/vnd.apple.mpegurl", live)}) as there:
        failure = await there.failure(engine, "http://pages.test/live.m3u8")

        assert (failure.kind, failure.code) == ("content", "live")


@pytest.mark.parametrize(
    "url",
    [
        "ytsearch5:cats",
        "file:///etc/passwd",
        "rtmp://video.test/live",
        "data:video/mp4;base64,AAAA",
        "cat dog",
        "http://video.test/x#__youtubedl_smuggle=%7B%22to_generic%22%3A+true%7D",
    ],
)
async def test_only_plain_links_reach_the_extractors(tmp_path, url) -> None:
    """Other schemes, searches and smuggled data are refused before anything is started."""
    async with ground(tmp_path) as there, YtdlpEngine(tmp_path / "cache") as engine:
        assert (await there.failure(engine, url)).code == "bad_link"
        assert engine.zygote is None


async def test_a_hostile_title_stays_out_of_paths(tmp_path, engine) -> None:
    """Title and id from a page never become part of a path; the file is inside the work folder."""
    text = '<html><title>../../../etc/cron.d/x</title><video src="http://video.test/video/../video/clip.mp4"></video>'
    async with paged(tmp_path, bad=("text/html", text)) as there:
        heard = Heard()
        await engine.fetch(there.fetch("http://pages.test/bad"), heard)
        (file,) = heard.files

        assert file.path.parent == tmp_path / "job" / "media"
        assert re.fullmatch(r"[0-9a-f]{24}\.mp4", file.path.name)


async def test_the_systems_programs_may_be_missing(tmp_path) -> None:
    """The ffmpeg of the wheel is found under its proper name where the system has none."""
    async with YtdlpEngine(tmp_path / "cache"):
        if shutil.which("ffmpeg") is None:
            assert (tmp_path / "cache" / "bin" / "ffmpeg").resolve() == Path(imageio_ffmpeg.get_ffmpeg_exe()).resolve()
