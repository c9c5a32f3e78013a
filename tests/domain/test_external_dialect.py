"""The external API's words against the sentences of its document."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from libs.message import Refusal, new_id
from proto.job import QuotaExceeded
from proto.unrestrict_proxy import (
    HostCapReached,
    HostInfo,
    HostLink,
    HostRefused,
    LinkNotFound,
    TooManyAtOnce,
    Traffic,
    TrafficShort,
    Unrestricted,
    UnsupportedLink,
)
from services.gateway.dialects.external import translate, words
from services.gateway.dialects.external.translate import Address, Invalid

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
OWNER = new_id()
AT = Address("https://your-proxy", "1.2.three")
TRAFFIC = Traffic(
    quota=1099511627776, left=466894644646, reserved=5, host_daily=64424509440, host_used={}, concurrent=0
)
RAPIDGATOR = HostInfo(
    platform="rapidgator",
    name="RapidGator",
    domains=("rg.to", "rapidgator.net"),
    max_chunks=1,
    max_downloads=3,
    resumable=False,
    working=True,
    traffic_left=50000000000,
    traffic_total=200000000000,
    updated_at=datetime.fromtimestamp(1710000000, UTC),
)
LINK = HostLink(
    link_id="AAAAAAAAAAAAAAAAAAAAA-",
    owner=OWNER,
    job_id=new_id(),
    platform="rapidgator",
    host="rapidgator.net",
    name="exämple one.avi",
    size=30833612,
    state="downloading",
    requested_at=datetime.fromtimestamp(1710000000, UTC),
    max_chunks=4,
    resumable=True,
)


def shown(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


def test_an_account_is_as_in_the_document():
    assert shown(translate.account(TRAFFIC)) == {
        "accountType": "premium",
        "trafficleft": 466894644646,
        "trafficmax": 1099511627776,
        "trafficmax_daily": 64424509440,
        "timeleft": None,
        "login_check_interval": 1800000,
    }


def test_who_has_no_quota_is_free_and_who_has_no_cap_is_not_told_of_one_that_is_used_up():
    assert shown(translate.account(replace(TRAFFIC, quota=0, left=0)))["accountType"] == "free"
    assert shown(translate.account(replace(TRAFFIC, host_daily=0)))["trafficmax_daily"] == TRAFFIC.quota


ROW = {
    "maxChunks": 16,
    "maxDownloads": 3,
    "resumable": True,
    "currently_working": True,
    "trafficleft": 50000000000,
    "trafficmax_daily": 200000000000,
}


def test_hosts_have_a_row_for_every_domain():
    assert shown(translate.hosts([RAPIDGATOR], 16, NOW)) == {
        "supportedhosts": [{"host": "rg.to", **ROW}, {"host": "rapidgator.net", **ROW}],
        "updated_at": 1710000000000,
    }


def test_grouped_hosts_have_a_row_for_every_platform_the_canonical_name_first_and_all_names_sorted():
    assert shown(translate.grouped([RAPIDGATOR], 16, NOW)) == {
        "supportedhosts": [{"platform": "RapidGator", "host": "rg.to", "domains": ["rapidgator.net", "rg.to"], **ROW}],
        "updated_at": 1710000000000,
    }


@pytest.mark.parametrize("working", [True, False])
def test_traffic_that_nobody_knows_is_left_out_and_never_zero(working):
    unknown = replace(RAPIDGATOR, traffic_left=None, traffic_total=None, working=working)
    for rows in (translate.hosts([unknown], 16, NOW), translate.grouped([unknown], 16, NOW)):
        for row in shown(rows)["supportedhosts"]:
            assert "trafficleft" not in row
            assert row["trafficmax_daily"] == 0
            assert row["currently_working"] is working


def test_traffic_that_is_used_up_is_zero():
    [row, _] = shown(translate.hosts([replace(RAPIDGATOR, traffic_left=0)], 16, NOW))["supportedhosts"]

    assert row["trafficleft"] == 0


def test_hosts_are_as_old_as_the_latest_of_them_and_one_without_a_domain_is_in_no_list():
    older = replace(RAPIDGATOR, domains=(), updated_at=datetime.fromtimestamp(1700000000, UTC))
    for told in (translate.hosts([RAPIDGATOR, older], 16, NOW), translate.grouped([RAPIDGATOR, older], 16, NOW)):
        assert shown(told)["updated_at"] == 1710000000000
    assert len(shown(translate.grouped([older, RAPIDGATOR], 16, NOW))["supportedhosts"]) == 1


def test_no_hosts_are_of_now():
    assert shown(translate.hosts([], 16, NOW)) == {"supportedhosts": [], "updated_at": int(NOW.timestamp() * 1000)}


POLLED = {
    "linkId": LINK.link_id,
    "download_ready": False,
    "remote_status": "downloading",
    "link": None,
    "filename": "exämple one.avi",
    "filesize": "30833612",
    "maxchunks": 16,
    "resumable": True,
    "poll_after_seconds": 2,
}


def test_a_link_that_is_fetched_is_as_in_the_document():
    made = Unrestricted(link=LINK, reused=False)

    assert shown(translate.link(LINK, 16, AT)) == POLLED
    assert shown(translate.unrestricted(made, 16, AT)) == {
        **POLLED,
        "hostDomain": "rapidgator.net",
        "reusedExisting": False,
    }


def test_a_link_that_is_done_has_an_address():
    done = replace(LINK, state="done", ready=True)

    assert shown(translate.unrestricted(Unrestricted(link=done, reused=True), 16, AT)) == {
        **POLLED,
        "download_ready": True,
        "remote_status": "done",
        "link": f"https://your-proxy/download/{LINK.link_id}.1.2.three/ex%C3%A4mple%20one.avi",
        "hostDomain": "rapidgator.net",
        "reusedExisting": True,
    }


def test_of_a_file_that_is_served_early_clients_open_no_more_connections_than_its_host_allows():
    early = shown(translate.link(replace(LINK, ready=True), 16, AT))
    done = shown(translate.link(replace(LINK, ready=True, state="done"), 16, AT))
    none = shown(translate.link(replace(LINK, ready=True, max_chunks=0), 16, AT))

    assert (early["maxchunks"], done["maxchunks"], none["maxchunks"]) == (4, 16, 1)


def test_how_far_it_is_is_told_where_it_is_known():
    far = shown(translate.link(replace(LINK, progress=12.5, eta=90), 16, AT))

    assert (far["progress_percent"], far["eta_seconds"]) == (12.5, 90)
    assert far.keys() - POLLED.keys() == {"progress_percent", "eta_seconds"}


def test_of_what_is_over_nobody_is_told_how_far_it_is():
    assert shown(translate.link(replace(LINK, state="done", progress=99.0, eta=1), 16, AT)).keys() == POLLED.keys()


def test_a_name_is_one_word_of_its_address():
    one = shown(translate.link(replace(LINK, state="done", ready=True, name="a/../b?c#d.avi"), 16, AT))

    assert one["link"].endswith(".1.2.three/a%2F..%2Fb%3Fc%23d.avi")


@pytest.mark.parametrize(
    ("state", "status", "poll"), [("pending", "pending", 2), ("error", "error", 60), ("expired", "error", 60)]
)
def test_what_is_not_there_has_no_address(state, status, poll):
    one = shown(translate.link(replace(LINK, state=state, size=None), 16, AT))

    assert (one["remote_status"], one["poll_after_seconds"]) == (status, poll)
    assert (one["download_ready"], one["link"], one["filesize"]) == (False, None, "0")


@pytest.mark.parametrize(
    ("refused", "http", "number", "retry"),
    [
        (UnsupportedLink(message=""), 400, 101, None),
        (TrafficShort(message="", needed=2, left=1), 402, 52, None),
        (HostCapReached(message="", platform="a", retry_after=77), 429, 54, 77),
        (TooManyAtOnce(message="", platform="a", limit=1, retry_after=0), 429, 55, 1),
        (HostRefused(message="", status=102), 403, 102, None),
        (HostRefused(message="", status=103), 400, 103, None),
        (HostRefused(message="", status=104), 404, 104, None),
        (HostRefused(message="", status=105), 503, 105, 60),
        (HostRefused(message="", status=106), 502, 106, 180),
        (HostRefused(message="", status=107, retry_after=9), 429, 107, 9),
        (HostRefused(message="", status=107), 429, 107, 120),
        (LinkNotFound(message="", link_id="a"), 404, 900, None),
        (QuotaExceeded(message="", limit=1, used=1), 502, 106, 180),
    ],
)
def test_every_refusal_has_the_number_of_their_table(refused: Refusal, http, number, retry):
    trouble = translate.refusal(refused)
    told = shown(trouble.shown("en"))

    assert (trouble.http, told["status"], told.get("retry_in_seconds")) == (http, number, retry)
    assert told["success"] is False
    assert told["msg"]


def test_every_number_has_its_status_and_words_in_both_languages():
    numbers = {1, 2, 52, 54, 55, 56, 101, 102, 103, 104, 105, 106, 107, 900, 999}

    assert set(translate.HTTP_STATUS) == numbers == {key for key in words.TEXTS if isinstance(key, int)}
    assert all(set(texts) == {"en", "zh-Hant"} for texts in words.TEXTS.values())
    assert set(translate.RETRY_SECONDS) == {54, 55, 56, 105, 106, 107}


@pytest.mark.parametrize(
    ("header", "spoken"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "en"),
        ("zh-TW", "zh-Hant"),
        ("zh-Hant-HK,en;q=0.9", "zh-Hant"),
        ("en,zh;q=0.9", "en"),
        ("en;q=0.5, zh;q=0.6", "zh-Hant"),
        ("zh;q=0", "en"),
        ("zh;q=x;;,,", "en"),
        ("de-DE,zh;q=0.1", "zh-Hant"),
    ],
)
def test_people_are_told_in_the_language_that_they_like_better(header, spoken):
    assert words.language(header) == spoken


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"url": ""}',
        b'{"url": "  "}',
        b'{"url": null}',
        b'{"url": "\xff"}',
        b'{"url": "a", "x": ' + b"[" * 100_000,
    ],
)
def test_a_body_without_a_link_is_refused(body):
    with pytest.raises(Invalid) as refused:
        translate.command(OWNER, body)

    assert refused.value.trouble == (400, 900, "url", None)


def test_a_body_may_say_more_than_is_known():
    command = translate.command(OWNER, b'{"url": " https://rg.to/file/1 ", "password": "p", "more": {}}')

    assert (command.url, command.password, command.dialect) == ("https://rg.to/file/1", "p", "external")


def test_an_address_is_the_same_for_a_while_and_good_for_at_least_as_long():
    week = 7 * 24 * 3600
    start = 1_800_000_000 // week * week
    expiries = {translate.expiry(start + passed, week) for passed in (0, 1, week // 2, week - 1)}

    assert expiries == {start + 2 * week}
    assert translate.expiry(start + week, week) == start + 3 * week
