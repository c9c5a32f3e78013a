"""What is served under `/download/`: who gets in, how many at once, and from where the bytes come."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Never, cast
from uuid import UUID, uuid4

import aiohttp
import pytest
from msgspec.structs import replace

from libs.bus import Unreachable
from libs.calls import Caller
from libs.http import listening
from libs.message import Refused, new_id
from libs.sealing import LinkSigner
from proto.storage import FileNotFound, LinkFile, ReadFile, StoredFile
from proto.unrestrict_proxy import HostLink
from services.unrestrict_proxy.app import Downloads, Files, Links, Serving
from services.unrestrict_proxy.links.admission import Admission
from tests.support.ports import own_port
from tests.support.programs import program

SECRET = "a secret of at least thirty-two characters"
LINK_ID = "AAAAAAAAAAAAAAAAAAAAA-"
OTHER_ID = "BBBBBBBBBBBBBBBBBBBBB_"
NOW = 1_800_000_000.0
CONTENT = bytes(range(256)) * 4000
HUGE = 2**40
OWNER = new_id()


class Storage:
    """Answers as the storage service does, and counts."""

    def __init__(self, *files: StoredFile, url: str = "", away: bool = False) -> None:
        self.files = {file.file_id: file for file in files}
        self.asked = 0
        self._url = url
        self._away = away

    async def query(self, message: Any, **_: Any) -> Any:
        self.asked += 1
        if self._away:
            raise Unreachable("storage")
        assert isinstance(message, ReadFile | LinkFile)
        if message.file_id not in self.files or self.files[message.file_id].owner != message.owner:
            raise Refused(FileNotFound(message="no such file", file_id=message.file_id))
        return self._url if isinstance(message, LinkFile) else self.files[message.file_id]


class Everybody:
    """Lets in whoever comes: how many may is tested in test_admission.py."""

    async def asked(self, link_id: str) -> None:
        """Counts nothing."""

    @asynccontextmanager
    async def connection(self, *_: Any) -> AsyncIterator[None]:
        yield


class Place:
    """A folder with one file, and links to it that are done."""

    def __init__(self, root: Path, *, size: int = len(CONTENT)) -> None:
        self.root = root
        (root / "files" / "owner").mkdir(parents=True)
        path = root / "files" / "owner" / "ä b.bin"
        if size == len(CONTENT):
            path.write_bytes(CONTENT)
        else:
            path.touch()
            os.truncate(path, size)  # sparse
        self.file = StoredFile(
            file_id=new_id(),
            owner=OWNER,
            job_id=new_id(),
            key="main",
            name="ä b.bin",
            location="owner/ä b.bin",
            size=size,
            sha256="a" * 64,
            media_type="video/mp4",
            stored_at=datetime.now(UTC),
        )
        self.storage = Storage(self.file)
        self.links: dict[str, HostLink] = {one: self.link(one, self.file.file_id) for one in (LINK_ID, OTHER_ID)}
        self.now = NOW

    def link(self, link_id: str, file_id: UUID) -> HostLink:
        return HostLink(
            link_id=link_id, owner=OWNER, job_id=new_id(), platform="rapidgator", host="rg.to", name="ä b.bin",
            size=self.file.size, state="done", ready=True, max_chunks=4, resumable=True, file_id=file_id,
            requested_at=datetime.fromtimestamp(NOW, UTC),
        )  # fmt: skip

    def path(self, link_id: str = LINK_ID, seconds: float = 60, keys: str = "1") -> str:
        token = LinkSigner(SECRET, "download", keys).token(link_id, int(NOW + seconds))
        return f"/download/{link_id}.{token}/whatever.bin"

    @asynccontextmanager
    async def served(
        self, *, keys: str = "1", admission: Any = None, accel: str = "", remote: Any = "redirect"
    ) -> AsyncIterator[str]:
        async def find(link_id: str) -> HostLink | None:
            return self.links.get(link_id)

        async def awaited(job_id: UUID, at: int) -> None:
            raise AssertionError("nothing grows here")

        port = own_port()
        async with aiohttp.ClientSession() as http:
            app = Downloads(
                Links(find=find, awaited=awaited),
                Files(cast("Caller", self.storage)),
                self.root,
                LinkSigner(SECRET, "download", keys),
                cast("Admission", admission or Everybody()),
                http,
                Serving(connections=4, accel=accel, remote=remote),
                clock=lambda: self.now,
            )
            async with listening("127.0.0.1", port, app):
                yield f"http://127.0.0.1:{port}"


async def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, allow_redirects=False) as got,
    ):
        return got.status, got.headers, await got.read()


async def test_whoever_has_the_address_has_the_file(tmp_path):
    place = Place(tmp_path)
    async with place.served() as url:
        status, headers, body = await asked(url + place.path(), Authorization="Bearer obb_wrong")
        again, _, part = await asked(url + place.path(), Range="bytes=-3")

    assert (status, body) == (200, CONTENT)
    assert headers["Content-Disposition"] == "attachment; filename=\"_ b.bin\"; filename*=UTF-8''%C3%A4%20b.bin"
    assert headers["ETag"] == f'"{LINK_ID}"'
    assert (again, part) == (206, CONTENT[-3:])
    assert place.storage.asked == 1


BROKEN: dict[str, tuple[Callable[[Place], str], int]] = {
    "another token": (lambda place: place.path()[:-20] + "x" + place.path()[-19:], 404),
    "another link's token": (lambda place: place.path().replace(LINK_ID, OTHER_ID), 404),
    "no token": (lambda _: f"/download/{LINK_ID}/whatever.bin", 404),
    "no link": (lambda place: place.path("C" * 22), 404),
    "nothing": (lambda _: "/download/", 404),
    "too late": (lambda place: place.path(seconds=-1), 410),
    "too late and unknown": (lambda place: place.path("C" * 22, seconds=-1), 404),
    "a key that was taken out": (lambda place: place.path(keys="0"), 404),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_wrong_or_old_address_is_answered_in_plain_words(case, tmp_path):
    place = Place(tmp_path)
    path, wanted = BROKEN[case]
    async with place.served() as url:
        status, headers, body = await asked(url + path(place))

    assert status == wanted
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"<" not in body
    assert "Location" not in headers


@pytest.mark.parametrize("state", ["pending", "downloading", "error", "expired"])
async def test_only_what_is_done_is_served(state, tmp_path):
    place = Place(tmp_path)
    place.links[LINK_ID] = replace(place.links[LINK_ID], state=state, ready=False)
    async with place.served() as url:
        assert (await asked(url + place.path()))[0] == 410


async def test_a_file_that_was_deleted_is_gone(tmp_path):
    place = Place(tmp_path)
    async with place.served() as url:
        assert (await asked(url + place.path()))[0] == 200
        (tmp_path / "files" / place.file.location).unlink()
        assert (await asked(url + place.path()))[0] == 410
    place.storage.files.clear()
    async with place.served() as url:
        assert (await asked(url + place.path()))[0] == 410


async def test_an_address_outlives_restarts_and_new_keys_until_its_own_is_taken_out(tmp_path):
    place = Place(tmp_path)
    before = place.path()
    statuses = []
    for keys in ("1", "1", "2,1", "2"):
        async with place.served(keys=keys) as url:
            statuses.append((await asked(url + before))[0])

    assert statuses == [200, 200, 200, 404]
    assert before == place.path()


async def test_what_began_in_time_is_sent_to_its_end(tmp_path):
    place = Place(tmp_path)
    async with (
        place.served() as url,
        aiohttp.ClientSession(read_bufsize=1024) as session,
        session.get(url + place.path()) as got,
    ):
        place.now = NOW + 120
        assert await got.read() == CONTENT
        assert (await asked(url + place.path()))[0] == 410


async def test_a_storage_that_is_away_is_worth_another_try(tmp_path):
    place = Place(tmp_path)
    place.storage = Storage(away=True)
    async with place.served() as url:
        status, headers, _ = await asked(url + place.path())

    assert (status, headers["Retry-After"]) == (503, "2")


async def test_a_disk_that_is_away_is_no_file_that_was_deleted(tmp_path):
    """A download manager gives a file up for good that it is told is gone."""
    place = Place(tmp_path)
    (tmp_path / "files").rename(tmp_path / "elsewhere")
    (tmp_path / "files").touch()
    async with place.served() as url:
        status, headers, _ = await asked(url + place.path())

    assert (status, headers["Retry-After"]) == (503, "2")


async def test_a_database_that_is_away_is_worth_another_try(tmp_path):
    place = Place(tmp_path)
    async with place.served() as url:
        place.links = Gone()
        status, headers, _ = await asked(url + place.path())

    assert (status, headers["Retry-After"]) == (503, "2")


class Gone(dict[str, HostLink]):
    def get(self, link_id: str, _: object = None) -> Never:
        raise ConnectionRefusedError(link_id)


async def test_other_methods_are_refused(tmp_path):
    async with Place(tmp_path).served() as url:
        status, headers, _ = await asked(url + "/download/x", "POST")

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def test_object_storage_is_where_a_client_is_sent_on_to(tmp_path):
    place = Place(tmp_path)
    afar = replace(place.file, target_id=new_id(), provider="s3", bucket="b")
    place.storage = Storage(afar, url="https://s3.example.org/b/a?signed")
    async with place.served() as url:
        status, headers, _ = await asked(url + place.path())

    assert (status, headers["Location"]) == (302, "https://s3.example.org/b/a?signed")


async def test_object_storage_is_read_from_and_sent_on(tmp_path, site):
    size = 300_000
    place = Place(tmp_path)
    there = site.file(size, "afar.bin")
    afar = replace(place.file, target_id=new_id(), provider="s3", bucket="b", size=size)
    place.storage = Storage(afar, url=there)
    async with place.served(remote="stream") as url:
        _, _, wanted = await asked(there)
        status, headers, body = await asked(url + place.path())
        _, _, part = await asked(url + place.path(), Range="bytes=1000-250000")

    assert (status, body, part) == (200, wanted, wanted[1000:250001])
    assert headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(("size", "knobs"), [(300_000, {"cut": 250_000}), (250_000, {})])
async def test_object_storage_that_sends_something_else_ends_the_connection(size, knobs, tmp_path, site):
    place = Place(tmp_path)
    afar = replace(place.file, target_id=new_id(), provider="s3", bucket="b", size=300_000)
    place.storage = Storage(afar, url=site.file(size, f"{uuid4().hex}.bin", **knobs))
    async with place.served(remote="stream") as url:
        with pytest.raises(aiohttp.ClientPayloadError):
            await asked(url + place.path())


async def test_object_storage_that_sends_nothing_is_worth_another_try(tmp_path, site):
    place = Place(tmp_path)
    afar = replace(place.file, target_id=new_id(), provider="s3", bucket="b", size=300_000)
    statuses = []
    for url in (site.file(300_000, f"{uuid4().hex}.bin", ranges=0), site.url("/status/403")):
        place.storage = Storage(afar, url=url)
        async with place.served(remote="stream") as served:
            for header in ("bytes=0-", "bytes=0-1,5-6"):
                status, headers, _ = await asked(served + place.path(), Range=header)
                statuses.append((status, headers["Retry-After"]))

    assert statuses == [(503, "2")] * 4


NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 64; }}
http {{
    access_log off; default_type application/octet-stream;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {ours}
    }}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, upstream: str, root: Path) -> AsyncIterator[str]:
    """With the locations that `deploy/nginx-download.conf` gives an operator."""
    folder.mkdir()
    shipped = (Path(__file__).parents[2] / "deploy" / "nginx-download.conf").read_text()
    ours = shipped.replace("http://unrestrict-proxy:8000", upstream).replace("/data/files/", f"{root}/")
    port = own_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, ours=ours, user=user))
    process = await asyncio.create_subprocess_exec(
        program("nginx-light", "nginx"), "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)  # the interval of a probe
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def test_nginx_sends_the_file_when_it_is_told_to(tmp_path):
    place = Place(tmp_path)
    async with (
        place.served(accel="/kept") as ours,
        nginx(tmp_path / "nginx", ours, tmp_path / "files") as url,
    ):
        status, headers, body = await asked(url + place.path())
        again, part_headers, part = await asked(url + place.path(), Range="bytes=100-199")
        several, _, _ = await asked(url + place.path(), Range="bytes=0-1,5-6")
        direct, _, _ = await asked(f"{url}/kept/{place.file.location}")
        wrong, wrong_headers, _ = await asked(url + place.path("C" * 22))

    assert (status, body) == (200, CONTENT)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "X-Accel-Redirect" not in headers
    assert (again, part, part_headers["Content-Range"]) == (206, CONTENT[100:200], f"bytes 100-199/{len(CONTENT)}")
    assert several == 206
    assert direct == 404
    assert (wrong, wrong_headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
