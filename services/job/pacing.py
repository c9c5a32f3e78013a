"""What this worker brings in for each owner, paced."""

from __future__ import annotations

from uuid import UUID
from weakref import WeakValueDictionary

from libs.egress.rate import Rate


class Pacing:
    """One bucket for each owner while any of its attempts runs here, so that they share what the worker was dealt."""

    def __init__(self) -> None:
        self._rates: WeakValueDictionary[UUID, Rate] = WeakValueDictionary()

    def of(self, owner: UUID) -> Rate:
        rate = self._rates.get(owner)
        if rate is None:
            rate = self._rates[owner] = Rate(None)
        return rate
