"""The room that one attempt has reserved in its owner's storage."""

from __future__ import annotations

from libs.message import Refused
from proto.job import Claimed, Failure, QuotaExceeded, ReserveStorage
from services.job.engines import EngineFailed
from services.job.worker.reporting import Reporter


class Room:
    """Mirrors what the job service has reserved, so that it is asked only for more. Nothing is asked for an owner whose
    storage has no limit."""

    def __init__(self, claimed: Claimed, reporter: Reporter) -> None:
        self._claimed = claimed
        self._reporter = reporter
        self._reserved = 0
        self._owed = 0
        """Bytes that are stored and not reported."""

    async def reserve(self, size: int, *, more: bool = False) -> None:
        """For all that is not reported yet, or for `more` beside what is stored. Raises EngineFailed when there is no
        room, and Refused when another attempt is current."""
        wanted = self._owed + size if more else size
        if not self._claimed.reserve or wanted <= self._reserved:
            return
        command = ReserveStorage(job_id=self._claimed.job_id, attempt=self._claimed.attempt, bytes=wanted)
        try:
            await self._reporter.send(command)
        except Refused as refused:
            if isinstance(refused.refusal, QuotaExceeded):
                failure = Failure(kind="permanent", code="quota_exceeded", message=refused.refusal.message)
                raise EngineFailed(failure) from refused
            raise
        self._reserved = max(self._reserved, wanted)

    def stored(self, size: int) -> None:
        self._owed += size

    def settled(self) -> None:
        """What was stored is reported, and no longer reserved."""
        self._reserved = max(0, self._reserved - self._owed)
        self._owed = 0
