"""API keys."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from rich.table import Table

from libs.calls import Caller
from proto.auth import (
    IssuedKey,
    IssueKey,
    KeyInfo,
    ListKeys,
    RevokeKey,
)
from services.operate.words import BadWord, admin, show


async def key(options: argparse.Namespace, caller: Caller, environ: Mapping[str, str]) -> int:
    if options.action == "list":
        table = Table("id", "user", "dialect", "name", "expires", box=None)
        for one in await caller.query(ListKeys(username=options.user), result=list[KeyInfo]):
            table.add_row(str(one.key_id), one.username, one.dialect, one.name, str(one.expires_at or "never"))
        show(table)
        return 0
    if options.action == "revoke":
        await caller.command(RevokeKey(owner=None, key_id=options.id), actor="operator")
        return 0
    if options.dialect != "jobs" and "legacy" in (options.webhook_style, options.status_style):
        raise BadWord("only the jobs API has an older style")
    issued, _ = await caller.command(
        IssueKey(
            dialect=options.dialect,
            username=options.user or admin(environ),
            name=options.name or options.dialect,
            webhook_style=options.webhook_style,
            status_style=options.status_style,
        ),
        result=IssuedKey,
        actor="operator",
    )
    print(issued.key)
    return 0
