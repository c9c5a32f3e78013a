"""Azure Blob Storage, by Azurite."""

from __future__ import annotations

import base64
import fcntl
import hmac
import html
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from services.storage.targets.credentials import Blob
from tests.support.objects.running import program
from tests.support.objects.storage import Storage

AZURITE = "3.37.0"


class NoAzurite(Exception):
    """It comes from npm, which is not here or can not get it."""


class Azurite:
    account = "examplestore"

    def __init__(self, url: str, key: str) -> None:
        self.url = f"{url}/{self.account}"
        self.key = key

    async def container(self, **fields: Any) -> BlobStorage:
        name = f"c-{secrets.token_hex(8)}"
        await self.call("PUT", name, restype="container")
        known = {"endpoint": self.url, "account_name": self.account, "account_key": self.key, "container": name}
        return BlobStorage(Blob(**{**known, **fields}), self)

    async def call(self, method: str, path: str, **query: str) -> str:
        """As the account's owner: signed with the shared key."""
        stamp = formatdate(usegmt=True)
        resource = f"/{self.account}/{self.account}/{path}"
        named = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        text = "\n".join(
            [method, *[""] * 11, f"x-ms-date:{stamp}", "x-ms-version:2020-12-06", resource + named]
        )  # fmt: skip
        mac = base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), "sha256")).decode()
        headers = {
            "x-ms-date": stamp,
            "x-ms-version": "2020-12-06",
            "Authorization": f"SharedKey {self.account}:{mac}",
            "Content-Type": "",
        }
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
            session.request(
                method, f"{self.url}/{path}", params=query,
                headers={name: value for name, value in headers.items() if value},
            ) as answer,
        ):  # fmt: skip
            body = await answer.text()
            assert answer.status < 300, body
            return body

    def sas(self) -> str:
        """Of the account, for everything, for a day."""
        fields = {
            "sp": "rwdlacup", "ss": "b", "srt": "sco", "st": "", "se": "2100-01-01T00:00:00Z", "sip": "",
            "spr": "https,http", "sv": "2020-12-06", "encryption": "",
        }  # fmt: skip
        text = "\n".join((self.account, *fields.values(), ""))
        mac = base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), "sha256")).decode()
        del fields["encryption"]
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in {**fields, "sig": mac}.items() if value)


class BlobStorage(Storage):
    credentials: Blob

    def __init__(self, credentials: Blob, server: Azurite) -> None:
        super().__init__(credentials)
        self.server = server

    async def _listed(self, **query: str) -> dict[str, int]:
        text = await self.server.call("GET", self.credentials.container, restype="container", comp="list", **query)
        blobs = re.findall(r"<Blob>.*?<Name>([^<]*)</Name>.*?<Content-Length>(\d+)<", text, re.DOTALL)
        return {html.unescape(name): int(size) for name, size in blobs}

    async def objects(self) -> dict[str, int]:
        return await self._listed()

    async def unfinished(self) -> list[str]:
        return sorted(set(await self._listed(include="uncommittedblobs")) - set(await self.objects()))


def azurite_program() -> Path:
    """Installed once for this account. Raises NoAzurite."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NoAzurite("npm is not here")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "longshore-tests" / f"azurite-{AZURITE}"
    cache.mkdir(parents=True, exist_ok=True)
    main = cache / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "whole").exists():
            argv = [npm, "install", "--ignore-scripts", "--no-fund", "--no-audit", "--prefix", str(cache)]
            argv += ["--fetch-retries", "0"]
            done = subprocess.run(
                [*argv, f"azurite@{AZURITE}"], capture_output=True, text=True, timeout=100, check=False
            )
            if done.returncode != 0:
                raise NoAzurite(f"npm can not install it: {done.stderr[-300:]}")
            (cache / "whole").touch()
    return main


@contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    main = azurite_program()
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    guard = folder / "guard.js"
    guard.write_text("process.stdin.resume().on('end', () => process.exit())")
    argv = [
        "node", "--require", str(guard), str(main), "--blobHost", "127.0.0.1", "--blobPort", "0",
        "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    accounts = f"{Azurite.account}:{key}"
    with program(argv, r"listens on (http://127\.0\.0\.1:\d+)", AZURITE_ACCOUNTS=accounts) as url:
        yield Azurite(url, key)
