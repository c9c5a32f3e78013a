"""The command line. Names and options are stable: people's scripts depend on them."""

from __future__ import annotations

import argparse
import getpass
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import uvloop

from proto import SERVICES

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no other name
LONGEST_NUMBER = 18
"""Digits; the database counts to nineteen."""

Work = Callable[[argparse.Namespace, Mapping[str, str]], Coroutine[Any, Any, int]]

_COMMANDS = {
    "up": ("services.up", "up"),
    "serve": ("services.serve", "serve"),
    "worker": ("services.work", "work"),
    "migrate": ("services.serve", "serve"),
    "doctor": ("services.doctor", "doctor"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 could not be done, 2 the words were wrong."""
    options = parser().parse_args(argv)
    try:
        # Here and not in the loop, which Ctrl-C can not call back from what waits for a person.
        options.secret = _secret(options)
    except KeyboardInterrupt:
        return 130
    except _NotSaid as error:
        sys.stderr.write(f"{error}.\n")
        return 2
    module, function = _COMMANDS.get(options.command, ("services.operate", "operate"))
    # Imported per command: `longshore key create` must not wait for what a server imports.
    work: Work = getattr(importlib.import_module(module), function)
    try:
        return uvloop.run(work(options, os.environ))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`longshore events | head`): not our failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="longshore", description="A self-hosted download platform.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _servers(commands)
    _user(commands.add_parser("user", help="manage users"))
    _key(commands.add_parser("key", help="manage API keys"))
    _host(commands.add_parser("host", help="manage accounts on file hosts"))
    _jobs(commands)
    _letters(commands.add_parser("dead-letters", help="events that a service could not apply and went on without"))
    _data(commands.add_parser("doctor", help="check servers, lag, disk, engines and ffmpeg"))
    return parser


class _NotSaid(Exception):
    """There is no secret to work with; the message says why."""


def _secret(options: argparse.Namespace) -> str | None:
    """All of stdin, or what is typed, unseen. None for a command that takes none. Raises _NotSaid."""
    if not {"password_stdin", "secret_stdin"} & vars(options).keys():
        return None
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if vars(options).get("password_stdin") is False and not terminal:
        raise _NotSaid("there is no terminal to ask on; say --password-stdin and give the password there")
    if sys.stdin is None:
        return ""
    if not terminal:
        return sys.stdin.read().rstrip("\r\n")
    try:
        secret = getpass.getpass("Secret: ")
        # One that is there already is not made unusable by a slip of the finger.
        if options.action == "password" and getpass.getpass("Once more: ") != secret:
            raise _NotSaid("the two were not the same; nothing was changed")
    except EOFError:
        return ""
    return secret


def _servers(commands: Commands) -> None:
    one = commands.add_parser("up", help="run everything on this machine")
    _data(one)
    one.add_argument("--host", help="address to listen on (127.0.0.1)")
    one.add_argument("--port", type=_port, help="port to listen on (8000)")
    one.add_argument("--workers", type=_count, default=1, help="worker processes (1)")

    one = commands.add_parser("serve", help="run one service, told by the environment")
    one.add_argument("service", choices=[name.replace("_", "-") for name in SERVICES], metavar="SERVICE")
    one = commands.add_parser("worker", help="run a worker, told by the environment")
    one.add_argument("--slots", type=_count, help="jobs at a time (4)")
    commands.add_parser("migrate", help="bring every service's schema up to date")


def _user(parser: argparse.ArgumentParser) -> None:
    users = parser.add_subparsers(dest="action", required=True)
    one = users.add_parser("add", help="add a user")
    one.add_argument("name")
    one.add_argument("--password-stdin", action="store_true", required=True, help="read the password from stdin")
    one.add_argument("--role", choices=["admin", "user"], default="user")
    one.add_argument("--email", default="")
    _data(one)

    one = users.add_parser(
        "password",
        help="set a new password, such as for one that was forgotten",
        description="Whoever is signed in as the user is signed out; keys stay good.",
    )
    one.add_argument("name")
    one.add_argument("--password-stdin", action="store_true", help="read it from stdin; without it you are asked twice")
    _data(one)

    one = users.add_parser(
        "limit",
        help="show or set what a user may take",
        description="Without an option the limits are shown. `none` takes a limit away; sizes may end in K, M, G or T.",
    )
    one.add_argument("name")
    one.add_argument("--concurrent", metavar="N", help="downloads at the same time")
    one.add_argument("--bandwidth", metavar="BYTES", help="bytes a second, all downloads together")
    one.add_argument("--storage", metavar="BYTES", help="bytes that may be kept")
    one.add_argument(
        "--window",
        metavar="HH:MM-HH:MM",
        action="append",
        help="when downloads may begin, in UTC; may be said again for another",
    )
    _data(one)

    one = users.add_parser(
        "quota",
        help="show or set what a user may fetch through host accounts",
        description="Without an option the traffic is shown. Sizes may end in K, M, G or T.",
    )
    one.add_argument("name")
    one.add_argument("--traffic", metavar="BYTES", help="all that is granted, what was used included")
    one.add_argument("--daily", metavar="BYTES", help="of one host in 24 hours; 0 for no limit")
    one.add_argument("--at-once", metavar="N", help="files of one host at the same time; 0 for no limit")
    one.add_argument("--history", action="store_true", help="show what the traffic went to, newest first")
    _data(one)


def _key(parser: argparse.ArgumentParser) -> None:
    keys = parser.add_subparsers(dest="action", required=True)
    one = keys.add_parser("create", help="print a new key, once")
    one.add_argument("--dialect", choices=["gdluxx", "external", "jobs"], required=True)
    one.add_argument("--user", help="whose key it is (the admin)")
    one.add_argument("--name", help="a text to tell keys apart; by default the dialect")
    for style, what in (("webhook", "webhooks"), ("status", "statuses of jobs")):
        one.add_argument(
            f"--{style}-style",
            choices=["current", "legacy"],
            default="current",
            help=f"{what} as clients of the jobs API know them: legacy for older ones",
        )
    _data(one)
    one = keys.add_parser("list", help="list the keys that are good; the keys themselves are not kept")
    one.add_argument("--user", help="only this user's")
    _data(one)
    one = keys.add_parser("revoke", help="end a key at once")
    one.add_argument("id", type=UUID, help="id of the key, as `key list` shows it")
    _data(one)


def _host(parser: argparse.ArgumentParser) -> None:
    hosts = parser.add_subparsers(dest="action", required=True)
    one = hosts.add_parser("add", help="add an account, print its id, and ask the platform whether it works")
    one.add_argument("--platform", required=True, metavar="P", help="such as rapidgator, realdebrid, generic")
    one.add_argument("--user", default="", metavar="U", help="its login; none where the secret is a key or token")
    one.add_argument(
        "--secret-stdin",
        action="store_true",
        required=True,
        help="read the password, key or token from stdin; of a generic host without --user, header lines",
    )
    one.add_argument("--domains", type=_words, default=[], metavar="D,D", help="hosts of a generic or limited account")
    one.add_argument("--base-url", metavar="URL", help="where the platform's interface is, when not at its own address")
    one.add_argument("--slots", type=_count, metavar="N", help="downloads at a time (what the platform allows)")
    one.add_argument("--chunks", type=_count, metavar="N", help="connections of one download (what it allows)")
    _data(one)
    _data(hosts.add_parser("list", help="list accounts with what is known of them; secrets are never shown"))
    one = hosts.add_parser("check", help="ask the platform for the state of an account now, or of all")
    one.add_argument("id", type=UUID, nargs="?", help="id of the account, as `host list` shows it")
    _data(one)
    one = hosts.add_parser("remove", help="forget an account, its session and its links")
    one.add_argument("id", type=UUID, help="id of the account, as `host list` shows it")
    _data(one)


def _jobs(commands: Commands) -> None:
    one = commands.add_parser("get", help="submit links")
    one.add_argument("urls", nargs="+", metavar="URL")
    one.add_argument("--wait", action="store_true", help="wait until all are finished, without progress bars")
    one.add_argument("--json", action="store_true", help="print one JSON object per job")
    one.add_argument("--preset", metavar="NAME", help="of those that the operator has defined")
    one.add_argument("--not-before", type=_instant, metavar="TIME", help="begin at this ISO 8601 time at the earliest")
    _data(one)
    _data(commands.add_parser("jobs", help="list jobs, newest first"))
    for name, text in (("job", "show a job"), ("history", "show everything that happened to a job")):
        one = commands.add_parser(name, help=text)
        one.add_argument("id", help="number or id of the job")
        _data(one)
    one = commands.add_parser("events", help="print events as JSON lines")
    one.add_argument("--follow", action="store_true", help="go on with new ones")
    _data(one)


def _letters(parser: argparse.ArgumentParser) -> None:
    _data(parser)
    parser.set_defaults(action="list", all=False)
    letters = parser.add_subparsers(dest="action", metavar="ACTION")
    _data(letters.add_parser("list", help="list them, which is also done without an action"), inner=True)
    for name, text in (
        ("show", "show one with its event"),
        ("redrive", "apply one now, or all: do so when what was wrong is mended"),
        ("drop", "go on without one for good; the event stays in the history"),
    ):
        one = letters.add_parser(name, help=text)
        one.add_argument("letter", type=_letter, nargs="?" if name == "redrive" else None, help="as the list shows it")
        if name == "redrive":
            one.add_argument("--all", action="store_true", help="every one, oldest first")
        _data(one, inner=True)


def _letter(text: str) -> tuple[str, int]:
    consumer, _, sequence = text.rpartition(":")
    if not consumer or not sequence.isdecimal() or len(sequence) > LONGEST_NUMBER:
        raise argparse.ArgumentTypeError("must be as `longshore dead-letters` shows it, such as gateway.jobs:17")
    return consumer, int(sequence)


def _words(text: str) -> list[str]:
    return [word for piece in text.split(",") if (word := piece.strip())]


def _data(parser: argparse.ArgumentParser, *, inner: bool = False) -> None:
    """Of an `inner` parser it is not taken away again what was said before the action."""
    missing = argparse.SUPPRESS if inner else None
    parser.add_argument("--data", type=_folder, metavar="DIR", default=missing, help="data folder (LONGSHORE_DATA_DIR)")


def _instant(text: str) -> datetime:
    """Without a zone it is the time of this machine."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError("must be a time such as 2027-01-31T22:00:00Z") from error


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len("256") and 1 <= int(text) <= 256):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number between 1 and 256")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len("65535") and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number between 1 and 65535")
    return int(text)


def _folder(text: str) -> Path:
    if not text:  # as of `--data "$UNSET"`; the folder we are in is `.`
        raise argparse.ArgumentTypeError("must name a folder")
    return Path(text)
