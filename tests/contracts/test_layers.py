"""What the import contracts can not see: knowledge that is written out where it may not be imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from proto import SERVICES

LIBS = Path(__file__).parents[2] / "libs"
NAMES = "|".join((*SERVICES, "worker"))
SUBJECT = re.compile(rf"\b(?:cmd|ctl|ev|q|wake)\.(?:{NAMES})\b|\bEV_(?:{NAMES.upper()})\b")
ALONE = {*SERVICES, "worker"} - {"storage"}
"""JetStream has a setting of the name that is left out."""


def strings(path: Path) -> Iterator[str]:
    """That a program works with: all but docstrings."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_libs_works_with_no_name_of_a_service() -> None:
    """Neither a service's name nor a subject or stream of one: whoever uses libs tells it."""
    found = {
        str(path.relative_to(LIBS)): [text for text in strings(path) if text in ALONE or SUBJECT.search(text)]
        for path in LIBS.rglob("*.py")
    }

    assert len(found) > 1
    assert {path: names for path, names in found.items() if names} == {}
