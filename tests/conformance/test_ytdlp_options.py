"""What a user may choose, by what is in the file that comes of it: real yt-dlp and ffmpeg against the media site."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import psutil
import pytest
from aiohttp import web
from msgspec.structs import replace

from libs.egress.policy import EgressPolicy
from services.job.engines import Engine, EngineFailed
from services.job.engines.gallerydl import GalleryDlEngine
from services.job.engines.http import HttpEngine
from services.job.engines.routing import Router
from services.job.engines.ytdlp import YtdlpEngine
from tests.site import pictures
from tests.support.engines import Ground, Heard, ended, ground, pages, runner_of
from tests.support.sure import sure

pytestmark = pytest.mark.asyncio(loop_scope="session")

EMBED = "http://video.test/watch/embed"
FRAME = 0.06
"""Seconds by which a length may differ: a frame of the picture, or of the sound."""


class Probed(NamedTuple):
    box: str
    video: str | None
    audio: str | None
    shorter: int
    seconds: float
    said: str


async def probed(file: Path) -> Probed:
    """By what ffmpeg says of a file."""
    ffmpeg = await asyncio.create_subprocess_exec(
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(file)), stderr=asyncio.subprocess.PIPE
    )
    said = (await ffmpeg.communicate())[1].decode()
    video, audio = re.search(r"Video: (\w+).*?, (\d+)x(\d+)", said), re.search(r"Audio: (\w+)", said)
    hours, minutes, seconds = sure(re.search(r"Duration: (\d+):(\d+):([\d.]+)", said)).groups()
    return Probed(
        sure(re.search(r"Input #0, (\S+), from", said))[1],
        video and video[1],
        audio and audio[1],
        min(int(video[2]), int(video[3])) if video else 0,
        int(hours) * 3600 + int(minutes) * 60 + float(seconds),
        said,
    )


@asynccontextmanager
async def start(folder: Path, also: str = "", /, **texts: tuple[str, str]):
    async with pages(**texts) as allowed, ground(folder, also=",".join(filter(None, (also, allowed)))) as there:
        yield there


async def got(there: Ground, engine: YtdlpEngine, url: str = EMBED, **options) -> tuple[Heard, Probed]:
    heard = Heard()
    await engine.fetch(there.fetch(url, **options), heard)
    return heard, await probed(heard.files[0].path)


@pytest.mark.parametrize(
    ("container", "box", "video", "audio"),
    [
        ("mp4", "mov,mp4", "h264", "aac"),
        ("mov", "mov,mp4", "h264", "aac"),
        ("mkv", "matroska", "h264", "aac"),
        ("webm", "matroska,webm", "vp9", "opus"),
    ],
)
async def test_a_film_comes_in_the_container_that_was_asked_for(tmp_path, engine, container, box, video, audio) -> None:
    """What the container takes is not encoded anew; the ending is the container's."""
    async with start(tmp_path) as there:
        heard, film = await got(there, engine, container=container)

        assert heard.files[0].path.suffix == Path(heard.files[0].name).suffix == f".{container}"
        assert film.box.startswith(box)
        assert (film.video, film.audio, film.shorter) == (video, audio, 180)
        assert film.seconds == pytest.approx(2, abs=FRAME)


@pytest.mark.parametrize(("preferred", "suffix"), [("mkv", ".mkv"), ("webm", ".mp4"), ("mp4", ".mp4")])
async def test_a_container_that_is_preferred_is_worth_no_encoding(tmp_path, engine, preferred, suffix) -> None:
    """A film that does not fit as it is stays in its own."""
    async with start(tmp_path) as there:
        heard, film = await got(there, engine, preferred_container=preferred)
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(there.site.media("clip.mp4").body)

        assert heard.files[0].path.suffix == suffix
        assert (film.video, film.audio) == ("h264", "aac")
        assert pictures(heard.files[0].path) == pictures(clip)
        assert (heard.hashes == [there.site.media("clip.mp4").sha256]) == (suffix == ".mp4")


