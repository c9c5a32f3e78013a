"""Given events, when a command, then events or a refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.message import Event, Refusal
from proto import job as p
from services.job import domain
from services.job.domain import windows
from tests.support.sure import being

JOB, OWNER, WORKER, OTHER = (UUID(int=n) for n in range(1, 5))
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ITEM = p.StoredItem(file_id=UUID(int=9), key="a", name="a.bin", size=10, sha256="0" * 64)
FAILURE = p.Failure(kind="transient", code="http_503", message="the server is busy")
DOWNLOADING = p.StageNote(stage="downloading", at=AT + timedelta(seconds=3), engine="ytdlp")

SUBMITTED = p.JobSubmitted(
    job_id=JOB,
    number=7,
    owner=OWNER,
    dialect="jobs",
    url="https://files.test/a.bin",
    options=p.Options(),
    priority=5,
    held=False,
    at=AT,
)


def admitted(attempt: int = 1) -> p.JobAdmitted:
    return p.JobAdmitted(job_id=JOB, owner=OWNER, attempt=attempt, at=AT)


def started(attempt: int = 1, worker: UUID = WORKER) -> p.JobStarted:
    return p.JobStarted(job_id=JOB, owner=OWNER, attempt=attempt, worker_id=worker, at=AT)


def entered(stage: p.Stage, attempt: int = 1) -> p.JobStageEntered:
    return p.JobStageEntered(job_id=JOB, owner=OWNER, attempt=attempt, stage=stage, at=AT)


def failed_attempt(attempt: int = 1) -> p.JobAttemptFailed:
    return p.JobAttemptFailed(job_id=JOB, owner=OWNER, attempt=attempt, failure=FAILURE, retry_at=AT, at=AT)


PAUSED = p.JobPaused(job_id=JOB, owner=OWNER, at=AT)
CANCELLED = p.JobCancelled(job_id=JOB, owner=OWNER, at=AT)
COMPLETED = p.JobCompleted(
    job_id=JOB, owner=OWNER, attempt=1, engine="http", items_done=1, items_skipped=0, items_failed=0, size=10, at=AT
)
FAILED = p.JobFailed(job_id=JOB, owner=OWNER, attempt=1, failure=FAILURE, at=AT)

RUNNING = (SUBMITTED, admitted(), started())
HISTORIES: dict[str, tuple[Event, ...]] = {
    "held": (replace(SUBMITTED, held=True),),
    "queued": (SUBMITTED,),
    "admitted": (SUBMITTED, admitted()),
    "resolving": RUNNING,
    "downloading": (*RUNNING, entered("downloading")),
    "processing": (*RUNNING, entered("processing")),
    "storing": (*RUNNING, entered("storing")),
    "paused": (*RUNNING, PAUSED),
    "completed": (*RUNNING, COMPLETED),
    "failed": (*RUNNING, FAILED),
    "cancelled": (*RUNNING, CANCELLED),
}


def state_after(events: tuple[Event, ...]) -> domain.Job:
    job: domain.Job | None = None
    for event in events:
        job = domain.evolve(job, event)
    assert job is not None
    return job


def events(decision: domain.Decision) -> list[Event]:
    assert not isinstance(decision, Refusal), decision
    return decision


def tags(decision: domain.Decision) -> list[str]:
    if isinstance(decision, Refusal):
        return [f"refused:{type(decision).__name__}"]
    return [type(event).__name__ for event in decision]


@pytest.mark.parametrize("state", HISTORIES)
def test_each_history_ends_in_the_state_it_is_named_after(state):
    assert state_after(HISTORIES[state]).state == state


DECISIONS = {
    "cancel": lambda job: domain.cancel(job, p.CancelJob(owner=OWNER, job_id=JOB), AT),
    "pause": lambda job: domain.pause(job, p.PauseJob(owner=OWNER, job_id=JOB), AT),
    "resume": lambda job: domain.resume(job, p.ResumeJob(owner=OWNER, job_id=JOB), AT),
    "retry": lambda job: domain.retry(job, p.RetryJob(owner=OWNER, job_id=JOB), AT),
    "admit": lambda job: domain.admit(job, AT),
}
OF_AN_OWNER = {name: decide for name, decide in DECISIONS.items() if name != "admit"} | {
    "prioritise": lambda job: domain.prioritise(job, p.PrioritiseJob(owner=OWNER, job_id=JOB, priority=1), AT),
    "delete_files": lambda job: domain.delete_files(job, p.DeleteJobFiles(owner=OWNER, job_id=JOB), AT),
}
NO, NOTHING = "refused:WrongState", ""
WHAT_HAPPENS = {
    # state:       cancel          pause        resume        retry         admit
    "held":        ("JobCancelled", NOTHING,     "JobResumed", NO,           NO),
    "queued":      ("JobCancelled", "JobPaused", NOTHING,      NO,           "JobAdmitted"),
    "admitted":    ("JobCancelled", "JobPaused", NOTHING,      NO,           NO),
    "resolving":   ("JobCancelled", "JobPaused", NOTHING,      NO,           NO),
    "downloading": ("JobCancelled", "JobPaused", NOTHING,      NO,           NO),
    "processing":  ("JobCancelled", "JobPaused", NOTHING,      NO,           NO),
    "storing":     ("JobCancelled", "JobPaused", NOTHING,      NO,           NO),
    "paused":      ("JobCancelled", NOTHING,     "JobResumed", NO,           NO),
    "completed":   (NO,             NO,          NO,           NO,           NO),
    "failed":      (NO,             NO,          NO,           "JobRetried", NO),
    "cancelled":   (NOTHING,        NO,          NO,           "JobRetried", NO),
}  # fmt: skip


@pytest.mark.parametrize("state", HISTORIES)
@pytest.mark.parametrize(("column", "decision"), list(enumerate(DECISIONS)))
def test_every_command_in_every_state_has_the_one_outcome_of_the_table(state, column, decision):
    outcome = tags(DECISIONS[decision](state_after(HISTORIES[state])))

    assert outcome == ([WHAT_HAPPENS[state][column]] if WHAT_HAPPENS[state][column] else [])


@pytest.mark.parametrize("state", HISTORIES)
@pytest.mark.parametrize("decision", OF_AN_OWNER)
def test_the_job_of_another_owner_is_answered_as_absent(decision, state):
    job = replace(state_after(HISTORIES[state]), owner=OTHER)

    assert tags(OF_AN_OWNER[decision](job)) == ["refused:JobNotFound"]


def test_the_claim_of_the_admitted_attempt_starts_it():
    job = state_after(HISTORIES["admitted"])

    assert domain.claim(job, p.ClaimAttempt(job_id=JOB, attempt=1, worker_id=WORKER), AT, held=False) == [started()]


def test_a_claim_that_is_repeated_by_its_worker_changes_nothing():
    job = state_after(RUNNING)

    assert domain.claim(job, p.ClaimAttempt(job_id=JOB, attempt=1, worker_id=WORKER), AT, held=True) == []


def test_a_second_worker_with_the_same_ticket_gets_a_higher_attempt_that_shuts_the_first_out():
    job = state_after(RUNNING)

    decision = domain.claim(job, p.ClaimAttempt(job_id=JOB, attempt=1, worker_id=OTHER), AT, held=False)

    assert tags(decision) == ["JobInterrupted", "JobAdmitted", "JobStarted"]
    after = state_after((*RUNNING, *events(decision)))
    assert (after.attempt, after.worker_id) == (2, OTHER)
    late = p.ReportCompleted(job_id=JOB, attempt=1, engine="http", items=(ITEM,))
    assert tags(domain.report_completed(after, late, AT)) == ["refused:StaleAttempt"]


def test_a_ticket_that_the_queue_gave_out_twice_leaves_the_job_with_the_worker_that_runs_it():
    decision = domain.claim(state_after(RUNNING), p.ClaimAttempt(job_id=JOB, attempt=1, worker_id=OTHER), AT, held=True)

    assert tags(decision) == ["refused:StaleAttempt"]


def test_a_stage_was_entered_when_the_worker_did_however_late_it_is_told_of():
    """Those that come with the end name their times too, and none may lie before one that was told of by itself."""
    (entered,) = events(
        domain.report_stage(state_after(RUNNING), p.ReportStage(job_id=JOB, attempt=1, note=DOWNLOADING))
    )

    assert isinstance(entered, p.JobStageEntered)
    assert entered.at == DOWNLOADING.at


@pytest.mark.parametrize("state", ["queued", "admitted", "completed", "failed", "cancelled", "held"])
def test_a_report_is_refused_when_the_job_is_not_running(state):
    job = state_after(HISTORIES[state])
    attempt = max(job.attempt, 1)

    stage = domain.report_stage(job, p.ReportStage(job_id=JOB, attempt=attempt, note=DOWNLOADING))
    failure = domain.report_failed(job, p.ReportFailed(job_id=JOB, attempt=attempt, failure=FAILURE), AT, 0.0)

    assert tags(stage) == tags(failure) == ["refused:StaleAttempt"]


def test_work_that_was_done_before_the_pause_arrived_is_kept():
    job = state_after(HISTORIES["paused"])

    decision = domain.report_completed(job, p.ReportCompleted(job_id=JOB, attempt=1, engine="http", items=(ITEM,)), AT)

    assert tags(decision) == ["JobItemCompleted", "JobCompleted"]


def test_a_file_that_was_stored_before_the_pause_arrived_is_kept():
    report = p.ReportItem(job_id=JOB, attempt=1, item=ITEM)

    assert tags(domain.report_item(state_after(HISTORIES["paused"]), report, AT)) == ["JobItemCompleted"]


def test_a_completion_that_is_reported_again_changes_nothing_and_one_of_an_earlier_attempt_is_refused():
    """The worker that lost the first answer hears that it is done."""
    report = p.ReportCompleted(job_id=JOB, attempt=1, engine="http", items=(ITEM,))
    once, later = state_after(HISTORIES["completed"]), replace(state_after(HISTORIES["completed"]), attempt=2)

    assert tags(domain.report_completed(once, report, AT)) == []
    assert tags(domain.report_completed(later, report, AT)) == ["refused:StaleAttempt"]


def test_completion_counts_items_of_earlier_attempts_once():
    done = p.JobItemCompleted(job_id=JOB, owner=OWNER, attempt=1, item=ITEM, at=AT)
    second = replace(ITEM, key="b", size=5)
    job = state_after((*RUNNING, done))

    decision = domain.report_completed(
        job, p.ReportCompleted(job_id=JOB, attempt=1, engine="http", items=(ITEM, second)), AT
    )

    assert isinstance(decision, list)
    completed = decision[-1]
    assert isinstance(completed, p.JobCompleted)
    assert (completed.items_done, completed.size) == (2, 15)


def test_an_interruption_charges_no_attempt_and_queues_again():
    decision = events(domain.lose_worker(state_after(RUNNING), WORKER, AT))

    after = state_after((*RUNNING, *decision))
    assert (after.state, after.failures) == ("queued", 0)


def test_the_loss_of_another_worker_leaves_the_job_alone():
    assert domain.lose_worker(state_after(RUNNING), OTHER, AT) == []


@pytest.mark.parametrize("kind", ["content", "permanent", "auth_required"])
def test_a_failure_that_time_does_not_heal_ends_the_job_at_once(kind):
    report = p.ReportFailed(job_id=JOB, attempt=1, failure=replace(FAILURE, kind=kind))

    assert tags(domain.report_failed(state_after(RUNNING), report, AT, 0.0)) == ["JobFailed"]


def test_transient_failures_are_retried_until_the_budget_is_spent():
    events: list[Event] = [SUBMITTED]
    outcomes = []
    for attempt in range(1, domain.MAX_FAILURES["transient"] + 1):
        events += [admitted(attempt), started(attempt)]
        report = p.ReportFailed(job_id=JOB, attempt=attempt, failure=FAILURE)
        decision = domain.report_failed(state_after(tuple(events)), report, AT, 0.5)
        assert isinstance(decision, list)
        outcomes += tags(decision)
        events += decision

    assert outcomes == ["JobAttemptFailed"] * (domain.MAX_FAILURES["transient"] - 1) + ["JobFailed"]


def test_retrying_by_hand_gives_the_whole_budget_back():
    history = (*RUNNING, failed_attempt(), admitted(2), started(2), FAILED)
    decision = domain.retry(state_after(history), p.RetryJob(owner=OWNER, job_id=JOB), AT)
    assert isinstance(decision, list)

    assert state_after((*history, *decision)).failures == 0


@given(failures=st.integers(0, 30), jitter=st.floats(0, 1, exclude_max=True))
def test_a_retry_is_always_later_and_never_further_than_the_longest_delay(failures, jitter):
    due = domain.retry_at(failures, FAILURE, AT, jitter)

    assert timedelta(0) < due - AT <= domain.LONGEST_DELAY


def test_a_requested_delay_is_the_least_that_is_waited():
    asked = AT + timedelta(minutes=42)

    assert domain.retry_at(0, replace(FAILURE, kind="rate_limited", retry_at=asked), AT, 0.3) == asked


def test_an_origin_can_not_park_a_job_for_ever():
    asked = AT + timedelta(days=4000)

    due = domain.retry_at(0, replace(FAILURE, kind="rate_limited", retry_at=asked), AT, 0.3)

    assert due == AT + domain.LONGEST_REQUESTED_DELAY


WANTED = {"queued": "stale", "downloading": "run", "paused": "pause", "cancelled": "cancel", "completed": "stale"}


@pytest.mark.parametrize(("state", "wanted"), WANTED.items())
def test_a_worker_is_told_what_the_state_asks_of_it(state, wanted):
    job = state_after(HISTORIES[state])

    assert domain.wanted(job, job.attempt) == wanted


def test_a_worker_with_an_old_attempt_is_told_so():
    assert domain.wanted(state_after(RUNNING), 0) == "stale"


def deferred(until: datetime, reason: Literal["asked", "window"] = "window") -> p.JobDeferred:
    return p.JobDeferred(job_id=JOB, owner=OWNER, until=until, at=AT, reason=reason)


def test_a_queued_job_outside_its_owners_hours_waits_for_the_next():
    until = AT + timedelta(hours=3)
    decided = windows.shut_out(state_after(HISTORIES["queued"]), until, AT)

    assert decided == [deferred(until)]
    assert state_after((*HISTORIES["queued"], *decided)).not_before == until


def test_a_job_that_waits_longer_for_a_retry_goes_on_waiting_for_that():
    waiting = state_after((*RUNNING, replace(failed_attempt(), retry_at=AT + timedelta(hours=9))))

    assert windows.shut_out(waiting, AT + timedelta(hours=3), AT) == []


@pytest.mark.parametrize("state", sorted(HISTORIES.keys() - {"queued"}))
def test_only_a_queued_job_is_put_off(state: str):
    assert isinstance(windows.shut_out(state_after(HISTORIES[state]), AT + timedelta(hours=3), AT), Refusal)


def test_hours_that_are_moved_forward_let_in_who_waits_for_them_and_nobody_else():
    later = AT + timedelta(hours=3)

    assert windows.let_in(state_after((SUBMITTED, deferred(later))), AT) == [deferred(AT)]
    assert windows.let_in(state_after((SUBMITTED, deferred(later, "asked"))), AT) == []
    assert windows.let_in(state_after((SUBMITTED, deferred(later), admitted())), AT) == []


def test_items_that_were_passed_over_are_counted_once_over_all_attempts():
    """Each attempt counts from one."""
    first = events(domain.report_item(state_after(RUNNING), p.ReportItem(job_id=JOB, attempt=1, skipped=40), AT))
    history = (*RUNNING, *first, failed_attempt(), admitted(2), started(2))
    less = domain.report_item(state_after(history), p.ReportItem(job_id=JOB, attempt=2, skipped=3), AT)
    all_of_them = p.ReportCompleted(job_id=JOB, attempt=2, engine="gallerydl", skipped=41)
    decision = events(domain.report_completed(state_after(history), all_of_them, AT))

    assert less == []
    assert tags(decision) == ["JobItemsSkipped", "JobCompleted"]
    assert [being(p.JobItemsSkipped, event).count for event in (*first, decision[0])] == [40, 41]
    assert being(p.JobCompleted, decision[1]).items_skipped == 41


def test_what_only_goes_with_an_item_is_not_counted_as_one():
    items = (ITEM, replace(ITEM, key="a subtitle en"), replace(ITEM, key="a metadata"))
    decision = domain.report_completed(
        state_after(RUNNING), p.ReportCompleted(job_id=JOB, attempt=1, engine="ytdlp", items=items), AT
    )

    assert being(p.JobCompleted, events(decision)[-1]).items_done == 1


def test_the_archive_has_what_is_stored_and_its_site_names():
    named = replace(ITEM, key="booru7", site="booru", file_id=UUID(int=10))
    events = [p.JobItemCompleted(job_id=JOB, owner=OWNER, attempt=1, item=item, at=AT) for item in (ITEM, named)]
    broken = p.JobItemFailed(job_id=JOB, owner=OWNER, attempt=1, key="booru8", failure=FAILURE, at=AT)

    (kept,) = domain.archived(state_after(RUNNING), [*events, broken])

    assert (kept.owner, kept.site, kept.key, kept.host, kept.stored) == (OWNER, "booru", "booru7", "files.test", True)


def test_a_file_that_is_given_up_leaves_the_archive_of_what_is_stored():
    named = replace(ITEM, key="booru7", site="booru")
    done = p.JobItemCompleted(job_id=JOB, owner=OWNER, attempt=1, item=named, at=AT)
    job = state_after((*RUNNING, done, COMPLETED))
    decision = domain.delete_files(job, p.DeleteJobFiles(owner=OWNER, job_id=JOB), AT)

    (gone,) = domain.archived(job, events(decision))

    assert (gone.key, gone.file_id, gone.stored) == ("booru7", ITEM.file_id, False)


@pytest.mark.parametrize("url", ["https://www.site.test/a", "https://m.site.test/b", "https://site.test/"])
def test_a_site_for_desks_and_one_for_telephones_are_one(url: str):
    assert domain.plain_host(url) == "site.test"


@pytest.mark.parametrize("quick", [False, True])
def test_what_a_site_said_of_a_film_is_said_with_its_stage_and_again_at_its_end(quick: bool):
    """Whether the stages were reported one by one or with the end."""
    said: dict[str, Any] = {"title": "a film", "description": "what it is about", "release_date": "2026-01-31"}
    job = state_after(RUNNING)
    notes: tuple[p.StageNote, ...] = (p.StageNote(stage="downloading", at=AT, engine="ytdlp", **said),)
    if not quick:
        (entered,) = events(domain.report_stage(job, p.ReportStage(job_id=JOB, attempt=1, note=notes[0])))
        job, notes = domain.evolve(job, entered), ()
    report = p.ReportCompleted(job_id=JOB, attempt=1, engine="ytdlp", title="a film", items=(ITEM,), stages=notes)
    first, *_, completed = events(domain.report_completed(job, report, AT))

    for told in (first if quick else entered, completed):
        assert {name: getattr(told, name) for name in said} == said
