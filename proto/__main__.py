"""`python -m proto` writes proto/schema from the structs; `--check` only says whether that would change anything.

A change that would leave earlier messages unreadable is refused. `--unreleased` writes it all the same: right only for
messages that no release has sent.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from libs.contracts.asyncapi import Signal, asyncapi
from libs.contracts.golden import documents, drift, objections, read
from libs.contracts.schemas import Document, Message, messages
from libs.message import tag
from proto import MODULES, REGISTRY, gateway, job, unrestrict_proxy

SCHEMAS = Path(__file__).parent / "schema"

SIGNALS = (
    Signal("progress.{owner}.{job}", job.Progress, "job", ("gateway",)),
    Signal("ctl.job.{job}", job.Control, "job", ("worker",)),
    Signal("ctl.link.{job}", unrestrict_proxy.Awaited, "unrestrict_proxy", ("worker",)),
    Signal("ctl.shares", job.Dealt, "job", ("job", "worker")),
    Signal("ctl.asked", gateway.Asked, "gateway", ("gateway",)),
    Signal("work.run.{queue}.{priority}", job.Ticket, "job", ("worker",)),
)
PARAMETERS = {
    "owner": "User id.",
    "job": "Job id.",
    "queue": "Work queue.",
    "priority": "1 is most urgent, 10 least.",
}
UPCASTERS = {key for module in MODULES for key in getattr(module, "UPCASTERS", {})}


def everything() -> dict[str, Message]:
    """By tag: what the registry knows, and the signals."""
    return messages(REGISTRY) | {tag(signal.message): signal.message for signal in SIGNALS}


def overview() -> Document:
    return asyncapi(
        REGISTRY,
        SIGNALS,
        PARAMETERS,
        title="Longshore",
        version=version("longshore"),
        description="What the services say to one another over NATS. Generated from the structs in proto/.",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m proto", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something would change")
    parser.add_argument("--unreleased", action="store_true", help="accept changes that earlier messages do not survive")
    options = parser.parse_args(arguments)
    wanted = documents(everything().values(), overview())
    refused = [] if options.unreleased else objections(everything(), read(SCHEMAS), UPCASTERS)
    changed = drift(SCHEMAS, wanted)
    if options.check:
        for name in changed:
            sys.stderr.write(f"proto/schema/{name} is not what the structs say; run `just schema`\n")
    for problem in refused:
        sys.stderr.write(f"{problem}\n")
    if options.check or refused:
        return 1 if changed or refused else 0
    SCHEMAS.mkdir(exist_ok=True)
    if options.unreleased:
        for name in read(SCHEMAS).keys() - wanted.keys():
            (SCHEMAS / name).unlink()
    for name in changed:
        (SCHEMAS / name).write_bytes(wanted[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
