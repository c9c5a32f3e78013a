"""The tables and the one function of an event store, per service schema."""

from __future__ import annotations

_TABLES = """
create table {s}.streams (
  stream_id uuid primary key,
  kind text not null,
  version bigint not null,
  tenant uuid
) with (fillfactor = 80);

create table {s}.events (
  position bigint generated always as identity,
  txid xid8 not null default pg_current_xact_id(),
  stream_id uuid not null,
  version bigint not null,
  event_id uuid not null unique,
  kind text not null,
  type text not null,
  schema_version smallint not null,
  data bytea not null,
  meta bytea not null,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (stream_id, version),
  unique (txid, position)
);

create table {s}.commands (
  command_id uuid primary key,
  request_hash bytea not null,
  outcome bytea not null,
  at timestamptz not null default now()
);
create index commands_at on {s}.commands (at);

create table {s}.checkpoints (
  name text primary key,
  txid bigint not null,
  position bigint not null,
  sequence bigint not null,
  epoch text not null,
  updated_at timestamptz not null default now()
);

create table {s}.dead_letters (
  consumer text not null,
  sequence bigint not null,
  type text not null,
  stream_id uuid not null,
  body bytea not null,
  headers jsonb not null,
  error text not null,
  at timestamptz not null default now(),
  primary key (consumer, sequence)
);

"""

_APPEND = """
-- Modes of `expected`: n >= 1 exactly that version, 0 no stream, -1 the stream exists, -2 any.
-- Streams are passed once each, events in order with the index of their stream.
create function {s}.append(
  p_streams uuid[], p_kinds text[], p_tenants uuid[], p_expected bigint[], p_counts int[],
  p_event_ids uuid[], p_types text[], p_versions smallint[], p_data bytea[], p_meta bytea[], p_owner int[]
) returns table (txid text, positions bigint[], stream_versions bigint[]) language plpgsql as $append$
declare
  bad record;
  bases bigint[];
begin
  -- The transaction id orders the feed. If this transaction wrote elsewhere before, it got its id before a competitor
  -- that appends to the same stream first, and the feed would show version 2 ahead of version 1.
  if pg_current_xact_id_if_assigned() is not null then
    raise exception 'append must be the first write of its transaction' using errcode = 'LS001';
  end if;
  -- Without an exact version nobody loses, so the second must also get the younger id: it waits before taking one.
  perform pg_advisory_xact_lock(hashtextextended(w.id::text, 0))
    from (select u.id from unnest(p_streams, p_expected) as u(id, expected) where u.expected < 0 order by u.id) w;

  select u.id, u.expected, coalesce(s.version, 0) as actual into bad
    from unnest(p_streams, p_expected) as u(id, expected)
    left join {s}.streams s on s.stream_id = u.id
    where (u.expected >= 0 and coalesce(s.version, 0) <> u.expected) or (u.expected = -1 and s.version is null)
    limit 1;
  if found then
    raise exception 'wrong version' using errcode = 'LS002',
      detail = bad.id::text || ' ' || bad.expected::text || ' ' || bad.actual::text;
  end if;

  with given as (
    select u.* from unnest(p_streams, p_kinds, p_tenants, p_expected, p_counts) with ordinality
      as u(id, kind, tenant, expected, n, ord)
  ), saved as (
    insert into {s}.streams as s (stream_id, kind, version, tenant)
    select g.id, g.kind, g.n, g.tenant from given g
    on conflict (stream_id) do update set version = s.version + excluded.version
    returning s.stream_id, s.version
  )
  select array_agg(saved.version - g.n order by g.ord) into bases from given g join saved on saved.stream_id = g.id;

  -- The upsert waited for a competitor that committed after our look: look again before a number is used up.
  select u.id, u.expected, u.base as actual into bad
    from unnest(p_streams, p_expected, bases) as u(id, expected, base)
    where u.expected >= 0 and u.base <> u.expected limit 1;
  if found then
    raise exception 'wrong version' using errcode = 'LS002',
      detail = bad.id::text || ' ' || bad.expected::text || ' ' || bad.actual::text;
  end if;

  return query
  with rows as (
    insert into {s}.events (stream_id, version, event_id, kind, type, schema_version, data, meta)
    select p_streams[e.owner], bases[e.owner] + row_number() over (partition by e.owner order by e.ord), e.id,
           p_kinds[e.owner], e.type, e.schema_version, e.data, p_meta[e.owner]
    from unnest(p_event_ids, p_types, p_versions, p_data, p_owner) with ordinality
      as e(id, type, schema_version, data, owner, ord)
    order by e.ord
    returning {s}.events.position
  )
  select pg_current_xact_id()::text, array_agg(rows.position order by rows.position), bases from rows;
end
$append$;
"""


def create_event_store(schema: str) -> tuple[str, ...]:
    """DDL for one service's schema, which must exist, a statement each. Run once, by its first migration."""
    if not schema.isidentifier():
        raise ValueError(f"{schema!r} is no schema name")
    tables = (statement.strip() for statement in _TABLES.split(";\n"))
    return tuple(text.replace("{s}", schema) for text in (*tables, _APPEND) if text)
