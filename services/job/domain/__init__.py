"""Every decision about a job, and what each event makes of it. Pure; clock, chance and ids are arguments."""

from services.job.domain.archive import Archived, archived, plain_host
from services.job.domain.attempts import (
    admit,
    claim,
    lose_worker,
    report_completed,
    report_interrupted,
    report_stage,
    wanted,
)
from services.job.domain.control import cancel, delete_files, pause, prioritise, resume, retry
from services.job.domain.failures import (
    LONGEST_DELAY,
    LONGEST_REQUESTED_DELAY,
    MAX_FAILURES,
    report_failed,
    retry_at,
)
from services.job.domain.items import report_item
from services.job.domain.job import Decision, Job, evolve, not_found
from services.job.domain.submission import submit

__all__ = [
    "LONGEST_DELAY",
    "LONGEST_REQUESTED_DELAY",
    "MAX_FAILURES",
    "Archived",
    "Decision",
    "Job",
    "admit",
    "archived",
    "cancel",
    "claim",
    "delete_files",
    "evolve",
    "lose_worker",
    "not_found",
    "pause",
    "plain_host",
    "prioritise",
    "report_completed",
    "report_failed",
    "report_interrupted",
    "report_item",
    "report_stage",
    "resume",
    "retry",
    "retry_at",
    "submit",
    "wanted",
]
