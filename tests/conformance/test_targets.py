"""Object storage of the user's own, against servers that speak its protocols."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import aiohttp
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import msgspec
import psutil
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from yarl import URL

from libs.egress.policy import EgressPolicy
from proto.storage import About
from services.storage.domain import words
from services.storage.targets.credentials import S3, Blob, Credentials, Gcs, Oss
from services.storage.targets.mover import Mover
from services.storage.targets.objects import ObjectTarget, Patience, TargetAway, TargetRefused
from services.storage.targets.signing import Link, sign
from tests.support.certificates import certificate
from tests.support.objects.azure import Azurite, NoAzurite, azurite
from tests.support.objects.between import Between, a_part, between
from tests.support.objects.gcs import google, service_account
from tests.support.objects.oss import oss
from tests.support.objects.s3 import Moto, moto
from tests.support.objects.served import listening
from tests.support.objects.storage import OPEN, Storage

PROVIDERS = ("s3", "blob", "gcs", "oss")
HASTY = Patience(call=1.0, part=1.0, start=1.0, clean=1.0)
MIB = 1 << 20
STRANGERS_KEY = generate_private_key(public_exponent=65537, key_size=2048)
IN_PARTS = 20 * MIB


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


@pytest.fixture
async def mover() -> AsyncIterator[Mover]:
    async with Mover(EgressPolicy.parse(OPEN)) as one:
        yield one


@pytest.fixture(params=PROVIDERS)
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


@pytest.fixture
async def middle(storage: Storage) -> AsyncIterator[Between]:
    async with between(origin(storage.credentials)) as one:
        yield one


@pytest.fixture
def through(storage: Storage, middle: Between, mover: Mover) -> ObjectTarget:
    """The target, with something in between that can fail."""
    return ObjectTarget(elsewhere(storage.credentials, middle.url), mover)


def origin(credentials: Credentials) -> str:
    parts = urlsplit(credentials.endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def elsewhere(credentials: Credentials, server: str) -> Credentials:
    return replace(credentials, endpoint=server + urlsplit(credentials.endpoint).path)


def mistrusted(credentials: Credentials) -> Credentials:
    """With a secret that is not theirs."""
    match credentials:
        case S3():
            return replace(credentials, secret_key="another-secret")
        case Blob():
            return replace(credentials, account_key=base64.b64encode(b"another" * 9).decode())
        case Oss():
            return replace(credentials, access_key_secret="another-secret")
        case Gcs():
            account = service_account(credentials.account().token_uri, STRANGERS_KEY)
            return replace(credentials, service_account_json=json.dumps(account))


def decoded(raw: str) -> Credentials:
    return msgspec.json.decode(raw, type=Credentials)


def an_s3(**fields: str) -> S3:
    known = {
        "endpoint": "https://s3.example.org", "bucket": "videos", "region": "eu-central-1",
        "access_key": "AKIAEXAMPLE", "secret_key": "a-secret",
    }  # fmt: skip
    return S3(**{**known, **fields})


class File:
    def __init__(self, folder: Path, size: int) -> None:
        self.path = folder / uuid4().hex
        self.bytes = os.urandom(size)
        self.path.write_bytes(self.bytes)
        self.size = size
        self.sha256 = hashlib.sha256(self.bytes).hexdigest()

    async def put(self, target: ObjectTarget, key: str):
        return await target.put(self.path, key, self.size, self.sha256)


@pytest.fixture
def small(tmp_path: Path) -> File:
    return File(tmp_path, 1000)


@pytest.fixture
def large(tmp_path: Path) -> File:
    return File(tmp_path, IN_PARTS)


async def fetched(link: str) -> tuple[int, bytes, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(URL(link, encoded=True)) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


# -- what it is for ------------------------------------------------------------------------------------------------


async def test_a_file_that_was_put_is_there_with_its_size_and_hash(target: ObjectTarget, small: File):
    key = target.key(("a show", "season 1"), "film & more+1.mp4")

    await small.put(target, key)

    found = await target.stat(key)
    assert (found.size, found.sha256) == (small.size, small.sha256)


@pytest.mark.parametrize("name", ["film.mp4", "a b+c & d%20e.mp4", "日本語 – é.mp4", "quote'n (1).mp4"])
async def test_a_link_gives_anybody_the_bytes_that_were_put(target: ObjectTarget, small: File, name: str):
    key = target.key(("folder",), name)
    await small.put(target, key)

    status, body, _ = await fetched(await target.presign(key, 60, name))

    assert status == 200, body
    assert body == small.bytes


async def test_a_link_makes_browsers_save_the_file_under_its_name(target: ObjectTarget, small: File):
    key = target.key((), "film.mp4")
    await small.put(target, key)

    _, _, headers = await fetched(await target.presign(key, 60, 'a "film" é.mp4'))

    disposition = next(value for name, value in headers.items() if name.lower() == "content-disposition")
    assert disposition == "attachment; filename=\"a _film_ _.mp4\"; filename*=UTF-8''a%20%22film%22%20%C3%A9.mp4"


async def test_a_deleted_file_is_gone(target: ObjectTarget, storage: Storage, small: File):
    key = target.key((), "film.mp4")
    await small.put(target, key)

    await target.delete(key)

    assert await target.stat(key) is None
    assert await storage.objects() == {}


async def test_deleting_what_is_not_there_is_no_failure(target: ObjectTarget):
    await target.delete(target.key((), "never.mp4"))


async def test_good_credentials_are_verified_and_nothing_stays_of_it(target: ObjectTarget, storage: Storage):
    await target.verify()

    assert await storage.objects() == {}


async def test_an_empty_file_is_kept_too(target: ObjectTarget, storage: Storage, tmp_path: Path):
    await File(tmp_path, 0).put(target, target.key((), "empty.txt"))

    assert await storage.objects() == {"videos/empty.txt": 0}


async def test_a_large_file_arrives_whole_though_it_is_sent_in_parts(target: ObjectTarget, storage: Storage, tmp_path):
    file, key = File(tmp_path, 50 * MIB), target.key((), "film.mkv")

    await file.put(target, key)

    _, body, _ = await fetched(await target.presign(key, 60, "film.mkv"))
    assert hashlib.sha256(body).hexdigest() == file.sha256
    assert await storage.unfinished() == []


async def test_memory_is_bounded_whatever_the_size_of_the_file(moto_server: Moto, mover: Mover, tmp_path: Path):
    """150 MB are sent with the memory that 50 MB take; four parts of 8 MiB are under way, and some are being copied."""
    target = ObjectTarget(moto_server.bucket().credentials, mover)
    await File(tmp_path, 1).put(target, target.key((), "first"))
    before = peak(mover)

    await File(tmp_path, 150 * MIB).put(target, target.key((), "large"))

    assert peak(mover) - before < 100 * MIB


def peak(mover: Mover) -> int:
    status = Path(f"/proc/{mover.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def test_the_same_file_again_is_not_sent_again(through: ObjectTarget, middle: Between, small: File):
    key = through.key((), "film.mkv")
    await small.put(through, key)
    middle.fail(lambda request: request.method != "HEAD" and "/o/" not in request.path and request.path != "/token")

    found = await small.put(through, key)

    assert found.size == small.size


async def test_another_file_under_the_same_key_replaces_the_first(
    target: ObjectTarget, storage: Storage, small: File, tmp_path
):
    key = target.key((), "film.mkv")
    await small.put(target, key)

    await File(tmp_path, 2000).put(target, key)

    assert await storage.objects() == {key: 2000}


# -- what goes wrong, and may go right the next time -----------------------------------------------------------------


async def test_a_service_that_fails_in_the_middle_is_away_and_keeps_nothing(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    middle.fail(a_part(2))

    with pytest.raises(TargetAway) as caught:
        await large.put(through, through.key((), "film.mkv"))

    assert caught.value.code == "unavailable"
    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_after_a_failure_in_the_middle_the_next_try_succeeds(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    key = through.key((), "film.mkv")
    middle.fail(a_part(2))
    with pytest.raises(TargetAway):
        await large.put(through, key)
    middle.heal()

    await large.put(through, key)

    assert await storage.objects() == {key: large.size}
    assert await storage.unfinished() == []


async def test_one_bad_moment_is_survived_without_starting_over(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    later, failed = a_part(2), []

    def once(request: web.Request) -> bool:
        hit = not failed and later(request)
        failed.extend([request] if hit else [])
        return hit

    middle.fail(once)

    await large.put(through, through.key((), "film.mkv"))

    assert len(failed) == 1
    assert list((await storage.objects()).values()) == [large.size]


async def test_a_cancelled_upload_leaves_nothing(through: ObjectTarget, middle: Between, storage: Storage, large: File):
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(through, through.key((), "film.mkv")))
    await middle.held.wait()

    putting.cancel()
    middle.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_an_upload_that_is_cancelled_while_the_service_hangs_leaves_nothing(
    through: ObjectTarget, middle: Between, storage: Storage, large: File
):
    middle.hold(a_part(1))
    putting = asyncio.create_task(large.put(through, through.key((), "film.mkv")))
    await middle.held.wait()

    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_an_upload_whose_process_is_killed_is_away_and_leaves_nothing(
    through: ObjectTarget, middle: Between, storage: Storage, mover: Mover, large: File
):
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(through, through.key((), "film.mkv")))
    await middle.held.wait()
    middle.heal()

    os.kill(mover.pid, signal.SIGKILL)
    with pytest.raises(TargetAway) as caught:
        await putting

    assert caught.value.code == "interrupted"
    assert await storage.objects() == {}
    assert await storage.unfinished() == []


async def test_a_server_that_is_gone_is_away(storage: Storage, mover: Mover, small: File):
    async with between("") as passing:
        url = passing.url
    target = ObjectTarget(elsewhere(storage.credentials, url), mover)

    with pytest.raises(TargetAway) as caught:
        await small.put(target, target.key((), "film.mp4"))

    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("what", ["verify", "put", "stat", "delete"])
async def test_a_server_that_never_answers_is_away_within_the_deadline(
    storage: Storage, middle: Between, mover: Mover, small: File, what: str
):
    middle.hold(lambda _: True)
    target = ObjectTarget(elsewhere(storage.credentials, middle.url), mover, HASTY)
    key = target.key((), "film.mp4")
    ways = {"verify": target.verify, "put": lambda: small.put(target, key), "stat": lambda: target.stat(key)}

    with pytest.raises(TargetAway) as caught:
        async with asyncio.timeout(15):
            await ways.get(what, lambda: target.delete(key))()

    assert caught.value.code == "timed_out"


SPOILT = {
    "one byte is missing": lambda data: data[:-1],
    "one byte is another": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_service_that_does_not_keep_what_it_was_given_is_away_and_keeps_nothing(mover, small: File, spoil):
    async with oss() as storage:
        storage.keeps = spoil
        target = ObjectTarget(storage.credentials, mover)

        with pytest.raises(TargetAway) as caught:
            await small.put(target, target.key((), "film.mp4"))

        assert caught.value.code == "damaged"
        assert storage.held == {}


async def test_a_service_whose_checksum_is_not_of_the_content_is_asked_for_the_content(mover: Mover, small: File):
    """As S3 with keys of its own; the bytes that come back are what counts."""
    async with oss() as storage:
        storage.tells_md5 = False
        target = ObjectTarget(storage.credentials, mover)

        await small.put(target, target.key((), "film.mp4"))

        assert await storage.objects() == {"videos/film.mp4": small.size}


async def test_a_cancelled_upload_leaves_what_was_there_before(
    through: ObjectTarget, middle: Between, storage: Storage, small: File, large: File
):
    key = through.key((), "film.mkv")
    await small.put(through, key)
    middle.hold(a_part(2))
    putting = asyncio.create_task(large.put(through, key))
    await middle.held.wait()

    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert await storage.objects() == {key: small.size}


async def test_what_a_crash_of_the_service_left_can_be_tidied_up(moto_server: Moto, mover: Mover):
    storage = moto_server.bucket()
    target = ObjectTarget(storage.credentials, mover)
    key, other = target.key((), "film.mkv"), target.key((), "film.mkv.other")
    for one in (key, other):
        client = moto_server.client("s3")
        await asyncio.to_thread(client.create_multipart_upload, Bucket=storage.credentials.bucket, Key=one)

    await target.tidy(key)

    assert await storage.unfinished() == [other]


# -- what somebody must change first ---------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("what", ["verify", "put"])
async def test_wrong_credentials_are_refused(request, mover: Mover, small: File, provider: str, what: str):
    async with AsyncExitStack() as stack:
        match provider:
            case "s3":
                server = stack.enter_context(moto(strict=True))
                credentials = server.bucket().credentials
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


def resolving(*addresses: str) -> EgressPolicy:
    async def lookup(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return EgressPolicy.parse("", lookup)


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


# -- Azure's shared access signatures --------------------------------------------------------------------------------


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


# -- links -----------------------------------------------------------------------------------------------------------


async def test_a_link_allows_nothing_but_reading(target: ObjectTarget, storage: Storage, small: File):
    if isinstance(storage.credentials, S3):
        pytest.skip("moto takes every request; the signature itself is compared with Amazon's own below")
    key = target.key((), "film.mp4")
    await small.put(target, key)
    link = URL(await target.presign(key, 60, "film.mp4"), encoded=True)

    async with aiohttp.ClientSession() as session:
        for method in ("PUT", "DELETE"):
            async with session.request(method, link, headers={"x-ms-blob-type": "BlockBlob"}) as answer:
                assert answer.status in {401, 403}

    assert await storage.objects() == {key: small.size}


async def test_a_link_is_good_for_its_own_file_only(target: ObjectTarget, storage: Storage, small: File):
    if isinstance(storage.credentials, S3):
        pytest.skip("moto takes every request; the signature itself is compared with Amazon's own below")
    key, other = target.key((), "film.mp4"), target.key((), "other.mp4")
    await small.put(target, key)
    await small.put(target, other)

    status, _, _ = await fetched((await target.presign(key, 60, "film.mp4")).replace("film.mp4?", "other.mp4?"))

    assert status in {401, 403}


async def test_a_link_ends_when_it_was_said_to(storage: Storage, mover: Mover, small: File):
    if isinstance(storage.credentials, S3):
        pytest.skip("moto takes every request; the signature itself is compared with Amazon's own below")
    target = ObjectTarget(storage.credentials, mover)
    an_hour_ago = ObjectTarget(storage.credentials, mover, clock=lambda: time.time() - 3600)
    key = target.key((), "film.mp4")
    await small.put(target, key)

    status, _, _ = await fetched(await an_hour_ago.presign(key, 3500, "film.mp4"))

    assert status in {401, 403}


@pytest.mark.parametrize(
    ("method", "key", "query"),
    [
        ("GET", "videos/a b+c & é.mp4", {"response-content-disposition": "attachment; filename*=UTF-8''%C3%A9"}),
        ("GET", "", {"uploads": "", "prefix": "videos/a b"}),
        ("DELETE", "videos/film~(1).mp4", {"uploadId": "a/b+c=="}),
    ],
)
def test_links_for_s3_have_the_signature_that_amazons_own_library_makes(method: str, key: str, query: dict[str, str]):
    credentials, now = an_s3(), datetime.now(UTC)
    ours = sign(credentials, Link(method=method, key=key, query=query, seconds=60), now)

    parts = urlsplit(ours)
    asked = botocore.awsrequest.AWSRequest(method, f"{parts.scheme}://{parts.netloc}{parts.path}", params=query)
    keys = botocore.credentials.Credentials(credentials.access_key, credentials.secret_key)
    signer = botocore.auth.S3SigV4QueryAuth(keys, "s3", credentials.region, 60)
    stamp = parse_qs(parts.query)["X-Amz-Date"][0]
    asked.context["timestamp"] = stamp
    signer._modify_request_before_signing(asked)
    canonical = signer.canonical_request(asked)
    theirs = signer.signature(signer.string_to_sign(asked, canonical), asked)

    assert parse_qs(parts.query)["X-Amz-Signature"] == [theirs]


# -- names and secrets -----------------------------------------------------------------------------------------------

HOSTILE = st.sampled_from(["..", "../..", "/", "\\..\\", "a/../../b", "%2e%2e", "\0", "~", ""])
WORDS = st.text(st.characters(exclude_characters="{}"), max_size=40) | HOSTILE
"""With halves of surrogate pairs, which names of files may have."""
ROOTS = st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=40) | HOSTILE


@given(st.lists(WORDS, max_size=6), WORDS, ROOTS, ROOTS)
def test_hostile_names_stay_inside_the_folder(folders: list[str], name: str, prefix: str, base: str):
    credentials = an_s3(folder_prefix=prefix, base_folder=base)

    key = PurePosixPath(credentials.key(tuple(folders), name))

    assert key.is_relative_to(credentials.root())
    assert not {"..", "."} & set(str(key).split("/"))
    assert not str(key).startswith("/")
    assert "\\" not in str(key)


@pytest.mark.parametrize("field", ["folder_prefix", "base_folder"])
def test_half_a_surrogate_pair_is_refused_as_a_root(field: str):
    with pytest.raises(ValueError, match="must be text"):
        an_s3(**{field: "a\ud800"})


FIELDS = "".join(f"{{{name}}}/" for name in ("owner", "site", "uploader", "collection", "date"))


@given(WORDS | st.text(max_size=300), WORDS, WORDS)
def test_folders_that_are_named_after_a_file_stay_inside_the_prefix(word: str, folder: str, name: str):
    """And no field becomes more than one of them."""
    credentials = an_s3(folder_prefix="mine", base_folder=FIELDS)
    about = About(site=word, uploader=word, collection=word, date=word)
    key = PurePosixPath(credentials.key((), name, words(about, UUID(int=1), date(2026, 1, 2))))

    assert credentials.root() == PurePosixPath("mine")
    assert key.parts[:2] == ("mine", str(UUID(int=1)))
    assert len(key.parts) == 7
    assert not {"..", "."} & set(key.parts)


def test_a_prefix_that_names_no_field_of_ours_is_refused():
    for wrong in ("{colour}", "{site", "a}b", "{{site}}"):
        with pytest.raises(ValueError, match="folders"):
            an_s3(folder_prefix=wrong)


@given(st.lists(st.text(min_size=100, max_size=300), max_size=12), st.text(max_size=300))
def test_a_key_is_never_longer_than_services_take(folders: list[str], name: str):
    assert len(an_s3(folder_prefix="p" * 200).key(tuple(folders), name).encode()) <= 1024


def test_keys_begin_with_the_prefix_and_the_base_folder():
    assert an_s3(folder_prefix="my/archive").key(("show",), "e1.mp4") == "my/archive/videos/show/e1.mp4"


@pytest.mark.parametrize("key", ["../other", "videos/../other", "/etc/passwd", "other/film.mp4", "videos/./a", ""])
async def test_a_key_from_outside_the_folder_is_not_touched(mover: Mover, key: str):
    target = ObjectTarget(an_s3(), mover)

    with pytest.raises(ValueError, match="not made by this target"):
        await target.delete(key)


SECRETS = ("hush-secret", "aHVzaC1zZWNyZXQ", "BEGIN PRIVATE KEY")


def with_secrets() -> list[Credentials]:
    key = base64.b64encode(b"hush-secret").decode()
    gone = "http://127.0.0.1:9"
    return [
        an_s3(endpoint=gone, secret_key="hush-secret"),
        Blob(account_name="example", container="videos", account_key=key, endpoint=f"{gone}/example"),
        Blob(account_name="example", container="videos", sas_token="sv=1&sig=hush-secret", endpoint=f"{gone}/example"),
        Gcs(
            project_id="p", bucket="videos", endpoint=gone,
            service_account_json=json.dumps(service_account(f"{gone}/token")),
        ),
        Oss(endpoint=gone, bucket="videos", access_key_id="a", access_key_secret="hush-secret"),
    ]  # fmt: skip


@pytest.mark.parametrize("credentials", with_secrets(), ids=["s3", "blob key", "blob sas", "gcs", "oss"])
def test_secrets_are_not_in_what_is_printed_of_credentials(credentials: Credentials):
    shown = repr(credentials) + str(credentials) + "".join(credentials.__rich_repr__())

    assert not any(secret in shown for secret in SECRETS)


@pytest.mark.parametrize("credentials", with_secrets(), ids=["s3", "blob key", "blob sas", "gcs", "oss"])
async def test_secrets_are_not_in_errors(credentials: Credentials, mover: Mover):
    with pytest.raises(TargetAway) as caught:
        await ObjectTarget(credentials, mover).verify()

    error, said = caught.value, ""
    while error is not None:
        said += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert not any(secret in said for secret in SECRETS)


async def test_secrets_are_not_on_a_command_line_or_in_an_environment(moto_server: Moto, mover: Mover):
    await ObjectTarget(moto_server.bucket(secret_key="hush-secret").credentials, mover).verify()

    process = psutil.Process(mover.pid)
    assert "hush-secret" not in f"{process.cmdline()} {process.environ()}"


# -- what is taken as credentials ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()], ids=["JSON", "base64"])
def test_a_google_key_file_is_taken_as_it_is_or_in_base64(encode):
    text = json.dumps({**service_account("https://oauth2.googleapis.com/token"), "client_id": "1"})
    raw = json.dumps({"provider": "gcs", "project_id": "p", "bucket": "videos", "service_account_json": encode(text)})

    assert decoded(raw).account().client_email == "longshore@example.test"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"type": "external_account", "credential_source": {"file": "/etc/passwd"}}),
        json.dumps({"type": "authorized_user", "refresh_token": "hush-secret"}),
        json.dumps({"type": "service_account", "client_email": "a", "private_key": "hush-secret"}),
        "hush-secret",
        "[]",
        "",
    ],
)
def test_other_kinds_of_google_files_are_not_taken_and_not_repeated(text: str):
    """Some name files of this machine, or addresses to ask."""
    raw = json.dumps({"provider": "gcs", "project_id": "p", "bucket": "videos", "service_account_json": text})

    with pytest.raises(msgspec.ValidationError, match="not the key file") as caught:
        decoded(raw)

    assert "hush-secret" not in str(caught.value)


@pytest.mark.parametrize("secrets", [{}, {"account_key": "a2V5", "sas_token": "sv=1&sig=abcdef"}])
def test_azure_needs_exactly_one_secret(secrets: dict[str, str]):
    raw = json.dumps({"provider": "blob", "account_name": "example", "container": "videos", **secrets})

    with pytest.raises(msgspec.ValidationError, match="Either account_key or sas_token must be provided"):
        decoded(raw)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "ftp://storage.example.org"),
        ("endpoint", "https://user@storage.example.org"),
        ("endpoint", "https://storage.example.org?x"),
        ("endpoint", "https://storage.example.org/../x"),
        ("endpoint", "https://storage.example.org:0"),
        ("endpoint", ""),
        ("bucket", "a/../b"),
        ("bucket", "evil.example.org/"),
        ("region", "us east"),
        ("secret_key", "a\nb"),
        ("folder_prefix", "a" * 150 + "/" + "b" * 150 + "/" + "c" * 150),
    ],
)
def test_settings_that_no_service_gives_are_not_taken(field: str, value: str):
    known = {"endpoint": "s3.example.org", "bucket": "videos", "region": "eu", "access_key": "a", "secret_key": "b"}

    with pytest.raises(msgspec.ValidationError):
        decoded(json.dumps({"provider": "s3", **known, field: value}))


def test_an_oss_bucket_can_not_turn_into_another_host():
    raw = {"provider": "oss", "endpoint": "oss.example.org", "access_key_id": "a", "access_key_secret": "b"}

    with pytest.raises(msgspec.ValidationError):
        decoded(json.dumps({**raw, "bucket": "evil.example.org"}))


# -- the process -----------------------------------------------------------------------------------------------------


async def test_the_process_is_gone_when_there_was_nothing_to_do_for_a_while(moto_server: Moto):
    async with Mover(EgressPolicy.parse(OPEN), idle=0.05) as mover:
        target = ObjectTarget(moto_server.bucket().credentials, mover)
        await target.verify()
        process = psutil.Process(mover.pid)

        await asyncio.to_thread(process.wait, 20)
        await target.verify()


async def test_many_files_are_put_at_the_same_time(moto_server: Moto, mover: Mover, tmp_path: Path):
    storage = moto_server.bucket()
    target = ObjectTarget(storage.credentials, mover)
    files = {target.key((), f"{number}.bin"): File(tmp_path, 1000 + number) for number in range(20)}

    await asyncio.gather(*(file.put(target, key) for key, file in files.items()))

    assert await storage.objects() == {key: file.size for key, file in files.items()}
