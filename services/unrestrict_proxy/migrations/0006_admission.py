"""One more connection, counted and admitted in one question."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

# The lock first. The count is a statement of its own, so that it sees those who were admitted before the lock was ours.
ADMITTED = """
create function unrestrict_proxy.admitted(p_connection uuid, p_process uuid, p_link text, p_owner uuid,
  p_most bigint, p_most_of_owner bigint, p_seen_since timestamptz)
returns boolean language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('connections ' || p_owner::text, 0));
  with others as materialized (
    select c.link_id, c.owner from unrestrict_proxy.connections c join unrestrict_proxy.servers s using (process)
    where s.seen_at > p_seen_since and (c.link_id = p_link or c.owner = p_owner))
  insert into unrestrict_proxy.connections (connection_id, process, link_id, owner)
  select p_connection, p_process, p_link, p_owner
  where (select count(*) from others where link_id = p_link) < p_most
    and (select count(*) from others where owner = p_owner) < p_most_of_owner;
  return found;
end
$$
"""


def upgrade() -> None:
    op.execute(ADMITTED)
