"""What this worker moves for each owner, paced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from libs.egress.rate import Rate
from services.job.domain.sharing import share


class Pace:
    """An owner's share in this worker, dealt to what comes in, all of which has one bucket, and to each file that goes
    out to object storage, which storage paces for us."""

    def __init__(self) -> None:
        self.share: int | None = None
        self.rate = Rate(None)
        """Of what comes in."""
        self._coming = 0
        self._going = 0

    def set(self, share: int | None) -> None:
        """In bytes per second."""
        self.share = share
        self._deal()

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While an attempt runs."""
        self._coming += 1
        self._deal()
        try:
            yield
        finally:
            self._coming -= 1
            self._deal()

    @contextmanager
    def going(self, *, instead: bool) -> Iterator[None]:
        """While a file goes out; `instead` of anything that its attempt brings in."""
        self._going += 1
        self._coming -= instead
        self._deal()
        try:
            yield
        finally:
            self._going -= 1
            self._coming += instead
            self._deal()

    @property
    def out(self) -> int | None:
        """Of each file that goes out."""
        return None if self.share is None else max(1, self.share // max(1, self._coming + self._going))

    def _deal(self) -> None:
        if self.share is None:
            self.rate.set(None)
        else:
            coming = max(1, self._coming)
            self.rate.set(max(1, self.share * coming // (coming + self._going)))


class Pacing:
    """One pace for each owner while any of its attempts runs here, so that they share what the worker was dealt."""

    def __init__(self) -> None:
        self._paces: WeakValueDictionary[UUID, Pace] = WeakValueDictionary()

    def of(self, owner: UUID) -> Pace:
        pace = self._paces.get(owner)
        if pace is None:
            pace = self._paces[owner] = Pace()
        return pace

    def dealt(self, owner: UUID, bandwidth: int, running: Mapping[UUID, int], worker: UUID) -> None:
        """Told to all workers; nothing where nobody runs for the owner."""
        pace = self._paces.get(owner)
        if pace is not None:
            pace.set(share(bandwidth, running, worker))