async def test_picture_and_sound_that_come_apart_are_put_into_one_container(tmp_path, engine) -> None:
    """As DASH has them; neither is encoded anew."""
    async with start(tmp_path) as there:
        heard, film = await got(there, engine, "http://video.test/dash/clip.mpd", container="mkv")
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(there.site.media("clip.mp4").body)

        assert (heard.files[0].path.suffix, film.box, film.audio) == (".mkv", "matroska,webm", "aac")
        assert pictures(heard.files[0].path) == pictures(clip)


async def test_what_is_as_it_was_asked_for_stays_as_it_is(tmp_path, engine) -> None:
    """An mp4 of h264 that is to be one is the file that the site has, byte for byte."""
    async with start(tmp_path) as there:
        heard, _ = await got(there, engine, container="mp4", video_codec="h264", audio_codec="aac")

        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert heard.stages == []


@pytest.mark.parametrize(
    ("options", "suffix", "audio"),
    [
        ({}, ".m4a", "aac"),
        ({"container": "m4a"}, ".m4a", "aac"),
        ({"container": "mp3"}, ".mp3", "mp3"),
        ({"container": "ogg"}, ".ogg", "opus"),
        ({"container": "opus"}, ".opus", "opus"),
        ({"audio_codec": "mp3"}, ".mp3", "mp3"),
        ({"container": "mkv", "audio_codec": "opus"}, ".mkv", "opus"),
    ],
)
async def test_sound_comes_alone_in_the_container_that_was_asked_for(tmp_path, engine, options, suffix, audio) -> None:
    """Without a picture, and as long as the film."""
    async with start(tmp_path) as there:
        heard, sound = await got(there, engine, audio_only=True, **options)

        assert heard.files[0].path.suffix == suffix
        assert (sound.video, sound.audio) == (None, audio)
        assert sound.seconds == pytest.approx(2, abs=FRAME)


@pytest.mark.parametrize(
    ("options", "suffix", "video", "audio"),
    [
        ({"video_codec": "h265"}, ".mp4", "hevc", "aac"),
        ({"video_codec": "vp9"}, ".mp4", "vp9", "aac"),
        ({"video_codec": "h265", "container": "mkv", "audio_codec": "mp3"}, ".mkv", "hevc", "mp3"),
        ({"audio_codec": "opus", "container": "mp4"}, ".mp4", "h264", "opus"),
    ],
)
async def test_picture_and_sound_are_encoded_as_asked(tmp_path, engine, options, suffix, video, audio) -> None:
    """Each codec of the vocabulary, in the file's own container where that takes it."""
    async with start(tmp_path) as there:
        heard, film = await got(there, engine, **options)

        assert heard.files[0].path.suffix == suffix
        assert (film.video, film.audio) == (video, audio)


async def test_sound_has_the_bit_rate_that_was_asked_for(tmp_path, engine) -> None:
    """In kbit/s, of an encoder that keeps to it."""
    async with start(tmp_path) as there:
        _, sound = await got(there, engine, audio_only=True, audio_codec="mp3", audio_bitrate=96)

        assert re.search(r"Audio: mp3.*, 96 kb/s", sound.said)


async def test_a_higher_rate_factor_is_a_smaller_picture(tmp_path, engine) -> None:
    """The same film, encoded twice."""
    async with start(tmp_path) as there:
        fine, _ = await got(there, engine, video_codec="h264", video_crf=18, work="fine")
        rough, _ = await got(there, engine, video_codec="h264", video_crf=45, work="rough")

        assert rough.files[0].size < fine.files[0].size / 2


