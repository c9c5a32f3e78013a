"""Object storage that somebody must change something about first."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from msgspec.structs import replace

from libs.egress.policy import EgressPolicy
from services.storage.targets.credentials import Blob, Credentials
from services.storage.targets.failures import TargetAway, TargetRefused
from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget
from tests.support.certificates import certificate
from tests.support.objects.azure import Azurite
from tests.support.objects.gcs import google
from tests.support.objects.oss import oss
from tests.support.objects.s3 import strict_moto
from tests.support.objects.served import listening
from tests.support.objects.storage import Storage
from tests.support.targets import File, an_s3, mistrusted

pytestmark = pytest.mark.asyncio(loop_scope="session")


PROVIDERS = ("s3", "blob", "gcs", "oss")


def resolving(*addresses: str) -> EgressPolicy:
    async def lookup(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return EgressPolicy.parse("", lookup)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("what", ["verify", "put"])
async def test_wrong_credentials_are_refused(request, mover: Mover, small: File, provider: str, what: str):
    async with AsyncExitStack() as stack:
        match provider:
            case "s3":
                server = stack.enter_context(strict_moto())
                credentials: Credentials = server.bucket().credentials
                await server.check_signatures()
                await ObjectTarget(credentials, mover).verify()
            case "blob":
                credentials = (await request.getfixturevalue("azurite_server").container()).credentials
            case "gcs":
                credentials = (await stack.enter_async_context(google())).credentials
            case "oss":
                credentials = (await stack.enter_async_context(oss())).credentials
        target = ObjectTarget(mistrusted(credentials), mover)

        with pytest.raises(TargetRefused) as caught:
            await (target.verify() if what == "verify" else small.put(target, target.key((), "film.mp4")))

        assert caught.value.code == "access_denied"


@pytest.mark.parametrize("what", ["verify", "put"])
async def test_a_bucket_that_does_not_exist_is_refused(storage: Storage, mover: Mover, small: File, what: str):
    missing = {"container" if isinstance(storage.credentials, Blob) else "bucket": "no-such-place"}
    target = ObjectTarget(replace(storage.credentials, **missing), mover)

    with pytest.raises(TargetRefused) as caught:
        await (target.verify() if what == "verify" else small.put(target, target.key((), "film.mp4")))

    assert caught.value.code == "no_bucket"


async def test_a_file_that_is_not_what_was_announced_is_not_stored(target: ObjectTarget, storage: Storage, large: File):
    with pytest.raises(TargetRefused) as caught:
        await target.put(large.path, target.key((), "film.mkv"), large.size, "0" * 64)

    assert caught.value.code == "source_changed"
    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_a_private_address_is_refused_unless_it_was_opened(storage: Storage, small: File):
    async with Mover(EgressPolicy.parse("")) as mover:
        target = ObjectTarget(storage.credentials, mover)

        for asked in (
            target.verify(),
            small.put(target, target.key((), "a")),
            target.stat(target.key((), "a")),
            target.delete(target.key((), "a")),
            target.presign(target.key((), "a"), 60, "a"),
        ):
            with pytest.raises(TargetRefused) as caught:
                await asked
            assert caught.value.code == "egress_refused"
        assert mover.pid is None


async def test_a_name_that_leads_inside_is_refused_even_among_good_addresses():
    async with Mover(resolving("93.184.216.34", "10.0.0.1")) as mover:
        target = ObjectTarget(an_s3(endpoint="https://storage.example.org"), mover)

        with pytest.raises(TargetRefused) as caught:
            await target.verify()

    assert caught.value.code == "egress_refused"


async def test_secrets_do_not_travel_without_encryption():
    async with Mover(resolving("93.184.216.34")) as mover:
        target = ObjectTarget(an_s3(endpoint="http://storage.example.org"), mover)

        with pytest.raises(TargetRefused) as caught:
            await target.verify()

    assert caught.value.code == "not_https"


async def test_a_redirect_does_not_lead_inside(small: File):
    reached = []

    async def inside(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response(text="a secret of the house")

    async with listening(inside, "127.0.0.2") as hidden:

        async def redirecting(request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{hidden}{request.path}"})

        async with listening(redirecting) as url, Mover(EgressPolicy.parse("127.0.0.1/32")) as mover:
            target = ObjectTarget(an_s3(endpoint=url), mover)

            with pytest.raises(TargetRefused) as caught:
                await small.put(target, target.key((), "film.mp4"))

    assert caught.value.code == "egress_refused"
    assert reached == []


async def test_a_host_that_the_operator_mapped_is_found_there(small: File):
    """OSS puts the bucket before the host, and that name is what is looked up."""
    async with oss() as storage:
        credentials = storage.credentials
        port = urlsplit(credentials.endpoint).port
        moved = replace(credentials, endpoint="http://oss.test")

        async with Mover(EgressPolicy.parse(f"{storage.name}.oss.test=127.0.0.1:{port}")) as mover:
            target = ObjectTarget(moved, mover)
            await small.put(target, target.key((), "film.mp4"))

        assert await storage.objects() == {"videos/film.mp4": small.size}


async def test_storage_is_reached_over_https(monkeypatch: pytest.MonkeyPatch, large: File, tmp_path: Path):
    """Through a tunnel of the proxy, with the name's own certificate."""
    tls, trusted = certificate(tmp_path, "*.oss.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with oss(tls) as storage:
        allow = f"{storage.name}.oss.test=127.0.0.1:{urlsplit(storage.credentials.endpoint).port}"
        async with Mover(EgressPolicy.parse(allow)) as mover:
            target = ObjectTarget(replace(storage.credentials, endpoint="oss.test"), mover)

            await large.put(target, target.key((), "film.mkv"))

        assert await storage.objects() == {"videos/film.mkv": large.size}


async def test_a_server_with_a_certificate_of_another_name_is_away(
    monkeypatch: pytest.MonkeyPatch, small: File, tmp_path: Path
):
    tls, trusted = certificate(tmp_path, "*.other.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with oss(tls) as storage:
        allow = f"{storage.name}.oss.test=127.0.0.1:{urlsplit(storage.credentials.endpoint).port}"
        async with Mover(EgressPolicy.parse(allow)) as mover:
            target = ObjectTarget(replace(storage.credentials, endpoint="oss.test"), mover)

            with pytest.raises(TargetAway) as caught:
                await small.put(target, target.key((), "film.mp4"))

    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("key", ["../other", "videos/../other", "/etc/passwd", "other/film.mp4", "videos/./a", ""])
async def test_a_key_from_outside_the_folder_is_not_touched(mover: Mover, key: str):
    target = ObjectTarget(an_s3(), mover)

    with pytest.raises(ValueError, match="not made by this target"):
        await target.delete(key)


async def with_sas(server: Azurite) -> tuple[Storage, Credentials]:
    storage = await server.container()
    return storage, replace(storage.credentials, account_key=None, sas_token=f"?{server.sas()}")


async def test_a_sas_token_is_as_good_as_a_key_for_storing(azurite_server: Azurite, mover: Mover, large: File):
    storage, credentials = await with_sas(azurite_server)
    target = ObjectTarget(credentials, mover)

    await large.put(target, target.key((), "film.mkv"))

    assert await storage.objects() == {"videos/film.mkv": large.size}


async def test_a_sas_token_is_never_given_away_as_a_link(azurite_server: Azurite, mover: Mover):
    """It can not be narrowed to one file."""
    _, credentials = await with_sas(azurite_server)
    target = ObjectTarget(credentials, mover)

    with pytest.raises(TargetRefused) as caught:
        await target.presign(target.key((), "film.mkv"), 60, "film.mkv")

    assert caught.value.code == "cannot_sign"
