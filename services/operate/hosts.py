"""`longshore host`: accounts on file hosts, as their operator sees them."""

from __future__ import annotations

import argparse
import sys
from uuid import UUID

from rich.table import Table

from libs.calls import Caller
from libs.message import new_id
from proto.unrestrict_proxy import (
    AddHostAccount,
    CheckHostAccount,
    HostAccount,
    KeptHostAccount,
    ListHostAccounts,
    RemoveHostAccount,
)
from services.operate.words import show

CHECK_SECONDS = 120.0
"""A login, another that was under way, and two questions."""
GIB = 1 << 30


async def host(options: argparse.Namespace, caller: Caller) -> int:
    match options.action:
        case "add":
            return await _add(options, caller)
        case "list":
            show(_table(await caller.query(ListHostAccounts(), result=list[HostAccount])))
            return 0
        case "check":
            return await _check(options, caller)
        case _:
            await caller.command(RemoveHostAccount(account_id=options.id), actor="operator")
            return 0


async def _add(options: argparse.Namespace, caller: Caller) -> int:
    """The id alone goes to stdout. An account that does not work is kept: the platform may be out of order."""
    if not options.secret:
        print("The secret is empty.", file=sys.stderr)
        return 2
    kept, _ = await caller.command(
        AddHostAccount(
            account_id=new_id(),
            platform=options.platform,
            username=options.user,
            secret=options.secret,
            domains=tuple(options.domains),
            base_url=options.base_url,
            slots=options.slots,
            max_chunks=options.chunks,
        ),
        result=KeptHostAccount,
        actor="operator",
    )
    print(kept.account_id, flush=True)
    if kept.replaced:
        print("This account was there already: its secret is replaced, and what else was given.", file=sys.stderr)
    account = await _checked(kept.account_id, caller)
    print(_said(account), file=sys.stderr)
    return 0 if account.standing == "usable" else 1


async def _check(options: argparse.Namespace, caller: Caller) -> int:
    known = await caller.query(ListHostAccounts(), result=list[HostAccount])
    wanted = [one.account_id for one in known] if options.id is None else [options.id]
    accounts = [await _checked(account_id, caller) for account_id in wanted]
    show(_table(accounts))
    return 0 if all(one.standing == "usable" for one in accounts) else 1


async def _checked(account_id: UUID, caller: Caller) -> HostAccount:
    account, _ = await caller.command(
        CheckHostAccount(account_id=account_id), result=HostAccount, actor="operator", timeout=CHECK_SECONDS
    )
    return account


def _table(accounts: list[HostAccount]) -> Table:
    table = Table("id", "platform", "user", "domains", "traffic left", "premium until", "slots", "standing", box=None)
    for one in accounts:
        table.add_row(
            str(one.account_id),
            one.platform,
            one.username,
            ", ".join(one.domains),
            _amount(one.traffic_left),
            f"{one.premium_until:%Y-%m-%d}" if one.premium_until else "unknown",
            f"{one.leases}/{one.slots}",
            _said(one),
        )
    return table


def _said(one: HostAccount) -> str:
    if one.standing == "unread":
        return "unread: its platform has not answered yet"
    until = f" until {one.until:%Y-%m-%d %H:%M}" if one.until else ""
    return f"{one.standing}{until}{f': {one.reason}' if one.reason else ''}"


def _amount(count: int | None) -> str:
    return "unknown" if count is None else f"{count / GIB:,.1f} GiB"
