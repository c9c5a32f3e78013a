"""The four kinds of object storage, each a bucket of the test's own; what is in between; and files to put there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from libs.egress.policy import EgressPolicy
from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget
from tests.support.objects.azure import Azurite, NoAzurite, azurite
from tests.support.objects.between import Between, between
from tests.support.objects.gcs import google
from tests.support.objects.oss import oss
from tests.support.objects.s3 import Moto, moto
from tests.support.objects.storage import OPEN, Storage
from tests.support.targets import IN_PARTS, File, elsewhere, origin

PROVIDERS = ("s3", "blob", "gcs", "oss")


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    try:
        with azurite(tmp_path_factory.mktemp("azurite")) as server:
            yield server
    except NoAzurite as error:
        pytest.skip(f"Azure is not tested: {error}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mover() -> AsyncIterator[Mover]:
    """One for all tests of a process, as a service has it."""
    async with Mover(EgressPolicy.parse(OPEN)) as one:
        yield one


@pytest_asyncio.fixture(params=PROVIDERS, loop_scope="session")
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "s3":
                yield request.getfixturevalue("moto_server").bucket()
            case "blob":
                yield await request.getfixturevalue("azurite_server").container()
            case "gcs":
                yield await stack.enter_async_context(google())
            case "oss":
                yield await stack.enter_async_context(oss())


@pytest.fixture
def target(storage: Storage, mover: Mover) -> ObjectTarget:
    return ObjectTarget(storage.credentials, mover)


@pytest_asyncio.fixture(loop_scope="session")
async def middle(storage: Storage) -> AsyncIterator[Between]:
    async with between(origin(storage.credentials)) as one:
        yield one


@pytest.fixture
def through(storage: Storage, middle: Between, mover: Mover) -> ObjectTarget:
    """The target, with something in between that can fail."""
    return ObjectTarget(elsewhere(storage.credentials, middle.url), mover)


@pytest.fixture
def small(tmp_path: Path) -> File:
    return File(tmp_path, 1000)


@pytest.fixture
def large(tmp_path: Path) -> File:
    return File(tmp_path, IN_PARTS)
