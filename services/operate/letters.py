"""`longshore dead-letters`: what services could not apply, and what becomes of it."""

from __future__ import annotations

import argparse
import json
import sys

import msgspec
from rich.table import Table

from libs.calls import Caller
from libs.message import Refused
from proto import SERVICES
from proto.any import DeadLetter, DropDeadLetter, ListDeadLetters, ReadDeadLetter, RedriveDeadLetter
from services.operate.words import BadWord, show


async def dead_letters(options: argparse.Namespace, caller: Caller) -> int:
    match options.action:
        case "show":
            consumer, sequence = options.letter
            query = ReadDeadLetter(consumer=consumer, sequence=sequence)
            found = await caller.query(query, result=DeadLetter, of=_service(consumer))
            print(json.dumps(msgspec.to_builtins(found), indent=2, ensure_ascii=False))
        case "drop":
            consumer, sequence = options.letter
            command = DropDeadLetter(consumer=consumer, sequence=sequence)
            await caller.command(command, actor="operator", of=_service(consumer))
        case "redrive":
            return await _redrive(options, caller)
        case _:
            table = Table("letter", "event", "since", "error", box=None)
            for one in await _all(caller):
                table.add_row(_name(one), one.event_type, f"{one.at:%Y-%m-%d %H:%M:%S}", one.error)
            show(table)
    return 0


async def _redrive(options: argparse.Namespace, caller: Caller) -> int:
    """0 when every one of them went well. Raises BadWord."""
    if options.all == (options.letter is not None):
        raise BadWord("say which letter, or --all")
    wanted = [(one.consumer, one.sequence) for one in await _all(caller)] if options.all else [options.letter]
    failed = 0
    for consumer, sequence in wanted:
        command = RedriveDeadLetter(consumer=consumer, sequence=sequence)
        try:
            await caller.command(command, actor="operator", of=_service(consumer))
            print(f"{consumer}:{sequence}")
        except Refused as refused:
            print(f"{consumer}:{sequence}: {refused.refusal.message}.", file=sys.stderr)
            failed = 1
    return failed


async def _all(caller: Caller) -> list[DeadLetter]:
    return [
        one
        for service in SERVICES
        for one in await caller.query(ListDeadLetters(), result=list[DeadLetter], of=service)
    ]


def _name(one: DeadLetter) -> str:
    return f"{one.consumer}:{one.sequence}"


def _service(consumer: str) -> str:
    """The owner of a consumer's mark. Raises BadWord."""
    service = consumer.partition(".")[0]
    if service not in SERVICES:
        raise BadWord(f"no service has a consumer {consumer}")
    return service
