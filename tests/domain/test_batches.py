"""Batches that are held, named and let go."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from libs.message import Event
from proto import job as p
from services.job import domain
from services.job.domain import batches
from services.job.domain.growing import Growing
from tests.domain.test_job import events
from tests.support.events import submitted
from tests.support.sure import being

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BATCH, OWNER, STRANGER = UUID(int=1), UUID(int=2), UUID(int=3)
SUBMITTED = p.BatchSubmitted(batch_id=BATCH, owner=OWNER, dialect="jobs", label="", size=2, held=True, at=AT)
STARTED = p.BatchStarted(batch_id=BATCH, owner=OWNER, at=AT)


def batch(*events: Event) -> batches.Batch:
    state = None
    for event in events:
        state = batches.evolve(state, event)
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("state", "owner", "answer"),
    [
        (batch(SUBMITTED), OWNER, batches.Batch),
        (batch(SUBMITTED), None, batches.Batch),
        (batch(SUBMITTED), STRANGER, p.BatchNotFound),
        (None, OWNER, p.BatchNotFound),
        (batch(SUBMITTED, STARTED), OWNER, p.BatchNotHeld),
        (batch(replace(SUBMITTED, held=False)), OWNER, p.BatchNotHeld),
    ],
)
def test_only_its_owner_and_the_operator_reach_a_batch_and_only_while_it_is_held(state, owner, answer):
    assert isinstance(batches.held(state, p.StartBatch(owner=owner, batch_id=BATCH)), answer)


def job(**changes) -> domain.Job:
    return domain.evolve(None, submitted(UUID(int=9), owner=OWNER, batch_id=BATCH, held=True, **changes))


def test_a_held_job_of_the_batch_is_renamed_once():
    (event,) = events(batches.rename(job(), BATCH, "better", AT))
    renamed = domain.evolve(job(), event)

    assert renamed.options.filename == "better"
    assert batches.rename(renamed, BATCH, "better", AT) == []


def test_a_job_of_another_batch_or_one_that_was_let_go_is_not_renamed():
    assert isinstance(batches.rename(job(), UUID(int=5), "better", AT), p.JobNotFound)
    assert isinstance(batches.rename(replace(job(), state="queued"), BATCH, "better", AT), p.WrongState)


def done(state: str, *file_ids: int) -> domain.Job:
    items: Growing[p.StoredItem] = Growing()
    for n in file_ids:
        items = items.plus(str(n), p.StoredItem(file_id=UUID(int=n), key=str(n), name="a", size=1, sha256="0" * 64))
    return replace(job(), state=state, items=items, kept=len(file_ids))


def test_deleting_what_a_job_stored_names_its_files_and_leaves_none():
    command = p.DeleteJobFiles(owner=OWNER, job_id=UUID(int=9))
    (event,) = events(domain.delete_files(done("completed", 7, 8), command, AT))

    assert being(p.JobFilesDeleted, event).file_ids == (UUID(int=7), UUID(int=8))
    after = domain.evolve(done("completed", 7, 8), event)
    assert (dict(after.items), after.kept) == ({}, 0)


@pytest.mark.parametrize("one", [done("completed"), done("downloading", 7)], ids=["nothing stored", "still running"])
def test_a_job_that_stored_nothing_or_still_runs_has_no_file_to_delete(one):
    assert isinstance(domain.delete_files(one, p.DeleteJobFiles(owner=OWNER, job_id=UUID(int=9)), AT), p.NoFiles)


def test_a_strangers_files_are_not_there():
    command = p.DeleteJobFiles(owner=STRANGER, job_id=UUID(int=9))

    assert isinstance(domain.delete_files(done("completed", 7), command, AT), p.JobNotFound)
