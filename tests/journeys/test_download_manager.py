"""A download manager fetches a file host's file through us, pauses over a restart, and comes back too late."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from libs.message import new_id
from proto.unrestrict_proxy import AddHostAccount
from tests.journeys.test_clients import said
from tests.support.ports import own_port
from tests.support.programs import program
from tests.support.system import running

SIZE = 6_000_000
PATIENCE = 0.5
"""Seconds that the client waits before it gives up; plugins wait for ninety."""
ALLOW = "127.0.0.0/8"


async def fetched(*words: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return out.decode() if process.returncode else ""


@pytest.mark.timeout(200)
async def test_a_download_manager_finds_everything_that_its_documents_promise(hosts, tmp_path: Path, data: Path):
    gator = hosts.host("rapidgator")
    account = gator.add_account()
    file = gator.add_file("größe.mkv", SIZE, knobs={"rate": 1_000_000})
    offline = gator.add_file("gone.mkv", 1000, state="offline")
    port = own_port()
    task = {
        "base": f"http://127.0.0.1:{port}",
        "url": file.url,
        "alias": file.url.replace("rapidgator.net", "rg.to"),
        "offline": offline.url,
        "name": file.name,
        "size": SIZE,
        "sha256": file.sha256,
        "patience": PATIENCE,
    }
    with running(data, ALLOW, port=port) as system:
        task["key"], task["stranger"] = (system.user().keys["external"] for _ in range(2))
        async with system.operator() as (_, caller):
            await caller.command(
                AddHostAccount(
                    account_id=new_id(),
                    platform="rapidgator",
                    username=account.username,
                    secret=account.secret,
                    base_url=gator.base_url,
                )
            )
        assert await said("external.py", {**task, "phase": "begin"}, tmp_path) == "ok\n"
        link = json.loads((tmp_path / "state.json").read_text())["link"]
        (tmp_path / "curl.mkv").write_bytes((tmp_path / "half").read_bytes())
        aria2 = (
            program("aria2", "aria2c"),
            "-x16",
            "-s16",
            "-k1M",
            "-c",
            "--file-allocation=none",
            "-o",
            "aria2.mkv",
            link,
        )
        assert await fetched(*aria2, folder=tmp_path) == ""
        assert await fetched(program("curl"), "-sS", "-f", "-C", "-", "-o", "curl.mkv", link, folder=tmp_path) == ""
    with running(data, ALLOW, port=port):
        assert await said("external.py", {**task, "phase": "resume"}, tmp_path) == "ok\n"
    with running(data, ALLOW, port=port, LONGSHORE_DOWNLOAD_SECONDS="1"):
        assert await said("external.py", {**task, "phase": "late"}, tmp_path) == "ok\n"

    hashes = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("aria2.mkv", "curl.mkv")}
    assert hashes == dict.fromkeys(hashes, file.sha256)
    assert gator.count("resolve") == 1
