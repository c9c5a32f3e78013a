"""One installation and one media site for all tests of a process that go through the public APIs.

Each test has users of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.site import SiteProcess
from tests.site.hosts import Hosts
from tests.support.system import Installed, System, User, running

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("untimed")

GALLERIES = {"mastodon": "don.test", "moebooru": "booru.test", "vichan": "chan.test"}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    with asyncio.Runner() as runner:
        context = SiteProcess.start(tmp_path_factory.mktemp("site"))
        site = runner.run(_enter(context))
        yield site
        runner.run(_leave(context))


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """Scripted file hosts; `hosts.host("rapidgator")` is a new one each time."""
    with Hosts.start() as one:
        yield one


async def _enter(context):
    return await context.__aenter__()


async def _leave(context) -> None:
    await context.__aexit__(None, None, None)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    own = tmp_path_factory.getbasetemp()
    return Installed((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "installed")


@pytest.fixture
def data(installed: Installed, tmp_path: Path) -> Path:
    """A data folder of the test's own, as the first start leaves it."""
    return installed.at(tmp_path / "data")


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, site: SiteProcess, installed: Installed) -> Iterator[System]:
    data = installed.at(tmp_path_factory.mktemp("system") / "data")
    instances = ",".join(f"{software}=http://{host}" for software, host in GALLERIES.items())
    with running(
        data, site.egress_allow + ",127.0.0.0/8,hooks.slack.com=127.0.0.1:9", LONGSHORE_GALLERY_INSTANCES=instances
    ) as one:
        yield one


@pytest.fixture
def user(system: System) -> User:
    return system.user()


@pytest.fixture
def other(system: System) -> User:
    return system.user()
