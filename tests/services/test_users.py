"""Users and keys as an operator makes them on the command line."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from uuid import uuid4

from tests.support.system import PASSWORD, ROOT, System, User, longshore

NEW = "another password"


async def test_a_user_that_was_added_signs_in_and_its_key_is_printed_alone_and_works(system):
    name = f"u{uuid4().hex[:12]}"
    added = longshore("user", "add", name, "--password-stdin", data=system.data, stdin=PASSWORD + "\n")
    key = longshore("key", "create", "--dialect", "jobs", "--user", name, data=system.data)
    async with User(system, name, {"jobs": key}).http() as http:
        token = await http.token()
        status, _ = await http.jobs("GET", "/jobs")

    assert added == f"{name} (user)"
    assert (bool(token), status) == (True, 200)


async def signs_in(http, password: str) -> int:
    body = {"username": http.user.name, "password": password}
    return (await http.call("POST", "/api/v1/auth/login", body))[0]


async def test_a_forgotten_password_is_replaced_and_whoever_was_signed_in_is_signed_out(user, system):
    async with user.http() as http:
        signed_in = {"username": user.name, "password": PASSWORD}
        _, session = await http.call("POST", "/api/v1/auth/login", signed_in)
        said = await asyncio.to_thread(
            longshore, "user", "password", user.name, "--password-stdin", data=system.data, stdin=f"{NEW}\n"
        )
        kept, _ = await http.call("POST", "/api/v1/auth/refresh", {"refresh_token": session["refresh_token"]})
        new, old = await signs_in(http, NEW), await signs_in(http, PASSWORD)

    assert kept == 401
    assert said == f"{user.name} has a new password; whoever was signed in with the old one is signed out"
    assert (new, old) == (200, 401)


def typed(system: System, *answers: tuple[bytes, bytes], name: str) -> tuple[int, bytes]:
    """The status and the whole screen of a person who types each answer when its question is there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        words = ["user", "password", name, "--data", str(system.data)]
        os.execv(sys.executable, [sys.executable, "-m", "services", *words])  # noqa: S606 - the point: no shell
    said = b""
    try:
        for question, answer in answers:
            while question not in said:
                said += os.read(terminal, 1024)
            os.write(terminal, answer + b"\n")
        while more := os.read(terminal, 1024):
            said += more
    except OSError:  # how a terminal ends whose program has gone
        pass
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


async def test_on_a_terminal_a_new_password_is_asked_for_twice_unseen(user, system):
    asked = [(b"Secret: ", NEW.encode()), (b"Once more: ", NEW.encode())]
    status, said = await asyncio.to_thread(typed, system, *asked, name=user.name)
    async with user.http() as http:
        new = await signs_in(http, NEW)

    assert (status, new) == (0, 200)
    assert NEW.encode() not in said


async def test_two_passwords_that_differ_change_nothing(user, system):
    asked = [(b"Secret: ", NEW.encode()), (b"Once more: ", b"anothre password")]
    status, said = await asyncio.to_thread(typed, system, *asked, name=user.name)
    async with user.http() as http:
        old = await signs_in(http, PASSWORD)

    assert (status, old) == (2, 200)
    assert b"the two were not the same; nothing was changed." in said
