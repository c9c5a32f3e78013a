"""Clients that were written from the documents alone, run as programs of somebody else against an installation."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

CLIENTS = Path(__file__).parents[1] / "clients"
INTERVAL = 0.1
"""Seconds between two questions; the documents ask for two to five, or a minute."""


async def said(program: str, task: dict[str, Any], folder: Path) -> str:
    """What it prints, and why it ended if it did not end well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", CLIENTS / program, cwd=folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(100):
        out, _ = await process.communicate(json.dumps({**task, "interval": INTERVAL}).encode())
    return out.decode()


def links(site, count: int) -> list[str]:
    return [site.file(1000, f"{uuid4().hex}.bin") for _ in range(count)]


@pytest.mark.parametrize(("root", "auth"), [("", "header"), ("/api/jobs", "bearer")])
async def test_an_sdk_of_the_jobs_api_finds_everything_that_its_documents_promise(
    root: str, auth: str, user, site, tmp_path: Path
):
    name = f"{uuid4().hex}.bin"
    task = {
        "base": user.system.url + root,
        "key": user.keys["jobs"],
        "auth": auth,
        "link": site.file(200_000, name),
        "size": 200_000,
        "sha256": site.sha256(200_000, name),
        "gone": site.url("/status/404"),
        "links": links(site, 3),
        "video": site.url("/watch/embed"),
    }

    assert await said("jobs.py", task, tmp_path) == "ok\n"


async def test_the_extension_finds_everything_that_its_documents_promise(user, site, tmp_path: Path):
    task = {
        "base": user.system.url,
        "key": user.keys["gdluxx"],
        "links": links(site, 201),
        "gone": site.url("/status/404"),
        "gallery": "http://don.test/@alice",
        "link": links(site, 1)[0],
        "page": site.url("/html/page", disposition=f"{uuid4().hex}.bin"),
    }

    assert await said("gdluxx.py", task, tmp_path) == "ok\n"


@pytest.mark.parametrize("program", ["jobs.py", "gdluxx.py", "external.py"])
def test_a_client_knows_nothing_of_what_it_talks_to(program: str):
    nodes = list(ast.walk(ast.parse((CLIENTS / program).read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"requests"}
