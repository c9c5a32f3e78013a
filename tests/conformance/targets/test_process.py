"""The process that speaks to object storage."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from libs.egress.policy import EgressPolicy
from services.storage.targets.credentials import Credentials
from services.storage.targets.failures import TargetAway
from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget
from tests.support.objects.s3 import Moto
from tests.support.objects.storage import OPEN
from tests.support.targets import MIB, SECRETS, File, with_secrets

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_memory_is_bounded_whatever_the_size_of_the_file(moto_server: Moto, tmp_path: Path):
    """150 MB are sent with the memory that 50 MB take; four parts of 8 MiB are under way, and some are being copied."""
    async with Mover(EgressPolicy.parse(OPEN)) as mover:
        target = ObjectTarget(moto_server.bucket().credentials, mover)
        await File(tmp_path, 1).put(target, target.key((), "first"))
        before = peak(mover)

        await File(tmp_path, 150 * MIB).put(target, target.key((), "large"))

        assert peak(mover) - before < 100 * MIB


def peak(mover: Mover) -> int:
    status = Path(f"/proc/{mover.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def test_the_process_is_gone_when_there_was_nothing_to_do_for_a_while(moto_server: Moto):
    async with Mover(EgressPolicy.parse(OPEN), idle=0.05) as mover:
        target = ObjectTarget(moto_server.bucket().credentials, mover)
        await target.verify()
        process = psutil.Process(mover.pid)

        await asyncio.to_thread(process.wait, 20)
        await target.verify()


async def test_a_bucket_that_many_try_at_once_is_good_for_all_of_them(moto_server: Moto, mover: Mover):
    storage = moto_server.bucket()

    await asyncio.gather(*(ObjectTarget(storage.credentials, mover).verify() for _ in range(12)))

    assert await storage.objects() == {}


async def test_many_files_are_put_at_the_same_time(moto_server: Moto, mover: Mover, tmp_path: Path):
    storage = moto_server.bucket()
    target = ObjectTarget(storage.credentials, mover)
    files = {target.key((), f"{number}.bin"): File(tmp_path, 1000 + number) for number in range(20)}

    await asyncio.gather(*(file.put(target, key) for key, file in files.items()))

    assert await storage.objects() == {key: file.size for key, file in files.items()}


@pytest.mark.parametrize("credentials", with_secrets(), ids=["s3", "blob key", "blob sas", "gcs", "oss"])
async def test_secrets_are_not_in_errors(credentials: Credentials, mover: Mover):
    with pytest.raises(TargetAway) as caught:
        await ObjectTarget(credentials, mover).verify()

    error: BaseException | None = caught.value
    said = ""
    while error is not None:
        said += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert not any(secret in said for secret in SECRETS)


async def test_secrets_are_not_on_a_command_line_or_in_an_environment(moto_server: Moto, mover: Mover):
    await ObjectTarget(moto_server.bucket(secret_key="hush-secret").credentials, mover).verify()

    process = psutil.Process(mover.pid)
    assert "hush-secret" not in f"{process.cmdline()} {process.environ()}"
