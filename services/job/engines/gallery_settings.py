"""What gallery-dl is told for one job. The file is written by us alone; a user's choice never becomes text in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.job.engines import Fetch
from services.job.engines.known import add, begin
from services.job.engines.options import gallery_extractor

FILE_MARK, PROGRESS_MARK = "\x1eF", "\x1eP"
"""Begin a line that is ours: no path and no log line begins with a record separator."""
PROGRESS_SECONDS = 0.25
SIDECAR = ".json"
"""Added to a file's own name."""


def prepare(fetch: Fetch, instances: Mapping[str, Sequence[str]]) -> Path:
    """The settings file, with what it refers to. It holds the proxy's password, for as long as the job has one."""
    (fetch.work / "gallery").mkdir(exist_ok=True)
    archive = fetch.archive or fetch.work / "gallery.sqlite3"
    if fetch.archive is None:
        # Made anew for each attempt: what counts is what was stored, not what was fetched.
        begin(archive)
    add(archive, fetch.known)
    settings = fetch.work / "gallery.json"
    settings.touch(mode=0o600)
    settings.write_text(json.dumps(_settings(fetch, archive, instances)))
    return settings


def _settings(fetch: Fetch, archive: Path, instances: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    extractor: dict[str, Any] = {
        "base-directory": str(fetch.work / "gallery"),
        "archive": str(archive),
        "archive-event": [],
        **gallery_extractor(fetch.options, own=len(fetch.known)),
        **({} if fetch.allowed is None else {"file-filter": _kept(fetch.allowed)}),
        "proxy": fetch.proxy,
        "timeout": 30,
        "retries": 3,
        "sleep-429": 5,
        "cookies": str(fetch.cookies) if fetch.cookies else None,
        "cookies-update": False,
        "netrc": False,
        "metadata-path": "_path",
        "metadata-extractor": None,
        "path-remove": "\x00-\x1f\x7f",
        "ytdl": {"enabled": False},
        "recursive": {"enabled": False},
        "postprocessors": [
            # Before the file is told, so that it is there when the file is.
            *([_SIDECARS] if fetch.options.sidecars else []),
            *(
                _telling(event, said)
                for event, said in (("after", "finished"), ("skip", "skipped"), ("error", "failed"))
            ),
        ],
        **_configured(instances),
    }
    downloader: dict[str, Any] = {
        "part": True,
        "retries": 3,
        "timeout": 30,
        "progress": PROGRESS_SECONDS,
        "ytdl": {"enabled": False},
    }
    amounts = PROGRESS_MARK + " {0} {1}\n"
    return {
        "extractor": extractor,
        "downloader": downloader,
        "cache": {"file": None},
        "output": {
            "mode": {"start": "", "success": "", "skip": "", "progress": amounts, "progress-total": amounts},
            "shorten": False,
            "colors": {},
            "progress": False,
            "log": {"level": "warning", "format": "{levelname} {name}: {message}"},
        },
    }


_SIDECARS: dict[str, Any] = {"name": "metadata", "mode": "json", "event": ["after", "skip"]}
"""Writes beside the file what is known of it, without what begins with an underscore: there are headers among it."""


_UPLOADER = "account[acct]|author[name]|user[name]|username|uploader|artist|author|user"
"""Where sites have the name, the first that is there."""


def _telling(event: str, said: str) -> dict[str, Any]:
    """A line of JSON at this event. `!j` writes a value as JSON, whatever is in it."""
    return {
        "name": "metadata",
        "mode": "print",
        "event": event,
        "format": f'{FILE_MARK}{{{{"t":"{said}",'
        '"key":{_archive_key!j},"site":{category!j},"path":{_path.path!j},'
        f'"uploader":{{{_UPLOADER}!j}},"date":{{date!j}}}}}}',
    }


def _kept(allowed: frozenset[str]) -> str:
    """An expression that is true of files whose ending is kept, or not known yet. Of others it writes a line like those
    of `_telling`; they have no key at that point, so all that is known of them is hashed to one. An error in it would
    drop a file without a word."""
    return (
        "(lambda known, end: not end or end.isdigit() or not (end.isascii() and end.isalnum()) or len(end) > 16"
        f" or end in {sorted(allowed)!r} or print({FILE_MARK!r} + std.json.dumps("
        "{'t': 'unkept', 'key': hash_sha1(repr(known)), 'name': f'file.{end}'})))"
        "(locals(), str(locals().get('extension') or '').lower())"
    )


def _configured(instances: Mapping[str, Sequence[str]]) -> dict[str, dict[str, dict[str, str]]]:
    """Named after their host, because the name begins every key of their items."""
    return {
        software: {re.sub(r"\W", "_", urlsplit(root).netloc.lower()): {"root": root} for root in roots}
        for software, roots in instances.items()
    }
