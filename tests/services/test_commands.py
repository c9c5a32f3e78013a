"""What the command line says to what can not be done."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.support.system import ROOT, longshore

REFUSED = [
    (
        ("get", "http://files.test/a", "ftp://files.test/b"),
        1,
        "ftp://files.test/b: only http and https links are taken.",
    ),
    (("job", "9" * 30), 1, f"{'9' * 30} is neither a job's number nor its id."),
    (("user", "add", "somebody", "--password-stdin"), 2, "there is no password on stdin."),
    (("dead-letters", "redrive"), 2, "say which letter, or --all."),
    (("dead-letters", "show", "nobody.jobs:1"), 2, "no service has a consumer nobody.jobs."),
    (("dead-letters", "drop", "gateway.jobs:1"), 1, "gateway.jobs has put aside no event 1."),
]


@pytest.mark.parametrize(("words", "status", "told"), REFUSED)
def test_what_can_not_be_done_is_said_in_a_sentence_of_its_own(system, words: tuple[str, ...], status: int, told: str):
    done = subprocess.run(
        [sys.executable, "-m", "services", *words, "--data", str(system.data)],
        cwd=ROOT, input="", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (status, f"{told}\n")


async def test_of_a_job_with_very_many_files_it_is_said_how_many_are_not_named(system, site):
    got = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services", "get", "http://don.test/@many-104", "--wait", "--data", str(system.data)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    listed = await asyncio.to_thread(longshore, "jobs", data=system.data)
    number = next(line.split()[0] for line in listed.splitlines() if "@many-104" in line)
    job = json.loads(await asyncio.to_thread(longshore, "job", number, data=system.data))

    assert (len(job["files"]), job["more_items"]) == (100, 4)
    assert len(got.stdout.splitlines()) == 100
    assert got.stderr == "http://don.test/@many-104: 4 more\n"