async def test_of_several_sizes_the_largest_that_fits_is_taken(tmp_path, engine) -> None:
    """The shorter side counts, whichever it is; what is too large is not fetched."""
    variants = ((180, 320, "clip.m3u8"), (720, 1280, "no.m3u8"), (1280, 2276, "no.m3u8"))
    master = "#EXTM3U\n" + "".join(
        f"#EXT-X-STREAM-INF:BANDWIDTH={width * 2000},RESOLUTION={width}x{height}\nhttp://video.test/hls/{name}\n"
        for width, height, name in variants
    )
    async with start(tmp_path, **{"master.m3u8": ("application/vnd.apple.mpegurl", master)}) as there:
        heard, _ = await got(there, engine, "http://pages.test/master.m3u8", max_height=200)

        assert len(heard.files) == 1
        assert there.site.hits("/hls/no.m3u8") == []


async def test_what_is_too_large_in_every_size_is_scaled_down(tmp_path, engine) -> None:
    """Nothing that comes is larger than asked."""
    async with start(tmp_path) as there:
        _, film = await got(there, engine, max_height=144)

        assert (film.video, film.shorter) == ("h264", 144)
        assert "256x144" in film.said


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"clip_start": 0.7}, 1.3),
        ({"clip_start": 0.3, "clip_end": 1.05}, 0.75),
        ({"clip_start": 0.5, "clip_end": 1.5, "container": "webm"}, 1.0),
        ({"clip_start": 0.5, "clip_end": 1.5, "audio_only": True}, 1.0),
        ({"clip_start": 1, "clip_end": 100}, 1.0),
    ],
)
async def test_a_clip_has_the_length_between_its_ends(tmp_path, engine, options, seconds) -> None:
    """To the frame, wherever the key frames are."""
    async with start(tmp_path) as there:
        _, film = await got(there, engine, **options)

        assert film.seconds == pytest.approx(seconds, abs=FRAME)


async def test_a_clip_from_the_start_is_not_encoded_anew(tmp_path, engine) -> None:
    """It may have the two pictures more that its last one is made from."""
    async with start(tmp_path) as there:
        _, film = await got(there, engine, clip_end=0.9)

        assert film.seconds == pytest.approx(0.95, abs=2 * FRAME)
        assert film.video == "h264"


async def test_a_clip_of_pieces_is_cut_too(tmp_path, engine) -> None:
    """From HLS as from a file."""
    async with start(tmp_path) as there:
        _, film = await got(there, engine, "http://video.test/hls/clip.m3u8", clip_start=0.4, clip_end=1.2)

        assert film.seconds == pytest.approx(0.8, abs=FRAME)


async def test_a_film_that_was_cut_but_not_stored_is_not_cut_again(tmp_path, engine) -> None:
    """A later attempt hands over what the first one made."""
    async with start(tmp_path) as there:
        first, _ = await got(there, engine, clip_start=0.5)
        again, film = await got(there, engine, clip_start=0.5)

        assert again.hashes == first.hashes
        assert film.seconds == pytest.approx(1.5, abs=FRAME)
        assert len(there.site.hits("/video/clip.mp4")) == 1


@pytest.mark.parametrize(
    ("url", "options", "code"),
    [
        (EMBED, {"clip_start": 5}, "bad_clip"),
        (EMBED, {"clip_start": 5, "clip_end": 4}, "bad_options"),
        (EMBED, {"container": "mp3"}, "bad_options"),
        (EMBED, {"container": "webm", "video_codec": "h264"}, "bad_options"),
        (EMBED, {"container": "mp3", "audio_only": True, "audio_codec": "aac"}, "bad_options"),
    ],
)
async def test_what_can_not_be_is_said_for_good(tmp_path, engine, url, options, code) -> None:
    """No attempt will make a file of it, and the words name no tool."""
    async with start(tmp_path) as there:
        failure = await there.failure(engine, url, **options)

        assert (failure.kind in ("content", "permanent"), failure.code) == (True, code)
        assert not re.search(r"yt.?dlp|ffmpeg|--|/tmp", failure.message)


