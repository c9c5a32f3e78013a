"""Servers that many tests share, as empty as a new installation's for each of them."""

from __future__ import annotations

from libs import bus as buses
from libs.bus import Bus
from libs.supervisor import Servers
from libs.supervisor.postgres import DATABASE

_SHAPE = """
with spaces as (select oid from pg_namespace where nspname = any($1) or nspname = 'public'),
relations as (select oid, relkind from pg_class where relnamespace in (select oid from spaces))
select string_agg(what, ', ' order by what) from (
    select format('%s %s', relkind, oid::regclass) from relations
    union all select format('%s of %s', tgname, tgrelid::regclass) from pg_trigger
    where tgrelid in (select oid from relations)
    union all select oid::regprocedure::text from pg_proc where pronamespace in (select oid from spaces)
) as found(what)
"""

_PREPARED = "prepared"
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
        async with self.servers.postgres.superuser(DATABASE) as conn:
            self._shape = await conn.fetchval(_SHAPE, self._services)
        async with self.servers.postgres.superuser("postgres") as conn:
            await conn.execute(f"create database {_PREPARED} template {DATABASE}")

    async def empty(self) -> None:
        async with self.servers.postgres.superuser(DATABASE) as conn:
            await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
                DATABASE,
            )
            await conn.execute(_EMPTY.format(services=",".join(self._services)))
            changed = await conn.fetchval(_SHAPE, self._services) != self._shape
        if changed:
            await self._anew()
        bus = await buses.open(self.servers.nats_url, user="topology", seed=self.servers.nats_seeds["topology"])
        try:
            await self._streams(bus)
        finally:
            await bus.close()

    async def _anew(self) -> None:
        """A test left another schema. Always, this would take ten times as long."""
        async with self.servers.postgres.superuser("postgres") as conn:
            await conn.execute(f"drop database {DATABASE} with (force)")
            await conn.execute(f"create database {DATABASE} template {_PREPARED}")
            await conn.execute(f"revoke all on database {DATABASE} from public")
            for service in self._services:
                await conn.execute(f"grant connect on database {DATABASE} to longshore_{service}")

    async def _streams(self, bus: Bus) -> None:
        for stream in (await bus.api("STREAM.LIST"))["streams"] or ():
            if stream["state"]["last_seq"] or stream["state"]["consumer_count"]:
                await bus.api(f"STREAM.DELETE.{stream['config']['name']}")
