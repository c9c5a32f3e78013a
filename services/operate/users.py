"""Users, and what they may take."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec
from rich.table import Table

from libs.calls import Caller
from proto.auth import (
    CreateUser,
    Limits,
    Password,
    ReadLimits,
    ReadUser,
    SetLimits,
    SetPassword,
    User,
    Username,
)
from proto.unrestrict_proxy import ReadTraffic, ReadTrafficHistory, SetTraffic, Traffic, TrafficEntry
from services.operate.words import BadWord, count, show, size


async def add_user(options: argparse.Namespace, caller: Caller) -> int:
    password = _password(options)
    try:
        msgspec.convert(options.name, Username)
    except msgspec.ValidationError:
        raise BadWord(
            f"{options.name!r} is not a user name: it takes 1 to 64 letters, digits, `.`, `_` and `-`, and begins with "
            "a letter or digit"
        ) from None
    user, _ = await caller.command(
        CreateUser(username=options.name, password=password, role=options.role, email=options.email),
        result=User,
        actor="operator",
    )
    print(f"{user.username} ({user.role})")
    return 0


async def set_password(options: argparse.Namespace, caller: Caller) -> int:
    password = _password(options)
    user = await caller.query(ReadUser(username=options.name), result=User)
    await caller.command(SetPassword(username=user.username, password=password), actor="operator")
    print(f"{user.username} has a new password; whoever was signed in with the old one is signed out")
    return 0


def _password(options: argparse.Namespace) -> str:
    """Its first line. Raises BadWord."""
    password = options.secret.partition("\n")[0].rstrip("\r")
    if not password:
        raise BadWord("the password is empty" if sys.stdin.isatty() else "there is no password on stdin")
    try:
        return msgspec.convert(password, Password)
    except msgspec.ValidationError:
        raise BadWord("a password has 1024 characters at most") from None


async def limit_user(options: argparse.Namespace, caller: Caller) -> int:
    limits = await caller.query(ReadLimits(username=options.name), result=Limits)
    changed = limited(limits, options.concurrent, options.bandwidth, options.storage, options.window)
    if changed != limits:
        await caller.command(SetLimits(by=None, username=options.name, limits=changed), actor="operator")
    shown = {
        "concurrent": changed.concurrent,
        "bandwidth": changed.bandwidth,
        "storage": changed.storage,
        "window": ", ".join(f"{one.opens}-{one.closes}" for one in changed.windows) or None,
    }
    for name, value in shown.items():
        print(f"{name}: {'none' if value is None else value}")
    return 0


async def quota(options: argparse.Namespace, caller: Caller) -> int:
    owner = (await caller.query(ReadUser(username=options.name), result=User)).user_id
    if options.history:
        table = Table("time", "what", "bytes", "host", "file", box=None)
        for one in await caller.query(ReadTrafficHistory(owner=owner), result=list[TrafficEntry]):
            table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind, str(one.bytes), one.platform or "", one.name or "")
        show(table)
        return 0
    quota, daily = (None if text is None else size(text) for text in (options.traffic, options.daily))
    at_once = None if options.at_once is None else count(options.at_once, 0, 1000)
    if (quota, daily, at_once) == (None, None, None):
        traffic = await caller.query(ReadTraffic(owner=owner), result=Traffic)
    else:
        command = SetTraffic(owner=owner, quota=quota, host_daily=daily, concurrent=at_once)
        traffic, _ = await caller.command(command, result=Traffic, actor="operator")
    print(f"traffic: {traffic.quota}\nleft: {traffic.left}\nreserved: {traffic.reserved}")
    print(f"daily: {traffic.host_daily or 'none'}\nat once: {traffic.concurrent or 'none'}")
    for platform, used in sorted(traffic.host_used.items()):
        print(f"{platform} in 24 hours: {used}")
    return 0


def limited(
    limits: Limits, concurrent: str | None, bandwidth: str | None, storage: str | None, windows: list[str] | None
) -> Limits:
    """`limits` with what was said on the command line; None changes nothing. Raises BadWord."""
    changes: dict[str, Any] = {
        name: None if text == "none" else read(text)
        for name, text, read in (
            ("concurrent", concurrent, lambda text: count(text, 1, 10_000)),
            ("bandwidth", bandwidth, lambda text: size(text, 1024)),
            ("storage", storage, size),
        )
        if text is not None
    }
    if windows is not None:
        said = [] if windows == ["none"] else [one.partition("-") for one in windows]
        changes["windows"] = [{"opens": opens, "closes": closes} for opens, _, closes in said]
    try:
        return msgspec.convert({**msgspec.to_builtins(limits), **changes}, Limits)
    except msgspec.ValidationError:
        raise BadWord("a window must be such as 22:00-06:00, and there may be 24; `none` stands alone") from None
