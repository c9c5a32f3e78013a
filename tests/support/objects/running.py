"""A server that is a program of its own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 60.0
GUARDED = "import os,sys,threading;threading.Thread(target=lambda:(sys.stdin.read(),os._exit(0)),daemon=True).start();"


@contextmanager
def program(argv: list[str], listening: str, **environment: str) -> Iterator[str]:
    """A server of its own process, which ends when its input does. Yields what `listening` finds in its output."""
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    heard = []
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    try:
        for line in process.stdout:
            heard.append(line)
            if found := re.search(listening, line):
                break
        else:
            raise AssertionError(f"{argv[0]} did not start: {''.join(heard)}")
        drain.start()
        yield found[1]
    finally:
        process.kill()
        process.wait()
        if drain.ident is not None:
            drain.join(PATIENCE)
        process.stdin.close()
        process.stdout.close()
