"""Accounts on file hosts as their operator manages them, and the commands behind it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from libs.message import Refused, new_id
from proto.unrestrict_proxy import (
    AddHostAccount,
    BadHostAccount,
    CheckHostAccount,
    HostInfo,
    KeptHostAccount,
    ListHosts,
    RemoveHostAccount,
)
from tests.support.system import ROOT, System, longshore

GIB = 1 << 30


def tried(system: System, *words: str, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "services", *words, "--data", str(system.data)],
        cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def added(system: System, host, account, *words: str) -> str:
    return longshore(
        "host", "add", "--platform", host.platform, "--user", account.username, "--secret-stdin",
        "--base-url", host.base_url, *words, data=system.data, stdin=account.secret + "\n",
    )  # fmt: skip


def row(system: System, account_id: str, action: str = "list") -> str:
    shown = longshore("host", action, data=system.data)
    return next((line for line in shown.splitlines() if account_id in line), "")


def test_an_account_is_added_listed_and_removed_and_its_secret_is_never_shown(system, hosts):
    host = hosts.host("rapidgator")
    account = host.add_account(traffic_left=5 * GIB)
    account_id = added(system, host, account, "--slots", "7")
    listed = row(system, account_id)
    removed = longshore("host", "remove", account_id, data=system.data)
    again = tried(system, "host", "remove", account_id)

    assert listed.split()[1:3] == ["rapidgator", account.username]
    assert ("5.0 GiB" in listed, "0/7" in listed, listed.endswith("usable")) == (True, True, True)
    assert account.secret not in listed
    assert (removed, row(system, account_id)) == ("", "")
    assert again == (1, "", "no such account.")
    assert account.secret not in system.log()


def test_an_account_that_the_platform_does_not_take_is_kept_and_said(system, hosts):
    host = hosts.host("rapidgator")
    account = host.add_account()
    status, account_id, said = tried(
        system, "host", "add", "--platform", "rapidgator", "--user", account.username, "--secret-stdin",
        "--base-url", host.base_url, stdin="a wrong secret",
    )  # fmt: skip
    logins = host.count("login")
    checked = tried(system, "host", "check", account_id)
    doctor = tried(system, "doctor")
    longshore("host", "remove", account_id, data=system.data)

    assert (status, said) == (1, "broken: The platform does not accept these credentials.")
    assert checked[0] == 1
    assert "broken" in checked[1]
    assert doctor[0] == 1
    assert f"BAD account {account.username} on rapidgator: The platform does not accept" in doctor[1]
    assert (logins, host.count("login")) == (1, 2)


def test_a_login_that_is_added_again_keeps_its_id_and_gets_the_new_secret_which_is_tried(system, hosts):
    """A second account would have twice the slots that the platform allows."""
    host = hosts.host("rapidgator")
    account = host.add_account()
    words = (
        "host", "add", "--platform", "rapidgator", "--user", account.username, "--secret-stdin",
        "--base-url", host.base_url,
    )  # fmt: skip
    refused, account_id, _ = tried(system, *words, "--slots", "7", stdin="a wrong secret")
    status, again, said = tried(system, *words, stdin=account.secret)
    listed = [line for line in longshore("host", "list", data=system.data).splitlines() if account.username in line]
    longshore("host", "remove", account_id, data=system.data)

    assert (refused, status, again) == (1, 0, account_id)
    assert said == "This account was there already: its secret is replaced, and what else was given.\nusable"
    assert len(listed) == 1
    assert "0/7" in listed[0]


async def test_adds_of_one_login_at_once_end_in_one_account_and_so_does_a_token(system, hosts):
    """Logins of generic hosts are each host's own."""
    named = [AddHostAccount(account_id=new_id(), platform="rapidgator", username="twin", secret="x") for _ in "abcd"]
    token = [AddHostAccount(account_id=new_id(), platform="realdebrid", secret="the twins' token") for _ in "ab"]
    generic = [
        AddHostAccount(account_id=new_id(), platform="generic", username="twin", secret="x", domains=(domain,))
        for domain in ("a.twin.test", "b.twin.test")
    ]
    async with system.operator() as (_, caller):
        kept = [
            {
                one.account_id
                for one, _ in await asyncio.gather(*(caller.command(c, result=KeptHostAccount) for c in of))
            }
            for of in (named, token, generic)
        ]
        for account_id in set().union(*kept):
            await caller.command(RemoveHostAccount(account_id=account_id))

    assert [len(one) for one in kept] == [1, 1, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--platform", "nowhere"), "no platform is called nowhere"),
        (("--platform", "rapidgator", "--domains", "a.test"), "RapidGator has links of its own hosts alone"),
        (("--platform", "realdebrid", "--domains", "not a host"), "these are names of hosts"),
        (("--platform", "rapidgator", "--base-url", "ftp://a.test"), "only http and https"),
    ],
)
def test_what_does_not_fit_the_platform_is_refused_in_words(system, words, said):
    status, out, error = tried(system, "host", "add", *words, "--secret-stdin", stdin="x\n")

    assert (status, out) == (1, "")
    assert said in error


def test_a_secret_is_only_taken_from_stdin_and_may_not_be_empty(system):
    on_the_line = tried(system, "host", "add", "--platform", "rapidgator", "--secret", "x")
    without = tried(system, "host", "add", "--platform", "rapidgator")
    empty = tried(system, "host", "add", "--platform", "rapidgator", "--secret-stdin", stdin="\n")

    assert (on_the_line[0], without[0]) == (2, 2)
    assert empty == (2, "", "The secret is empty.")


async def test_the_same_is_done_by_command(system, hosts):
    host = hosts.host("realdebrid")
    account = host.add_account()
    account_id = new_id()
    async with system.operator() as (_, caller):
        with pytest.raises(Refused) as refused:
            await caller.command(AddHostAccount(account_id=new_id(), platform="realdebrid", secret="x", base_url="x:y"))
        await caller.command(
            AddHostAccount(account_id=account_id, platform="realdebrid", secret=account.secret, base_url=host.base_url)
        )
        checked, _ = await caller.command(CheckHostAccount(account_id=account_id), result=dict, timeout=60)
        shown = await caller.query(ListHosts(), result=list[HostInfo])
        with pytest.raises(Refused, match="no such account"):
            await caller.command(CheckHostAccount(account_id=new_id()))

    assert isinstance(refused.value.refusal, BadHostAccount)
    assert checked["standing"] == "usable"
    assert account.secret not in str(checked)
    assert "rapidgator" in {one.platform for one in shown if one.working}
