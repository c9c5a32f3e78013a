"""Work without an end, which the troubles of the moment pause and nothing but its cancellation ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog

log = structlog.get_logger()

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0


async def lasting(
    event: str,
    work: Callable[[], Coroutine[Any, Any, object]],
    passing: tuple[type[Exception], ...],
    *,
    first: float = FIRST_PAUSE,
    longest: float = LONGEST_PAUSE,
    **fields: str,
) -> NoReturn:
    """Does `work` again and again. What is `passing`, alone or all that a task group ended with, is logged as `event`;
    anything else is raised. Pauses double from `first` to `longest` seconds, and begin anew once `work` lasted that
    long.

    A cancellation can be lost: whoever cleans up after it may fail at that in its turn, and what arrives here is only
    the failure. Work that went on then would keep its process from ending.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    pause = first
    while True:
        begun = loop.time()
        try:
            # As a task of its own: a group of tasks that fails leaves a cancellation behind, in Python 3.11 and 3.12,
            # in the task that it was in.
            await asyncio.create_task(work())
        except* passing as troubles:
            await log.awarning(event, reason=_reason(troubles), **fields)
        if task.cancelling():
            raise asyncio.CancelledError
        if loop.time() - begun > longest:
            pause = first
        await asyncio.sleep(pause)  # back-off while something is away
        pause = min(pause * 2, longest)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels `task` as often as it takes. `asyncio.wait_for`, with which libraries wait, loses a cancellation on
    Python 3.11 that comes together with what it waits for; a task that tries until it succeeds would go on for ever."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)


def only(error: BaseException) -> BaseException:
    """A lone failure as itself, not as a group of tasks ends with it: callers catch it by its type."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _reason(error: BaseException) -> str:
    """Its kind, and what it says for itself where that is ours to say."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if type(error).__module__.startswith("libs.") else type(error).__name__
