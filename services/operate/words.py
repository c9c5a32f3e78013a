"""What is said on the command line, and what is answered."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from libs import settings


class BadWord(ValueError):
    """What was said on the command line is not what it must be."""


MOST_BYTES = 1 << 50


def size(text: str, least: int = 0) -> int:
    """Of `500`, `64K`, `1.5G`; units are powers of 1024. Raises BadWord."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    try:
        count = int(float(number) * 1024 ** " KMGT".index(unit or " "))
    except (ValueError, OverflowError):
        raise BadWord(f"{text!r} is not a number of bytes, such as 500, 64K or 1.5G") from None
    if not least <= count <= MOST_BYTES:
        raise BadWord(f"{text!r} is not between {least} bytes and 1024T")
    return count


def count(text: str, least: int, most: int) -> int:
    """Raises BadWord."""
    if not (text.isascii() and text.isdecimal() and least <= int(text[:20]) <= most):
        raise BadWord(f"{text!r} is not a whole number between {least} and {most}")
    return int(text)


def admin(environ: Mapping[str, str]) -> str:
    return settings.read("admin_username", environ) or "admin"


def plain(*, stderr: bool = False, width: int | None = None) -> Console:
    """A title or a link may look like what the library takes for a colour or a picture."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def show(table: Table) -> None:
    """As wide as the terminal, and for another program as wide as it takes."""
    if sys.stdout.isatty():
        plain().print(table)
        return
    endless = plain(width=1 << 20)
    plain(width=Measurement.get(endless, endless.options, table).maximum).print(table)
