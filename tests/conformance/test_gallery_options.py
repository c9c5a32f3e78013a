"""What a user may choose about a gallery, by what the real gallery-dl makes of it against the media site."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace

from services.job.engines import EngineFailed
from services.job.engines.gallerydl import GalleryDlEngine
from tests.site import png
from tests.support.engines import Heard, ground

CAT = "http://booru.test/post?tags=cat"
MANY = "http://don.test/@many-50"


@asynccontextmanager
async def gallery(folder: Path, instances: str = "mastodon=http://don.test,moebooru=http://booru.test", also: str = ""):
    async with ground(folder, also=also) as there, GalleryDlEngine(folder / "cache", instances) as engine:
        yield there, engine


async def test_facts_of_each_item_are_a_file_of_their_own(tmp_path) -> None:
    """As JSON, before the item they belong to, without anything that is only for the program itself."""
    async with gallery(tmp_path) as (there, engine):
        heard = Heard()
        await engine.fetch(there.fetch(CAT, sidecars=True), heard)
        sidecars, pictures = heard.files[::2], heard.files[1::2]
        facts = [json.loads(file.path.read_text()) for file in sidecars]

        assert [file.key for file in sidecars] == [f"{file.key} metadata" for file in pictures]
        assert [file.name for file in sidecars] == [f"{file.name}.json" for file in pictures]
        assert {file.media_type for file in sidecars} == {"application/json"}
        assert [one["id"] for one in facts] == [3, 2, 1]
        assert not [name for one in facts for name in one if name.startswith("_")]


async def test_facts_come_with_a_file_that_was_fetched_but_not_stored(tmp_path) -> None:
    """A crash between the last byte and storage loses neither."""
    async with gallery(tmp_path) as (there, engine):
        first, again = Heard(), Heard()
        await engine.fetch(there.fetch(CAT, sidecars=True), first)
        await engine.fetch(there.fetch(CAT, sidecars=True), again)

        assert again.keys == first.keys
        assert len(there.site.hits("/art/cat-1.png")) == 1


async def test_facts_that_are_stored_are_not_stored_again(tmp_path) -> None:
    """Though their picture was not."""
    async with gallery(tmp_path) as (there, engine):
        first, again = Heard(keep=False), Heard()
        await engine.fetch(there.fetch(CAT, sidecars=True), first)
        await engine.fetch(there.fetch(CAT, sidecars=True, known=frozenset(first.keys[:1])), again)

        assert again.skips == first.keys[:1]
        assert again.keys == first.keys[1:]


async def test_what_the_user_has_from_other_jobs_is_not_asked_for(tmp_path) -> None:
    """Nor counted as fetched; what is new has its site's name, under which other jobs know it."""
    async with gallery(tmp_path) as (there, engine):
        every, again = Heard(), Heard()
        await engine.fetch(there.fetch(CAT), every)
        await engine.fetch(there.fetch(CAT, work="other", had=every.keys[1:]), again)

        assert (again.keys, again.skips) == (every.keys[:1], every.keys[1:])
        assert {file.site for file in every.files} == {"booru_test"}
        assert len(there.site.hits("/art/cat-1.png")) == 1


async def test_a_gallery_ends_where_the_user_has_what_follows(tmp_path) -> None:
    """After so many in a row; what is older is not even looked up."""
    async with gallery(tmp_path) as (there, engine):
        every, had = Heard(), Heard()
        await engine.fetch(there.fetch(MANY), every)
        looked = len([hit for hit in there.site.log if hit.path.endswith("/statuses") or "/statuses?" in hit.path])
        await engine.fetch(there.fetch(MANY, work="other", had=every.keys[2:], stop_at_known=3), had)
        again = [hit for hit in there.site.log if hit.path.endswith("/statuses") or "/statuses?" in hit.path][looked:]

        assert (had.keys, had.skips) == (every.keys[:2], every.keys[2:5])
        assert (looked, len(again)) == (2, 1)


async def test_what_the_job_itself_stored_does_not_end_its_gallery(tmp_path) -> None:
    """An attempt that was broken off goes on behind what came of it."""
    async with gallery(tmp_path) as (there, engine):
        first, again = Heard(keep=False), Heard()
        await engine.fetch(there.fetch(MANY, max_items=10), first)
        await engine.fetch(there.fetch(MANY, known=frozenset(first.keys), had=(), stop_at_known=3), again)

        assert again.skips == first.keys
        assert len(again.files) == 40


@pytest.mark.parametrize("text", ["# Netscape HTTP Cookie File\nother.test\tFALSE\t/\tFALSE\t0\tsession\tours\n", None])
async def test_cookies_open_what_is_closed_to_others(tmp_path, text) -> None:
    """The file is read and never written."""
    async with (
        members() as allowed,
        gallery(tmp_path, "mastodon=http://other.test", allowed) as (there, engine),
    ):
        fetch, heard, failed = there.fetch("http://other.test/@eve/5"), Heard(), None
        file = fetch.work / "cookies.txt"
        if text is not None:
            file.write_text(text)
            fetch = replace(fetch, cookies=file)
        try:
            await engine.fetch(fetch, heard)
        except EngineFailed as error:
            failed = error.failure.code

        expected = ([hashlib.sha256(png("eve-1")).hexdigest()], None) if text else ([], "auth_required")
        assert (heard.hashes, failed) == expected
        assert text is None or file.read_text() == text


async def test_nothing_of_a_user_is_in_the_settings(tmp_path) -> None:
    """Names, folders, labels and addresses that were chosen are no business of the program's."""
    words = {"filename": "MARK", "directory": ("MARK",), "labels": {"MARK": "MARK"}, "webhook_url": "http://MARK"}
    async with gallery(tmp_path) as (there, engine):
        await engine.fetch(there.fetch(CAT, sidecars=True, had=(), stop_at_known=5, **words), Heard())

        assert not re.search("MARK", (tmp_path / "job" / "gallery.json").read_text())


@asynccontextmanager
async def members():
    """A Mastodon that shows its post to those who have its cookie, and gives everybody another one."""

    async def answer(request: web.Request) -> web.Response:
        if request.cookies.get("session") != "ours":
            return web.json_response({"error": "This method requires an authenticated user"}, status=401)
        found = web.json_response(
            {
                "id": "5",
                "uri": "x",
                "reblog": None,
                "in_reply_to_id": None,
                "account": {"id": "1", "acct": "eve", "username": "eve"},
                "tags": [],
                "created_at": "2026-01-02T03:04:05.000Z",
                "media_attachments": [{"id": "51", "url": "http://files.test/art/eve-1.png"}],
            }
        )
        found.set_cookie("other", "theirs")
        return found

    app = web.Application()
    app.add_routes([web.get("/api/v1/statuses/5", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"other.test=127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
