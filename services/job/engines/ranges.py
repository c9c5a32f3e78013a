"""Who fetches which bytes of one file, when several connections do."""

from __future__ import annotations

from collections.abc import Sequence


class Range:
    """Bytes that one connection is fetching. `stop` comes nearer when another takes over the rest; `reach` is how far
    the answer goes all the same."""

    def __init__(self, start: int, stop: int | None) -> None:
        self.start = start
        self.at = start
        self.stop = stop
        self.reach = stop

    def left(self) -> int:
        return 0 if self.stop is None else self.stop - self.at


class Ranges:
    """Those under way. What is left of a range is shared only when it is at least two pieces."""

    def __init__(self, first: Range, piece: int) -> None:
        self._active = [first]
        self._orphans: list[Range] = []
        self._piece = piece

    def take(self, gaps: Sequence[tuple[int, int | None]]) -> Range | None:
        """A gap that nobody fetches, or the second half of the longest range under way."""
        for start, stop in gaps:
            if stop is not None and not any(one.start < stop and (one.stop or stop) > start for one in self._active):
                return self._added(start, stop)
        longest = max(self._active, key=Range.left)
        if not self.shareable():
            return None
        middle = longest.at + longest.left() // 2
        taken = self._added(middle, longest.stop)
        longest.stop = middle
        return taken

    def shareable(self) -> bool:
        return max(map(Range.left, self._active)) >= 2 * self._piece

    def take_at(self, at: int, gaps: Sequence[tuple[int, int | None]], near: int) -> Range | None:
        """All from `at` to where another range begins; None when it is there, or comes anyway within `near` bytes."""
        for one in self._active:
            if one.start <= at < (one.stop or 0):
                if at - one.at <= near:
                    return None  # also what it has received and nobody has written yet
                taken = self._added(at, one.stop)
                one.stop = at
                return taken
        for start, stop in gaps:
            if stop is not None and start <= at < stop:
                return self._added(at, min([stop, *(one.start for one in self._active if one.start > at)]))
        return None

    def _added(self, start: int, stop: int | None) -> Range:
        taken = Range(start, stop)
        self._active.append(taken)
        return taken

    def leave(self, mine: Range) -> None:
        """A range that brought nothing goes back to one whose answer has it anyway; the rest becomes a gap."""
        self._active.remove(mine)
        if mine.at == mine.start and mine.left():
            self._orphans.append(mine)
        for orphan in sorted(self._orphans, key=lambda one: one.start):
            for one in self._active:
                if one.stop == orphan.start and one.left() and (one.reach or 0) >= (orphan.stop or 0):
                    one.stop = orphan.stop
                    self._orphans.remove(orphan)
                    break
