"""Servers that many tests share, as empty as a new installation's for each of them."""

from __future__ import annotations

import asyncpg

from libs import bus as buses
from libs.bus import Bus
from libs.supervisor import Servers
from libs.supervisor.postgres import DATABASE

_SHAPE = """
select string_agg(format('%s %s', one.relkind, one.oid::regclass), ', ' order by one.oid)
from pg_class one join pg_namespace space on space.oid = one.relnamespace
where space.nspname = any($1) or space.oid = 'public'::regnamespace
"""

_EMPTY = """
do $$
declare one record; found bool;
begin
    set local session_replication_role = replica;  -- neither triggers nor foreign keys have a say
    for one in select * from pg_tables where schemaname = any('{{{services}}}') and tablename <> 'alembic_version' loop
        execute format('select exists (select from %I.%I)', one.schemaname, one.tablename) into found;
        if found then
            execute format('delete from %I.%I', one.schemaname, one.tablename);
        end if;
    end loop;
    perform setval(format('%I.%I', schemaname, sequencename), start_value, false)
    from pg_sequences where schemaname = any('{{{services}}}') and last_value is not null;
end $$
"""


class Emptying:
    """Of servers whose schemas have no rows of their own."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self._services = list(servers.database_urls)
        self._shape = ""

    async def begin(self) -> None:
        """After the migrations: what there is now is what every test finds."""
        conn = await self.servers.postgres._superuser(DATABASE)
        try:
            self._shape = await conn.fetchval(_SHAPE, self._services)
        finally:
            await conn.close()

    async def empty(self) -> None:
        """Raises AssertionError where a test left another schema."""
        conn = await self.servers.postgres._superuser(DATABASE)
        try:
            await self._rows(conn)
        finally:
            await conn.close()
        bus = await buses.open(self.servers.nats_url, user="topology", seed=self.servers.nats_seeds["topology"])
        try:
            await self._streams(bus)
        finally:
            await bus.close()

    async def _rows(self, conn: asyncpg.Connection) -> None:
        await conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
            DATABASE,
        )
        await conn.execute(_EMPTY.format(services=",".join(self._services)))
        assert await conn.fetchval(_SHAPE, self._services) == self._shape

    async def _streams(self, bus: Bus) -> None:
        for stream in (await bus.api("STREAM.LIST"))["streams"] or ():
            if stream["state"]["last_seq"] or stream["state"]["consumer_count"]:
                await bus.api(f"STREAM.DELETE.{stream['config']['name']}")