CAPTIONS = "WEBVTT\n\n00:00.000 --> 00:01.000\n{}\n"
FILM_PAGE = (
    '<html><title>Film</title><body><video poster="http://video.test/picture/photo.jpg" '
    'src="http://video.test/video/clip.mp4"><track kind="subtitles" srclang="en" src="/en.vtt">'
    '<track kind="subtitles" srclang="de" src="/de.{}"></video></body></html>'
)
ASS = (
    "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, "
    "Effect, Text\nDialogue: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,Guten Tag\n"
)


def film_page(german: str = "vtt", **more: tuple[str, str]) -> dict[str, tuple[str, str]]:
    texts = {
        "film": ("text/html", FILM_PAGE.format(german)),
        "en.vtt": ("text/vtt", CAPTIONS.format("Good day")),
        f"de.{german}": ("text/plain", ASS if german == "ass" else CAPTIONS.format("Guten Tag")),
    }
    return texts | more


def beside(heard: Heard, kind: str):
    (found,) = [file for file in heard.files if file.key.endswith(kind)]
    return found


@pytest.mark.parametrize(("german", "ending"), [("vtt", "vtt"), ("ass", "srt")])
async def test_subtitles_are_files_of_their_own(tmp_path, engine, german, ending) -> None:
    """One a language, after the film they belong to; what is in another form is made into one that is known."""
    async with start(tmp_path, **film_page(german)) as there:
        heard, _ = await got(there, engine, "http://pages.test/film", subtitles=True)
        film = heard.files[0]
        english, other = beside(heard, "subtitle en"), beside(heard, "subtitle de")

        assert heard.stages == []
        assert {english.key, other.key} == {f"{film.key} subtitle en", f"{film.key} subtitle de"}
        assert (english.name, english.media_type) == ("Film (1).en.vtt", "text/vtt")
        assert other.name == f"Film (1).de.{ending}"
        assert "Guten Tag" in other.path.read_text()
        assert len(heard.files) == 3


async def test_a_hostile_name_of_a_language_stays_out_of_paths(tmp_path, engine) -> None:
    """The film comes without what is called so."""
    text = FILM_PAGE.format("vtt").replace('srclang="de"', 'srclang="../../../de"')
    async with start(tmp_path, **film_page(film=("text/html", text))) as there:
        heard, _ = await got(there, engine, "http://pages.test/film", subtitles=True)

        assert [key.removeprefix(heard.keys[0]) for key in heard.keys] == ["", " subtitle en"]
        assert list(tmp_path.rglob("*de.vtt")) == []


async def test_a_subtitle_that_is_gone_does_not_take_the_film_along(tmp_path, engine) -> None:
    """It is reported as an item that failed, the others arrive."""
    texts = film_page()
    del texts["de.vtt"]
    async with start(tmp_path, **texts) as there:
        heard, _ = await got(there, engine, "http://pages.test/film", subtitles=True)

        assert heard.hashes[0] == there.site.media("clip.mp4").sha256
        assert list(heard.failures) == [f"{heard.keys[0]} subtitle de"]
        assert len(heard.files) == 2


async def test_a_thumbnail_is_a_file_of_its_own(tmp_path, engine) -> None:
    """The picture that the page shows before the film."""
    async with start(tmp_path, **film_page()) as there:
        heard, _ = await got(there, engine, "http://pages.test/film", thumbnail=True)
        picture = beside(heard, "thumbnail")

        assert (picture.name, picture.media_type) == ("Film (1).jpg", "image/jpeg")
        assert heard.hashes == [there.site.media(name).sha256 for name in ("clip.mp4", "photo.jpg")]


