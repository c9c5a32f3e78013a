"""The test media site does what it says, for plain clients and for the real extractors."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from base64 import b64encode
from pathlib import Path

import aiohttp
import imageio_ffmpeg
import pytest

from tests.site import HOSTILE_NAMES, MediaSite, SiteProcess, content, pictures, png

SIZE = 300_000


async def run(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(100):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def read_until_broken(answer: aiohttp.ClientResponse) -> bytes:
    """All that arrives before the connection breaks."""
    got = bytearray()
    with pytest.raises(aiohttp.ClientError):
        await read_into(got, answer)
    return bytes(got)


async def read_into(got: bytearray, answer: aiohttp.ClientResponse) -> None:
    async for piece in answer.content.iter_any():
        got += piece


async def test_a_file_has_the_announced_hash_whole_and_in_ranges() -> None:
    """Any range of a file is a part of the whole, and the whole has the hash that the site foretells."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        async with client.get(site.file(SIZE, "a.bin")) as answer:
            whole, etag = await answer.read(), answer.headers["ETag"]
        ranges = {"bytes=100-199": whole[100:200], "bytes=299990-": whole[-10:], "bytes=-7": whole[-7:]}
        for asked, expected in ranges.items():
            async with client.get(site.file(SIZE, "a.bin"), headers={"Range": asked, "If-Range": etag}) as answer:
                assert (answer.status, await answer.read()) == (206, expected)
        async with client.get(site.file(SIZE, "a.bin"), headers={"Range": "bytes=300000-"}) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */300000")
        async with client.head(site.file(SIZE, "a.bin")) as answer:
            assert answer.content_length == SIZE

        assert digest(whole) == site.sha256(SIZE, "a.bin")
        assert [(hit.method, hit.range, hit.status, hit.sent, hit.ended) for hit in site.log[:2]] == [
            ("GET", None, 200, SIZE, "whole"),
            ("GET", "bytes=100-199", 206, 100, "whole"),
        ]


async def test_different_names_have_different_bytes() -> None:
    """A file stored under another's name is noticed by its hash."""
    assert bytes(content("a", 0, 100)) != bytes(content("b", 0, 100))


async def test_a_cut_delivers_exactly_its_bytes_and_then_lets_the_client_resume() -> None:
    """After `cut` bytes the connection is reset; asked again from there, the rest completes the file."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        address = site.file(SIZE, "cut.bin", cut=123_456)
        async with client.get(address) as answer:
            got = await read_until_broken(answer)
        async with client.get(address, headers={"Range": f"bytes={len(got)}-"}) as answer:
            got += await answer.read()

        assert digest(got) == site.sha256(SIZE, "cut.bin")
        assert [(hit.start, hit.sent, hit.ended) for hit in site.log] == [
            (0, 123_456, "cut"),
            (123_456, SIZE - 123_456, "whole"),
        ]


async def test_a_changing_file_is_another_one_after_a_break() -> None:
    """Resuming with If-Range gets the whole new file, because the old one is gone."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        address = site.file(SIZE, "new.bin", cut=1000, etag="changing")
        async with client.get(address) as answer:
            etag = answer.headers["ETag"]
            await read_until_broken(answer)
        async with client.get(address, headers={"Range": "bytes=1000-", "If-Range": etag}) as answer:
            body = await answer.read()

            assert (answer.status, digest(body)) == (200, site.sha256(SIZE, "new.bin", version=2))


async def test_a_changing_file_is_another_one_after_the_client_left() -> None:
    """A client that goes away half way finds a new file when it comes back."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        address = site.file(SIZE, "away.bin", gate="away", etag="changing")
        async with client.get(address):
            await site.reached("away")
        await site.until(lambda log: log[0].ended == "gone", timeout=60)
        site.release("away")
        async with client.get(address) as answer:
            body = await answer.read()

            assert digest(body) == site.sha256(SIZE, "away.bin", version=2)


async def test_failures_come_as_often_as_asked_for() -> None:
    """`fail` and `status` answer the first `times` requests, with Retry-After, and the file afterwards."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        for path, failing in (("a?fail=503&times=3", 503), ("b?status=429&times=1&retry_after=2", 429)):
            seen = []
            for _ in range(4):
                async with client.get(site.url(f"/file/10/{path}")) as answer:
                    seen.append((answer.status, answer.headers.get("Retry-After")))

            times, wait = (3, None) if failing == 503 else (1, "2")
            assert seen == [(failing, wait)] * times + [(200, None)] * (4 - times)


