"""Users and keys as an operator makes them on the command line."""

from __future__ import annotations

from uuid import uuid4

from tests.support.system import PASSWORD, User, longshore


async def test_a_user_that_was_added_signs_in_and_its_key_is_printed_alone_and_works(system):
    name = f"u{uuid4().hex[:12]}"
    added = longshore("user", "add", name, "--password-stdin", data=system.data, stdin=PASSWORD + "\n")
    key = longshore("key", "create", "--dialect", "jobs", "--user", name, data=system.data)
    async with User(system, name, {"jobs": key}).http() as http:
        token = await http.token()
        status, _ = await http.jobs("GET", "/jobs")

    assert added == f"{name} (user)"
    assert (bool(token), status) == (True, 200)