async def test_facts_are_a_file_of_their_own(tmp_path, engine) -> None:
    """What the site says of the film, without addresses of the media and without headers."""
    async with start(tmp_path, **film_page()) as there:
        heard, _ = await got(there, engine, "http://pages.test/film", sidecars=True, container="mkv")
        sidecar = beside(heard, "metadata")
        facts = json.loads(sidecar.path.read_text())

        assert (sidecar.name, sidecar.media_type) == ("Film (1).info.json", "application/json")
        assert (facts["title"], facts["webpage_url"]) == ("Film (1)", "http://pages.test/film")
        assert not {"url", "formats", "http_headers", "cookies"} & set(facts)


async def test_what_belongs_to_an_item_of_several_comes_before_it(tmp_path, engine) -> None:
    """A later attempt passes over an item that is stored, so what belongs to it is stored by then."""
    async with start(tmp_path) as there:
        first, again = Heard(keep=False), Heard(keep=False)
        url = "http://video.test/watch/two"
        await engine.fetch(there.fetch(url, sidecars=True), first)
        await engine.fetch(there.fetch(url, sidecars=True, known=frozenset(first.keys[:1])), again)

        assert [key.endswith("metadata") for key in first.keys] == [True, False, True, False]
        assert (again.skips, again.keys) == (first.keys[:1], first.keys[1:])


async def test_a_playlist_ends_where_the_user_has_what_follows(tmp_path, engine) -> None:
    """What this very job stored before does not count: the playlist goes on behind it."""
    page = "".join(f'<video src="http://files.test/file/{size}/clip.mp4"></video>' for size in range(1000, 1006))
    async with start(tmp_path, several=("text/html", f"<html><body>{page}</body></html>")) as there:
        url = "http://pages.test/several"
        every = Heard()
        await engine.fetch(there.fetch(url), every)
        had, own = Heard(), Heard()
        known = every.keys[1:5]
        await engine.fetch(there.fetch(url, work="other", had=known, stop_at_known=2), had)
        await engine.fetch(there.fetch(url, known=frozenset(known), had=(), stop_at_known=2), own)

        assert (had.keys, had.skips) == (every.keys[:1], every.keys[1:3])
        assert (own.keys, own.skips) == ([every.keys[0], every.keys[5]], every.keys[1:5])


async def test_only_what_its_site_names_is_known_to_other_jobs(tmp_path, engine) -> None:
    """The only film of a page has no name that another page's film could not have; what goes with a film has none."""
    page = '<html><body><video src="http://video.test/video/clip.mp4"></video>{}</body></html>'
    second = '<video src="http://video.test/video/second.mp4"></video>'
    texts = {"one": ("text/html", page.format("")), "two": ("text/html", page.format(second))}
    async with start(tmp_path, **texts) as there:
        one, two = Heard(), Heard()
        await engine.fetch(there.fetch("http://pages.test/one", sidecars=True), one)
        await engine.fetch(there.fetch("http://pages.test/two", sidecars=True, work="two"), two)

        assert [file.site for file in one.files] == [None, None]
        assert [file.site for file in two.files] == [None, "html5mediaembed"] * 2


async def test_a_live_stream_is_recorded_for_so_long_and_no_longer(tmp_path, engine) -> None:
    """A stream that never ends becomes a film that can be played."""
    async with start(tmp_path) as there:
        heard, film = await got(
            there, engine, "http://video.test/live/endless.m3u8", record_live=True, live_from_start=True, max_duration=1
        )

        assert (heard.files[0].path.suffix, film.video) == (".mp4", "h264")
        assert film.seconds == pytest.approx(1, abs=2 * FRAME)


async def test_a_live_stream_is_refused_unless_it_is_to_be_recorded(tmp_path, engine) -> None:
    """A length alone is no wish for a recording."""
    async with start(tmp_path) as there:
        failure = await there.failure(engine, "http://video.test/live/endless.m3u8", max_duration=1)

        assert (failure.kind, failure.code) == ("content", "live")