@pytest.mark.parametrize(("length", "announced"), [("wrong", SIZE + 1000), ("short", SIZE - 1000), ("none", None)])
async def test_the_length_can_lie(length: str, announced: int | None) -> None:
    """A Content-Length that is too long breaks the body off, a short one truncates it, none is chunked."""
    async with (
        MediaSite.start() as site,
        aiohttp.ClientSession() as client,
        client.get(site.file(SIZE, "lie.bin", length=length)) as answer,
    ):
        got = await (read_until_broken(answer) if length == "wrong" else answer.read())

        assert answer.content_length == announced
        assert len(got) == min(SIZE, announced or SIZE)


async def test_a_gate_holds_the_response_until_released() -> None:
    """Half of the file is there, the rest comes with the release; the log knows how far a held response is."""
    async with (
        MediaSite.start() as site,
        aiohttp.ClientSession() as client,
        client.get(site.file(SIZE, "held.bin", gate="half")) as answer,
    ):
        await site.reached("half")
        assert (site.log[0].sent, site.log[0].ended) == (SIZE // 2, "open")
        site.release("half")

        assert digest(await answer.read()) == site.sha256(SIZE, "held.bin")


async def test_a_client_that_leaves_a_gate_is_seen_leaving() -> None:
    """The hit of an abandoned response ends as gone, with the bytes that were sent."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        async with client.get(site.file(SIZE, "left.bin", gate="never", gate_at=1000)):
            await site.reached("never")
        await site.until(lambda log: log[0].ended != "open", timeout=60)

        assert (site.log[0].sent, site.log[0].ended) == (1000, "gone")


async def test_an_endless_file_does_not_end() -> None:
    """More and more comes until the client has enough."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        async with client.get(site.url("/endless/e.bin")) as answer:
            for _ in range(20):
                assert len(await answer.content.readexactly(1 << 20)) == 1 << 20
        await site.until(lambda log: log[0].ended == "gone", timeout=60)


@pytest.mark.parametrize("kind", HOSTILE_NAMES)
async def test_every_hostile_name_can_be_sent(kind: str) -> None:
    """Each name arrives in a Content-Disposition that a client can parse back to it."""
    async with (
        MediaSite.start() as site,
        aiohttp.ClientSession() as client,
        client.get(site.file(10, "x", disposition=kind)) as answer,
    ):
        assert answer.content_disposition is not None
        assert answer.content_disposition.parameters["filename*"] == HOSTILE_NAMES[kind]


async def test_odd_paths_answer_as_documented() -> None:
    """Redirect chains, status pages, credentials and misspelt knobs."""
    async with MediaSite.start() as site, aiohttp.ClientSession() as client:
        cases = {
            "/status/404": 404,
            "/status/410": 410,
            "/status/403": 403,
            "/status/401": 401,
            "/no/such/page": 404,
            "/html/film.zip": 200,
            "/file/10/a?gaet=x": 400,
            "/file/10/a?auth=me:secret": 401,
            "/file/10/a?cookie=sid:1": 403,
        }
        for path, status in cases.items():
            async with client.get(site.url(path)) as answer:
                assert (path, answer.status) == (path, status)
        chain = site.url("/redirect", to="http://169.254.169.254/", hops=2)
        for _ in range(3):
            async with client.get(chain, allow_redirects=False) as answer:
                chain = (
                    answer.headers["Location"]
                    if "//" in answer.headers["Location"][:8]
                    else site.url(answer.headers["Location"])
                )
        assert chain == "http://169.254.169.254/"
        basic = {"Authorization": "Basic " + b64encode(b"me:secret").decode()}
        async with client.get(site.file(10, "a", auth="me:secret"), headers=basic) as answer:
            assert answer.status == 200


async def test_the_site_as_a_process_tells_what_it_was_asked(tmp_path: Path) -> None:
    """Another process serves the same bytes, obeys its gates over HTTP, and its log is read from the file."""
    async with (
        SiteProcess.start(tmp_path) as site,
        aiohttp.ClientSession() as client,
        client.get(site.file(SIZE, "p.bin", gate="there")) as answer,
    ):
        await site.reached("there")
        assert [hit.ended for hit in site.log] == ["open"]
        await site.release("there")
        assert digest(await answer.read()) == site.sha256(SIZE, "p.bin")
    [hit] = site.hits(f"/file/{SIZE}/p.bin")

    assert (hit.sent, hit.ended) == (SIZE, "whole")


YT_DLP = {
    "/video/clip.mp4": ["clip.mp4"],
    "/hls/clip.m3u8": ["clip.mp4"],
    "/hls/master.m3u8": ["clip.mp4"],
    "/dash/clip.mpd": ["clip.mp4"],
    "/watch/embed": ["clip.mp4"],
    "/watch/sources": ["clip.mp4"],
    "/watch/og": ["clip.mp4"],
    "/watch/jsonld": ["clip.mp4"],
    "/watch/two": ["clip.mp4", "second.mp4"],
    "/feed.rss": ["clip.mp4", "tone.mp3"],
    "/redirect?to=/video/clip.mp4": ["clip.mp4"],
    "/hls/clip.m3u8?media=fail%3D503%26times%3D1": ["clip.mp4"],
    "/dash/clip.mpd?media=rate%3D1000000%26etag%3Dnone": ["clip.mp4"],
}


async def test_yt_dlp_downloads(tmp_path: Path) -> None:
    """The real program gets the very pictures and sounds of every link, whatever the container."""
    async with MediaSite.start() as site:
        options = ["-o", "%(autonumber)s.%(ext)s", "--ffmpeg-location", imageio_ffmpeg.get_ffmpeg_exe()]
        links = [site.url(path) for path in YT_DLP]
        await run(sys.executable, "-m", "yt_dlp", "--ignore-config", *options, *links, cwd=tmp_path)
        got = iter(files_in(tmp_path))
        found = {path: [shown(next(got)) for _ in names] for path, names in YT_DLP.items()}
        media = {name: originally(site, name, tmp_path) for names in YT_DLP.values() for name in names}

        assert found == {path: [media[name] for name in names] for path, names in YT_DLP.items()}
        assert list(got) == []


def shown(file: Path) -> str:
    return digest(file.read_bytes()) if file.suffix == ".mp3" else pictures(file)


def originally(site: MediaSite, name: str, folder: Path) -> str:
    original = folder / f"original-{name}"
    original.write_bytes(site.media(name).body)
    return shown(original)


def arts(prefix: str, count: int) -> list[bytes]:
    return [png(f"{prefix}-{number}") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("software", "path", "pngs", "made"),
    [
        ("mastodon", "/@alice", arts("alice", 3), ["photo.jpg", "clip.mp4"]),
        ("mastodon", "/@alice/77", arts("alice", 2), []),
        ("mastodon", "/@many-50", arts("many-50", 50), []),
        ("moebooru", "/post?tags=cat", arts("cat", 3), []),
        ("moebooru", "/post?tags=many_45", arts("many_45", 45), []),
        ("vichan", "/b/res/1.html", [png("1767323045001"), png("1767323045003")], ["photo.jpg"]),
    ],
)
async def test_gallery_dl_downloads(
    software: str, path: str, pngs: list[bytes], made: list[str], tmp_path: Path
) -> None:
    """The real program gets every file of the gallery, byte for byte."""
    async with MediaSite.start() as site:
        address = f"{software}:{site.url(path)}"
        await run(sys.executable, "-m", "gallery_dl", "--config-ignore", "-d", ".", address, cwd=tmp_path)

        expected = [digest(body) for body in pngs] + [site.media(name).sha256 for name in made]
        assert sorted(digest(file.read_bytes()) for file in files_in(tmp_path)) == sorted(expected)


async def test_gallery_dl_reads_a_board_of_a_configured_instance(tmp_path: Path) -> None:
    """The board address works only for an instance that the configuration knows."""
    async with MediaSite.start() as site:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"extractor": {"vichan": {"local": {"root": site.url("")}}}}))
        command = ["-m", "gallery_dl", "--config-ignore", "-c", str(config), "-d", "out", site.url("/b/")]
        await run(sys.executable, *command, cwd=tmp_path)

        assert len(files_in(tmp_path / "out")) == 3
