"""What is taken as credentials of object storage, what is shown of it, and the names that are made with it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.storage import About
from services.storage.domain import words
from services.storage.targets.credentials import Credentials, Gcs
from services.storage.targets.signing import Link, sign
from tests.support.objects.gcs import service_account
from tests.support.sure import being
from tests.support.targets import SECRETS, an_s3, with_secrets


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


@pytest.mark.parametrize("credentials", with_secrets(), ids=["s3", "blob key", "blob sas", "gcs", "oss"])
def test_secrets_are_not_in_what_is_printed_of_credentials(credentials: Credentials):
    shown = repr(credentials) + str(credentials) + "".join(credentials.__rich_repr__())

    assert not any(secret in shown for secret in SECRETS)


def decoded(raw: str) -> Credentials:
    return msgspec.json.decode(raw, type=Credentials)


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()], ids=["JSON", "base64"])
def test_a_google_key_file_is_taken_as_it_is_or_in_base64(encode):
    text = json.dumps({**service_account("https://oauth2.googleapis.com/token"), "client_id": "1"})
    raw = json.dumps({"provider": "gcs", "project_id": "p", "bucket": "videos", "service_account_json": encode(text)})

    assert being(Gcs, decoded(raw)).account().client_email == "longshore@example.test"


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