@pytest.mark.parametrize(("from_start", "seconds"), [(True, 2.0), (False, 1.5)])
async def test_a_live_stream_is_recorded_from_its_start_or_from_now(tmp_path, engine, from_start, seconds) -> None:
    """To its end; from now is three pieces back, as players do it."""
    async with start(tmp_path) as there:
        url = "http://video.test/live/ending.m3u8"
        _, film = await got(there, engine, url, record_live=True, live_from_start=from_start)

        assert film.seconds == pytest.approx(seconds, abs=2 * FRAME)


async def test_a_stream_that_has_not_begun_is_waited_for(tmp_path, engine) -> None:
    """Its manifest is not there at first; without the wish to wait that is the end."""
    async with start(tmp_path) as there:
        url = "http://video.test/live/ending.m3u8?fail=404&times={}"
        failure = await there.failure(engine, url.format(1), work="other", record_live=True)
        _, film = await got(there, engine, url.format(2), record_live=True, wait_for_live=True)

        assert failure.code == "gone"
        assert film.video == "h264"


async def test_a_recording_that_is_cancelled_leaves_nobody_behind(tmp_path, engine) -> None:
    """It says all the while how much there is; when it is cancelled, neither its process nor ffmpeg goes on."""
    async with start(tmp_path) as there:
        heard = Heard()
        fetch = there.fetch("http://video.test/live/endless.m3u8", record_live=True)
        task = asyncio.create_task(engine.fetch(fetch, heard))
        async with asyncio.timeout(30):
            while not heard.marks or not heard.marks[-1]["done"]:
                await heard.moved.wait()
                heard.moved.clear()
        runner = runner_of(engine, fetch)
        (ffmpeg,) = runner.children()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended(ffmpeg.pid)

        assert not psutil.pid_exists(runner.pid)
        assert heard.files == []
        assert {mark["total"] for mark in heard.marks} == {None}


async def test_a_recording_can_have_a_container(tmp_path, engine) -> None:
    """Live or not, a film is put into what was asked for."""
    async with start(tmp_path) as there:
        url = "http://video.test/live/ending.m3u8"
        heard, film = await got(there, engine, url, record_live=True, container="mkv")

        assert (heard.files[0].path.suffix, film.box) == (".mkv", "matroska,webm")


