"""Reservations: given what the owner's jobs take, when an attempt asks for room."""

from __future__ import annotations

from uuid import UUID

import pytest
from msgspec.structs import replace

from libs.message import Event
from proto import job as p
from services.job.domain import quota
from tests.domain.test_job import (
    AT,
    CANCELLED,
    COMPLETED,
    FAILED,
    HISTORIES,
    ITEM,
    JOB,
    OWNER,
    PAUSED,
    RUNNING,
    failed_attempt,
    state_after,
)

ASKED = p.ReserveStorage(job_id=JOB, attempt=1, bytes=100)
RESERVED = p.JobStorageReserved(job_id=JOB, owner=OWNER, attempt=1, bytes=100, at=AT)
STORED = p.JobItemCompleted(job_id=JOB, owner=OWNER, attempt=1, item=replace(ITEM, size=60), at=AT)
DELETED = p.JobFilesDeleted(job_id=JOB, owner=OWNER, file_ids=(UUID(int=9),), at=AT)


@pytest.mark.parametrize(("limit", "besides"), [(None, 10**15), (100, 0), (1000, 900)])
def test_what_fits_is_reserved(limit: int | None, besides: int):
    assert quota.reserve(state_after(RUNNING), ASKED, limit, besides, AT) == [RESERVED]


def test_one_byte_too_many_is_refused_with_the_limit_and_what_is_used():
    refused = quota.reserve(state_after(RUNNING), ASKED, 1000, 901, AT)

    assert isinstance(refused, p.QuotaExceeded)
    assert (refused.limit, refused.used) == (1000, 901)


def test_what_the_job_has_stored_counts_as_well():
    job = state_after((*RUNNING, RESERVED, STORED))

    assert quota.reserve(job, ASKED, 1000, 840, AT) == [RESERVED]
    assert isinstance(quota.reserve(job, ASKED, 1000, 841, AT), p.QuotaExceeded)


def test_asking_again_for_what_is_reserved_changes_nothing_even_over_the_limit():
    assert quota.reserve(state_after((*RUNNING, RESERVED)), ASKED, 10, 10, AT) == []


def test_another_attempt_reserves_nothing():
    assert isinstance(quota.reserve(state_after(RUNNING), replace(ASKED, attempt=2), None, 0, AT), p.StaleAttempt)


def test_what_is_stored_is_no_longer_reserved():
    job = state_after((*RUNNING, RESERVED, STORED))

    assert (job.kept, job.reserved) == (60, 40)


@pytest.mark.parametrize("end", [COMPLETED, FAILED, CANCELLED], ids=["completed", "failed", "cancelled"])
def test_the_end_of_a_job_gives_back_what_it_did_not_store(end: Event):
    job = state_after((*RUNNING, RESERVED, STORED, end))

    assert (job.kept, job.reserved) == (60, 0)


@pytest.mark.parametrize("pause", [PAUSED, failed_attempt()], ids=["paused", "tried again"])
def test_a_job_that_will_go_on_keeps_its_room(pause: Event):
    assert state_after((*RUNNING, RESERVED, pause)).reserved == 100


def test_deleted_files_are_kept_no_longer():
    assert state_after((*RUNNING, RESERVED, STORED, COMPLETED, DELETED)).kept == 0


def test_a_storage_that_is_full_begins_nothing():
    assert quota.full(1000, 999) is None
    assert quota.full(None, 10**15) is None
    assert isinstance(quota.full(1000, 1000), p.QuotaExceeded)


def test_a_job_without_reservations_has_none():
    assert all(state_after(events).reserved == 0 for events in HISTORIES.values())
