"""One function per command or query of the job service; the routing table."""

from services.job.handlers.attempts import (
    claim_attempt,
    lose_worker,
    report_completed,
    report_failed,
    report_interrupted,
    report_item,
    report_progress,
    report_stage,
    reserve_storage,
)
from services.job.handlers.batches import rename_jobs, start_batch
from services.job.handlers.control import cancel_job, delete_files, pause_job, prioritise_job, resume_job, retry_job
from services.job.handlers.limits import LIMITS, keep_limits, read_usage
from services.job.handlers.reading import list_archived, read_history
from services.job.handlers.submission import read_submission, submit_jobs

__all__ = ["HANDLERS", "LIMITS", "keep_limits"]

HANDLERS = (
    submit_jobs,
    read_submission,
    cancel_job,
    pause_job,
    resume_job,
    retry_job,
    prioritise_job,
    delete_files,
    start_batch,
    rename_jobs,
    claim_attempt,
    reserve_storage,
    report_stage,
    report_item,
    report_completed,
    report_failed,
    report_interrupted,
    lose_worker,
    report_progress,
    read_history,
    read_usage,
    list_archived,
)
