"""What processes keep in memory though they do not need it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.site import SiteProcess
from tests.support.system import User

CHECKS = """
import sys, threading
from pathlib import Path
from libs import memory
from services.auth.tokens import verify_password

def kept():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

if "give_back" in sys.argv:
    memory.give_back()
before = kept()
for _ in range(3):
    checks = [threading.Thread(target=verify_password, args=(None, "x")) for _ in range(2)]
    for check in checks:
        check.start()
    for check in checks:
        check.join()
print(kept() - before)
"""


def kept_after_checks_of_passwords(*words: str) -> int:
    """In kB."""
    done = subprocess.run([sys.executable, "-c", CHECKS, *words], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and is about glibc")
def test_what_checks_of_passwords_needed_goes_back_to_the_system():
    assert kept_after_checks_of_passwords() > 15_000, "nothing is kept anyway: the call is needless"
    assert kept_after_checks_of_passwords("give_back") < 5_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_worker_has_no_library_that_only_services_need(user: User, site: SiteProcess):
    async with user.http() as http:
        await http.ended(await http.submit(site.file(1000, "memory.bin")))
    (worker,) = user.system.children("services worker")
    loaded = {part for one in worker.memory_maps() for part in Path(one.path).parts}

    assert "aiohttp" in loaded
    assert not loaded & {"asyncpg", "argon2", "_argon2_cffi_bindings", "cryptography", "granian"}
