"""What the command line says to what can not be done."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import parser
from tests.support.system import ROOT, longshore

HOST = ("host", "add", "--platform", "generic", "--domains", "a.test", "--secret-stdin")
REFUSED = [
    (
        ("get", "http://files.test/a", "ftp://files.test/b"),
        1,
        "ftp://files.test/b: only http and https links are taken.",
    ),
    (("job", "9" * 30), 1, f"{'9' * 30} is neither a job's number nor its id."),
    (("user", "add", "somebody", "--password-stdin"), 2, "there is no password on stdin."),
    (
        ("user", "password", "admin"),
        2,
        "there is no terminal to ask on; say --password-stdin and give the password there.",
    ),
    (("user", "password", "admin", "--password-stdin"), 2, "there is no password on stdin."),
    (("user", "quota", "admin", "--traffic", "99999999T"), 2, "'99999999T' is not between 0 bytes and 1024T."),
    (("user", "quota", "admin", "--at-once", "x"), 2, "'x' is not a whole number between 0 and 1000."),
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


def test_nobody_gets_a_password_whose_name_nobody_has(system):
    done = run("user", "password", "no one", "--password-stdin", data=system.data, stdin="a password\n")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no such user.\n")


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


async def test_names_and_links_are_shown_as_they_are(system, user, site):
    """Not as colours, pictures or the end of something: one of them made the whole list impossible to show."""
    name, link = "[/b] [red]:smile:", site.url("/status/404") + "?kind=[/b]" + "long" * 100
    await asyncio.to_thread(
        longshore, "key", "create", "--dialect", "jobs", "--user", user.name, "--name", name, data=system.data
    )
    refused = await asyncio.to_thread(run, "get", link, data=system.data)
    keys = await asyncio.to_thread(longshore, "key", "list", data=system.data)
    jobs = await asyncio.to_thread(longshore, "jobs", data=system.data)

    assert refused.stderr.startswith(f"{link}: failed")
    assert f" {name} " in keys
    assert link in jobs


def run(*words: str, data: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *words, "--data", str(data)],
        cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("up", "--workers", "many"), "--workers: 'many' is not a whole number between 1 and 256"),
        (("up", "--workers", "257"), "--workers: '257' is not a whole number between 1 and 256"),
        (("up", "--port", "70000"), "--port: '70000' is not a whole number between 1 and 65535"),
        (("up", "--port", "0"), "--port: '0' is not a whole number between 1 and 65535"),
        (("dead-letters", "show", f"gateway.jobs:{'9' * 19}"), "must be as `longshore dead-letters` shows it"),
        (("get", "http://a.test", "--not-before", "9999-12-31T23:59:59-14:00"), "--not-before: must be a time such as"),
        (("jobs", "--data", ""), "--data: must name a folder"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_done(capsys, words: tuple[str, ...], told: str):
    with pytest.raises(SystemExit) as refused:
        parser().parse_args(words)

    assert refused.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("dead-letters", "--data", "d"), ("dead-letters", "--data", "d", "list"), ("jobs", "--data", "d")]
)
def test_a_data_folder_may_be_named_before_an_action(words: tuple[str, ...]):
    assert parser().parse_args(words).data == Path("d")


def test_words_with_commas_between_them_may_have_blanks_and_be_none():
    words = ("host", "add", "--platform", "generic", "--secret-stdin", "--domains", " a.test, ,b.test,")

    assert parser().parse_args(words).domains == ["a.test", "b.test"]


@pytest.mark.parametrize("command", ["jobs", "doctor"])
def test_a_data_folder_that_is_none_is_said_to_be(tmp_path: Path, command: str):
    (tmp_path / "file").touch()
    done = run(command, data=tmp_path / "file")

    assert done.returncode == 1
    assert "Not a directory. Choose another folder with --data." in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("user", "add", "zoe", "--password-stdin"), ("user", "password", "zoe"), HOST])
def test_who_is_asked_for_a_secret_types_it_unseen_and_may_leave_with_ctrl_c(tmp_path: Path, words: tuple[str, ...]):
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "services", *words, "--data", str(tmp_path)])  # noqa: S606 - the point: no shell
    said = b""
    try:
        while b"Secret: " not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, b"hush\x03")
        while said_more := os.read(terminal, 1024):
            said += said_more
    except OSError as error:  # how a terminal ends whose program has gone
        assert error.errno == errno.EIO
    finally:
        os.close(terminal)
    _, status = os.waitpid(process, 0)

    assert os.waitstatus_to_exitcode(status) == 130
    assert b"hush" not in said
    assert b"Traceback" not in said
