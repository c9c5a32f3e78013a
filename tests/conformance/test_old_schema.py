"""A service whose database nobody has brought up to date."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import asyncpg
import pytest

from libs.database import OldSchema, Target, migrate, newest, refuse_old
from services.serve import migrations
from tests.support.system import ROOT


async def test_a_service_refuses_a_database_without_its_tables_and_says_what_to_do(alone, tmp_path: Path):
    env = {
        "PATH": os.environ["PATH"],
        "LONGSHORE_DATA_DIR": str(tmp_path),
        "LONGSHORE_DATABASE_URL": alone.servers.database_urls["scheduler"],
        "LONGSHORE_NATS_URL": alone.servers.nats_url,
        "LONGSHORE_NATS_SEED": str(alone.servers.nats_seeds["scheduler"]),
        "LONGSHORE_SECRET_KEY": "k" * 32,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services", "serve", "scheduler", cwd=ROOT, env=env, stderr=PIPE
    )
    async with asyncio.timeout(120):
        _, said = await process.communicate()

    needed = newest(migrations("scheduler"))
    assert process.returncode == 1
    assert said.decode() == (
        f"The schema scheduler is at revision none, and this version of Longshore needs {needed}."
        " Run `longshore migrate` first.\n"
    )


async def test_an_older_schema_is_refused_and_a_newer_one_is_not(alone):
    """While an update goes on, a process of the old version may be started once more."""
    target = Target(alone.servers.database_urls["scheduler"], "scheduler", migrations("scheduler"))
    await migrate(target)
    conn = await asyncpg.connect(target.url)
    await conn.execute("update scheduler.alembic_version set version_num = '0000'")
    with pytest.raises(OldSchema, match="at revision 0000"):
        await refuse_old(target)
    await conn.execute("update scheduler.alembic_version set version_num = '9999'")
    await refuse_old(target)
    await conn.close()
