"""`longshore up`: what it is told, by which way, and what it says when that is wrong."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from libs.http import NoAddress, free_address
from tests.support.ports import own_port
from tests.support.system import ROOT, longshore, running


def up(data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", "up", "--data", str(data), "--port", str(own_port())],
        cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_a_setting_in_the_file_reaches_the_workers_the_administrator_and_the_command_line(tmp_path: Path, site):
    file = tmp_path / "longshore.toml"
    file.write_text('worker_slots = 3\negress_allow = "10.0.0.0/8"\nadmin_username = "boss"\n')
    allow = site.egress_allow + ",127.0.0.0/8"  # the environment goes before the file
    with running(tmp_path / "data", allow, LONGSHORE_CONFIG=str(file)) as system:
        fetched = longshore("get", "--wait", site.file(1000, "a.bin"), data=system.data, LONGSHORE_CONFIG=str(file))
        [worker] = system.children("services worker")
        told = worker.environ()

    assert fetched == "a.bin"  # as `boss`, for there is no `admin`
    assert told["LONGSHORE_WORKER_SLOTS"] == "3"
    assert not {"LONGSHORE_ADMIN_PASSWORD", "LONGSHORE_SECRET_KEY"} & told.keys()


def test_everything_that_is_wrong_is_said_at_once_without_a_stack_trace(tmp_path: Path):
    """Of every process there will be, and what is only meant for other ways to run. Nothing is made before."""
    done = up(
        tmp_path / "data",
        LONGSHORE_SECRET_KEY="short",
        LONGSHORE_ADMIN_PASSWORD="short",
        LONGSHORE_WORKER_SLOT="3",
        LONGSHORE_WORKER_SLOTS="0",
        LONGSHORE_HOST_LIMIT="many",
        LONGSHORE_NATS_URL="nats://elsewhere:4222",
        LONGSHORE_DATABASE_URL="postgresql://elsewhere/longshore",
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert not (tmp_path / "data").exists()
    assert sorted(done.stderr.splitlines()) == [
        "Correct LONGSHORE_ADMIN_PASSWORD: a password needs at least 8 characters, not all the same.",
        "Correct LONGSHORE_HOST_LIMIT: it must be a whole number, 1 or more.",
        "Correct LONGSHORE_SECRET_KEY: it must be text of 16 characters or more.",
        "Correct LONGSHORE_WORKER_SLOTS: it must be a whole number from 1 to 256.",
        "Remove LONGSHORE_DATABASE_URL: `longshore up` has servers of its own; `longshore serve` is for others.",
        "Remove LONGSHORE_NATS_URL: `longshore up` has servers of its own; `longshore serve` is for others.",
        "Remove LONGSHORE_WORKER_SLOT: no such setting; did you mean LONGSHORE_WORKER_SLOTS.",
    ]


def test_a_file_of_settings_with_a_key_that_is_no_text_is_told_beside_the_rest(tmp_path: Path):
    file = tmp_path / "longshore.toml"
    file.write_text("secret_key = 7\ndata_dir = 7\nworker_slots = 0\n")
    done = subprocess.run(
        [sys.executable, "-m", "services", "up"],
        cwd=ROOT, env={**os.environ, "LONGSHORE_CONFIG": str(file)}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        "Correct LONGSHORE_DATA_DIR: it must be text, in quotes.",
        "Correct LONGSHORE_SECRET_KEY: it must be text, in quotes.",
        "Correct LONGSHORE_WORKER_SLOTS: it must be a whole number from 1 to 256.",
    ]


async def test_it_may_be_started_anywhere_and_listen_at_a_name(tmp_path: Path, site):
    """Python files in the folder where that is are not taken for ours, whatever they are called."""
    anywhere = tmp_path / "anywhere"
    anywhere.mkdir()
    for name in ("services", "libs", "proto", "queue", "yt_dlp", "gallery_dl"):
        (anywhere / f"{name}.py").write_text("raise SystemExit('not this one')")
    links = (site.file(1000, "a.bin"), site.url("/watch/embed", "video.test"))
    with running(
        tmp_path / "data", f"{site.egress_allow},127.0.0.0/8", cwd=anywhere, LONGSHORE_HTTP_HOST="localhost"
    ) as system:
        got = longshore("get", "--wait", *links, data=system.data)
        async with aiohttp.ClientSession() as session, session.get(f"{system.url}/healthz") as answer:
            told = answer.status

    assert got.splitlines() == ["a.bin", "Embedded clip (1).mp4"]
    assert told == 200


def test_a_disk_without_room_is_said_to_be_one(tmp_path: Path):
    """Before anything is half made, and without a stack trace."""
    done = subprocess.run(
        [sys.executable, "-m", "services", "up", "--data", str(tmp_path / "data")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr == (
        f"{tmp_path / 'data'} can not be written to: File too large. Make room there, or choose another folder with "
        "--data.\n"
    )


def test_a_closed_terminal_ends_everything_in_good_order(data: Path):
    """As Ctrl-C does: the database is shut down, not killed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started with nohup
    try:
        with running(data, "") as system:
            system.process.send_signal(signal.SIGHUP)
            status = system.process.wait(60)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert status == 0, system.log()
    assert "database system is shut down" in (data / "run" / "postgres.log").read_text()


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("203.0.113.9", "Choose an address of this machine with --host or LONGSHORE_HTTP_HOST."),
        ("no.such.invalid", "Choose an address of this machine with --host or LONGSHORE_HTTP_HOST."),
        (
            "127.0.0.1",
            "Stop the program that listens there, or choose another port with --port or LONGSHORE_HTTP_PORT.",
        ),
    ],
)
def test_an_address_that_can_not_be_had_is_named_with_what_to_do_about_it(host: str, advice: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NoAddress) as refused:
            free_address(host, taken.getsockname()[1])

    assert str(refused.value).endswith(advice)


@pytest.mark.parametrize("words", [("serve", "job"), ("serve", "auth"), ("migrate",)], ids=" ".join)
def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path, words: tuple[str, ...]):
    """The last line says which, and which setting it was; a service that is alone tries no further."""
    told = {
        "LONGSHORE_DATA_DIR": str(tmp_path),
        "LONGSHORE_SECRET_KEY": "k" * 32,
        "LONGSHORE_HTTP_PORT": str(own_port()),
        "LONGSHORE_NATS_URL": "nats://127.0.0.1:1",
        "LONGSHORE_DATABASE_URL": "postgresql://who:hush-secret@127.0.0.1:1/longshore",
    }
    done = subprocess.run(
        [sys.executable, "-m", "services", *words],
        cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Postgres at 127.0.0.1 can not be used: Connection refused. See LONGSHORE_DATABASE_URL."
    )
    assert "hush-secret" not in done.stderr
    assert "\nTraceback" not in done.stderr
