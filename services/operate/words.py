"""What is said on the command line, and what is answered."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from libs import settings


class BadWord(ValueError):
    """What was said on the command line is not what it must be."""


def size(text: str) -> int:
    """Of `500`, `64K`, `1.5G`; units are powers of 1024. Raises BadWord."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    try:
        return int(float(number) * 1024 ** " KMGT".index(unit or " "))
    except (ValueError, OverflowError):
        raise BadWord(f"{text} is no number of bytes, such as 500, 64K or 1.5G") from None


def admin(environ: Mapping[str, str]) -> str:
    return settings.read("admin_username", environ) or "admin"


def show(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 250).print(table)
