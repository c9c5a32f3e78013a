"""`python -m tests.contracts.record` records a sample of every message that has none yet.

A recorded sample is never written again: it stands for what lies in a database or is on its way. `--unreleased`
records anew what no release has sent.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from libs.contracts.samples import encode, sample
from libs.contracts.schemas import Message, file_name
from libs.message import Command, Event
from proto.__main__ import everything

CORPUS = Path(__file__).parent / "corpus"


def recorded(messages: Mapping[str, Message]) -> list[Message]:
    """Commands and events: those are sent by one version of us and read by another."""
    return [one for one in messages.values() if issubclass(one, Command | Event)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.contracts.record", description=__doc__)
    parser.add_argument("--unreleased", action="store_true", help="record everything anew")
    anew = parser.parse_args().unreleased
    CORPUS.mkdir(exist_ok=True)
    if anew:
        for path in CORPUS.iterdir():
            path.unlink()
    for message in recorded(everything()):
        path = CORPUS / file_name(message)
        if not path.exists():
            path.write_bytes(encode([sample(message, full=True), sample(message, full=False)]))


if __name__ == "__main__":
    main()