@asynccontextmanager
async def members():
    """A site that shows its film to those who have its cookie. Yields what opens it for the proxy."""

    async def film(request: web.Request) -> web.Response:
        if request.cookies.get("session") != "ours":
            raise web.HTTPForbidden
        answer = web.Response(
            text='<html><title>Members</title><video src="http://video.test/video/clip.mp4"></video></html>',
            content_type="text/html",
        )
        answer.set_cookie("session", "theirs")
        return answer

    app = web.Application()
    app.add_routes([web.get("/film", film)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"members.test=127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


COOKIES = "# Netscape HTTP Cookie File\nmembers.test\tFALSE\t/\tFALSE\t0\tsession\tours\n"


async def test_cookies_open_what_is_closed_to_others(tmp_path, engine) -> None:
    """The file is read and never written."""
    async with members() as allowed, start(tmp_path, allowed) as there:
        file = tmp_path / "job" / "cookies.txt"
        fetch = replace(there.fetch("http://members.test/film"), cookies=file)
        file.write_text(COOKIES)
        heard = Heard()
        await engine.fetch(fetch, heard)

        assert heard.hashes == [there.site.media("clip.mp4").sha256]
        assert file.read_text() == COOKIES
        assert (await there.failure(engine, "http://members.test/film", work="other")).code == "forbidden"


async def test_a_file_that_has_no_cookies_in_it_is_named(tmp_path, engine) -> None:
    """Rather than a login that seems to be wrong."""
    async with start(tmp_path) as there:
        file = tmp_path / "job" / "cookies.txt"
        fetch = replace(there.fetch(EMBED), cookies=file)
        file.write_text("\x00\x01 nothing\n")
        with pytest.raises(EngineFailed) as caught:
            await engine.fetch(fetch, Heard())

        assert caught.value.failure.code == "bad_cookies"


async def test_a_playlist_that_calls_itself_a_film_reads_no_file_of_ours(tmp_path, engine) -> None:
    """What comes is opened as what films are made of, not as a list of other files."""
    (tmp_path / "secret.ts").write_bytes(b"")
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    async with start(tmp_path, **{"bad.mp4": ("video/mp4", text)}) as there:
        heard = Heard()
        (tmp_path / "secret.ts").write_bytes(there.site.media("clip-0.ts").body)
        failure = None
        try:
            await engine.fetch(there.fetch("http://pages.test/bad.mp4", container="mkv"), heard)
        except Exception as error:  # noqa: BLE001  # either is fine, as long as nothing of it gets out
            failure = error

        assert failure is not None or heard.files[0].path.read_bytes() == text.encode()


@asynccontextmanager
async def routed(folder: Path, ytdlp: YtdlpEngine):
    """As a worker does it: engines in the order of the router, until one does not pass the link on."""
    async with (
        start(folder) as there,
        GalleryDlEngine(folder / "cache") as gallerydl,
        HttpEngine(EgressPolicy.parse(there.site.egress_allow)) as http,
    ):
        engines: dict[str, Engine] = {"http": http, "ytdlp": ytdlp, "gallerydl": gallerydl}
        router = Router(ytdlp, gallerydl, folder / "cache")

        async def run(url: str, **options) -> tuple[str, Heard]:
            fetch, heard = there.fetch(url, **options), Heard()
            order = await router.route(url, fetch.options)
            for name in order:
                try:
                    await engines[name].fetch(fetch, heard)
                except EngineFailed as failed:
                    if failed.failure.code != "not_mine":
                        raise
                else:
                    return name, heard
            raise AssertionError(order)

        yield there, run


@pytest.mark.parametrize(
    ("url", "options", "taker", "suffix"),
    [
        ("http://video.test/video/clip.mp4", {}, "http", ".mp4"),
        ("http://video.test/video/clip.mp4", {"container": "mkv"}, "ytdlp", ".mkv"),
        ("http://video.test/video/clip.mp4", {"preferred_container": "mkv"}, "http", ".mp4"),
        ("http://video.test/video/clip.mp4", {"clip_end": 1}, "ytdlp", ".mp4"),
        ("http://video.test/audio/tone.mp3", {"audio_codec": "opus"}, "ytdlp", ".opus"),
        ("http://video.test/watch/embed", {"video_codec": "vp9"}, "ytdlp", ".mp4"),
        ("http://video.test/picture/photo.jpg", {"container": "mkv"}, "http", ".jpg"),
        ("http://files.test/file/5000/a.zip", {"container": "mkv", "video_codec": "h264"}, "http", ".zip"),
        ("http://video.test/video/clip.mp4", {"container": "mkv", "engine": "http"}, "http", ".mp4"),
    ],
)
async def test_a_film_goes_to_who_can_make_of_it_what_was_asked(tmp_path, engine, url, options, taker, suffix) -> None:
    """By what the server says it is; everything else stays with whom it was, and so does what was chosen by name."""
    async with routed(tmp_path, engine) as (_, run):
        name, heard = await run(url, **options)

        assert (name, [Path(file.name).suffix for file in heard.files]) == (taker, [suffix])


async def test_facts_of_a_plain_file_are_a_file_of_their_own(tmp_path, engine) -> None:
    """After the file, with what the server said of it."""
    async with routed(tmp_path, engine) as (there, run):
        _, heard = await run("http://files.test/file/5000/a.zip", sidecars=True)
        facts = json.loads(heard.files[1].path.read_text())

        assert heard.keys == ["http", "http metadata"]
        assert heard.files[1].name == "a.zip.json"
        assert (facts["size"], facts["sha256"]) == (5000, there.site.sha256(5000, "a.zip"))
