"""What the documents tell to type is typed, with real curl, Python and Node, against an installation."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from markdown_it import MarkdownIt

from tests.support.objects.s3 import moto
from tests.support.programs import program
from tests.support.system import PASSWORD, ROOT

DIALECTS = "services/gateway/dialects"
DOCUMENTS = ("README.md", f"{DIALECTS}/jobs/README.md", f"{DIALECTS}/gdluxx/README.md")
SHELL = "set -aeuo pipefail\n{}\nenv -0 > {}\n"
"""What is set is there for the next block."""


def blocks(document: str) -> Iterator[tuple[str, str]]:
    """(language, text), in order. Indented ones are for a shell; of those only what calls the API is of interest."""
    for token in MarkdownIt().parse((ROOT / document).read_text()):
        if token.type == "fence":
            yield token.info, token.content
        elif token.type == "code_block" and "curl" in token.content:
            yield "sh", token.content


def alike(found: Any, sample: Any) -> bool:
    """Whether it has the same fields with values of the same kinds."""
    if isinstance(sample, dict):
        return (
            isinstance(found, dict)
            and found.keys() == sample.keys()
            and all(alike(found[name], sample[name]) for name in sample)
        )
    if isinstance(sample, list):
        return isinstance(found, list) and bool(found) and all(alike(one, sample[0]) for one in found)
    return type(found) is type(sample)


class Reader:
    """Types what it reads, one block after the other in one folder."""

    def __init__(self, folder: Path, environment: dict[str, str], words: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.words = words

    async def type(self, language: str, text: str) -> str:
        """What is printed. Any end but a good one fails, and so does an answer of 400 and above."""
        for word, real in self.words.items():
            text = text.replace(word, real)
        kept = self.folder / ".environment"
        match language:
            case "sh":
                argv = ["bash", "-c", SHELL.format(text, kept)]
            case "python":
                argv = [sys.executable, "-I", "-c", text]
            case "javascript":
                argv = [program("nodejs", "node"), "--input-type=module", "-e", text]
            case _:
                raise AssertionError(f"nobody can type {language}")
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=self.folder, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
        assert process.returncode == 0, f"{text}\n{out.decode()}\n{errors.decode()}"
        if language == "sh":
            self.environment = dict(line.split("=", 1) for line in kept.read_text().split("\0") if line)
        return out.decode()


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bucket(document: str) -> Iterator[dict[str, str]]:
    """For a document that speaks of one."""
    if "s3.example.org" not in (ROOT / document).read_text():
        yield {"endpoint": "", "bucket": ""}
        return
    with moto() as storage:
        yield msgspec.to_builtins(storage.bucket().credentials)


@pytest.fixture
def reader(user, site, bucket: dict[str, str], tmp_path: Path) -> Reader:
    """Whose `uv run longshore` is this installation's, and whose curl takes no refusal for an answer."""
    program("curl")
    shim = tmp_path / "bin" / "uv"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nshift\nexec "$@" --user {user.name} --data {user.system.data}\n')
    shim.chmod(0o755)
    (tmp_path / ".curlrc").write_text("fail-with-body\nno-progress-meter\n")
    path = os.pathsep.join([str(shim.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    words = {
        "http://127.0.0.1:8000": user.system.url,
        "https://example.org/gallery": "http://don.test/@alice",
        "https://example.org/": site.file(1000, f"{uuid4().hex[:8]}-"),
        "https://s3.example.org": bucket["endpoint"],
        '"bucket": "films"': f'"bucket": "{bucket["bucket"]}"',
        '"username": "admin", "password": "..."': f'"username": "{user.name}", "password": "{PASSWORD}"',
    }
    return Reader(tmp_path, {"PATH": path, "CURL_HOME": str(tmp_path), "HOME": str(tmp_path)}, words)


async def test_what_a_document_tells_to_type_works_and_answers_as_it_says(document: str, reader: Reader):
    said = ""
    for language, text in blocks(document):
        if language == "json":
            assert alike(json.loads(said), json.loads(text)), said
        else:
            said = await reader.type(language, text)


def test_each_dialects_page_speaks_of_curl_python_and_node():
    for document in DOCUMENTS[1:]:
        assert {"sh", "python", "javascript", "json"} <= {language for language, _ in blocks(document)}
