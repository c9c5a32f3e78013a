"""Which jobs do the same, asked where no plan can read the whole table; and the same as a condition of an append."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

# One look into the index for each that is asked about. As a function for its setting: a plan that was made while the
# table was small would go on reading all of it.
ALIKE = """
create function job.alike(p_owners uuid[], p_prints uuid[], p_since timestamptz[])
returns table (owner uuid, fingerprint uuid, job_id uuid, number bigint) language sql volatile
set enable_seqscan = off as $$
  select asked.owner, asked.fingerprint, found.job_id, found.number
  from unnest(p_owners, p_prints, p_since) as asked(owner, fingerprint, since)
  cross join lateral (
    select j.job_id, j.number from job.jobs j
    where j.owner = asked.owner and j.fingerprint = asked.fingerprint and j.submitted_at >= asked.since
      and j.state in ('queued', 'admitted', 'resolving', 'downloading', 'processing', 'storing')
    order by j.number limit 1
  ) found
$$
"""
# The locks first and in one order. The look is a statement of its own, so that it sees what those committed who had
# the locks before.
NONE_ALIKE = """
create function job.none_alike(p_owners uuid[], p_prints uuid[], p_since timestamptz[])
returns boolean language plpgsql volatile as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(locked.owner::text, 1))
    from (select distinct owner from unnest(p_owners) as owner order by owner) locked;
  if exists (select from job.alike(p_owners, p_prints, p_since)) then
    raise exception 'another job does the same' using errcode = 'unique_violation', constraint = 'jobs_alike';
  end if;
  return true;
end
$$
"""


def upgrade() -> None:
    op.execute(ALIKE)
    op.execute(NONE_ALIKE)
