"""Which bytes a `Range` header asks for (RFC 9110, 14.1 and 14.2). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

SPECS_MOST = 64
"""A header with more is not regarded, as 14.2 allows: each part costs a header, and nobody needs that many."""

_UNIT = re.compile(r"bytes\s*=\s*(?P<set>.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(r"(?P<first>[0-9]{0,40})-(?P<last>[0-9]{0,40})")


class Span(NamedTuple):
    """Both inclusive."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def parse(header: str, size: int) -> tuple[Span, ...] | None:
    """In the order asked for, without overlap; empty when nothing of it can be satisfied, None when the header is not
    to be regarded and the whole is sent: it is malformed, of another unit, or has too many parts.

    Ranges that overlap or touch are sent as one (15.3.7.2), so no answer is longer than the file. Of an empty file
    no byte can be named: the header is not regarded then.
    """
    found = _UNIT.fullmatch(header.strip())
    if found is None or size == 0:
        return None
    specs = [one for one in (piece.strip(" \t") for piece in found["set"].split(",")) if one]
    if not specs or len(specs) > SPECS_MOST:
        return None
    spans: list[Span] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == "-":
            return None
        if match["first"] == "":
            length = int(match["last"])
            if length:
                spans.append(Span(max(size - length, 0), size - 1))
            continue
        first = int(match["first"])
        last = int(match["last"]) if match["last"] else size - 1
        if match["last"] and last < first:
            return None
        if first < size:
            spans.append(Span(first, min(last, size - 1)))
    return tuple(_merged(spans))


def _merged(spans: list[Span]) -> list[Span]:
    """Each group stands where the first of it was asked for."""
    kept: list[Span] = []
    for new in spans:
        span = new
        place = len(kept)
        for index in range(len(kept) - 1, -1, -1):
            other = kept[index]
            if other.first <= span.last + 1 and span.first <= other.last + 1:
                span = Span(min(other.first, span.first), max(other.last, span.last))
                del kept[index]
                place = index
        kept.insert(place, span)
    return kept


def content_range(span: Span, size: int) -> str:
    return f"bytes {span.first}-{span.last}/{size}"
