"""Object storage for tests: servers that speak the four protocols and check who asks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from services.storage.targets.credentials import Credentials

OPEN = "127.0.0.0/8"
"""For LONGSHORE_EGRESS_ALLOW."""


class Storage(ABC):
    """One bucket or container of its own on a running server, as a test sees it from the owner's side."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    @abstractmethod
    async def objects(self) -> dict[str, int]:
        """Names and sizes of what is there."""

    @abstractmethod
    async def unfinished(self) -> list[str]:
        """Keys of uploads that were begun and not finished."""
