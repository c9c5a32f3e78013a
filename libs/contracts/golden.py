"""The committed documents of a registry: what they should say, and what stands against writing them anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from libs.contracts.compatibility import incompatible
from libs.contracts.samples import encode
from libs.contracts.schemas import Document, Message, file_name, schema, split, version

OVERVIEW = "asyncapi.json"


def documents(messages: Iterable[Message], overview: Document) -> dict[str, bytes]:
    """Content by file name."""
    return {file_name(one): encode(schema(one)) for one in messages} | {OVERVIEW: encode(overview)}


def objections(
    messages: Mapping[str, Message], golden: Mapping[str, Document], upcasters: Collection[tuple[str, int]]
) -> list[str]:
    """Why today's structs can not read what the golden schemas allowed; `golden` is schemas by file name."""
    found: list[str] = []
    for name, old in sorted(golden.items()):
        label, number = split(name)
        message = messages.get(label)
        if message is None:
            found.append(f"{label}: the message is gone, or has another tag; what was sent as {label} has no reader")
        elif number > version(message):
            found.append(f"{label}: version {number} exists, the struct says {version(message)}")
        elif number == version(message):
            found += [
                f"{label}: {problem}; raise schema_version and add an upcaster"
                for problem in incompatible(old, schema(message))
            ]
        elif (label, number) not in upcasters:
            found.append(f"{label}: version {number} was written, and no upcaster lifts it")
    return found


def read(folder: Path) -> dict[str, Document]:
    """Golden schemas by file name."""
    return {path.name: json.loads(path.read_bytes()) for path in folder.glob("*.json") if path.name != OVERVIEW}


def drift(folder: Path, wanted: Mapping[str, bytes]) -> list[str]:
    """Files that are missing or say something else; older versions of a message are allowed to stay."""
    return [
        name
        for name, content in sorted(wanted.items())
        if not (folder / name).exists() or (folder / name).read_bytes() != content
    ]
