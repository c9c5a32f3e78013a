"""Which account is asked, how long one that failed is left alone, and when a platform is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from proto.unrestrict_proxy import (
    BreakerClosed,
    BreakerOpened,
    HostAccountBroken,
    HostAccountCooled,
    HostAccountUsable,
    LinkClass,
)
from services.unrestrict_proxy.adapters.contract import AccountState, HostError
from services.unrestrict_proxy.pool import breaker, choice, standing
from services.unrestrict_proxy.pool.breaker import Breaker, Way
from services.unrestrict_proxy.pool.choice import Candidate
from services.unrestrict_proxy.pool.standing import Standing
from tests.support.sure import being, sure

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GIB = 1 << 30
FILE = LinkClass(platform="filehost", file_ref="abc")


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def account(number: int = 1, left: int | None = None, **fields) -> Standing:
    state = AccountState(usable=True, traffic_left=left)
    return Standing(**{"account_id": UUID(int=number), "platform": "filehost", "state": state, **fields})


def candidate(number: int, left: int | None = None, origin="native", leases: int = 0, **fields) -> Candidate:
    return Candidate(standing=account(number, left), origin=origin, slots=3, leases=leases, **fields)


def error(**fields) -> HostError:
    return HostError("account", 107, "code", "It said no.", **fields)


def order(*candidates: Candidate) -> list[int]:
    return [one.account_id.int for one in choice.ranked(candidates, ("file.test",))]


# ---- choice ----------------------------------------------------------------------------------------------------


def test_most_traffic_left_comes_first_then_fewest_leases():
    assert order(candidate(1, GIB), candidate(2, 5 * GIB, leases=2), candidate(3, 5 * GIB, leases=1)) == [3, 2, 1]


def test_unknown_traffic_comes_behind_what_is_known():
    assert order(candidate(1, None), candidate(2, 1)) == [2, 1]


def test_a_link_that_is_there_already_goes_before_traffic():
    assert order(candidate(1, 9 * GIB), candidate(2, GIB, prepared=True)) == [2, 1]


def test_the_platforms_own_accounts_go_before_all_others():
    assert order(
        candidate(1, 9 * GIB, origin="multihost", prepared=True), candidate(2, GIB, origin="operator"), candidate(3)
    ) == [3, 2, 1]


def test_what_is_left_for_the_host_counts_where_it_is_less_than_the_whole():
    state = AccountState(usable=True, traffic_left=9 * GIB, per_host={"file.test": GIB})

    assert account(state=state).left(("file.alias", "file.test")) == GIB
    assert account(state=state).left(("other.test",)) == 9 * GIB
    assert account(state=None).left() is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"native": True}, "native"),
        ({"multihost": True, "live": {"file.test"}}, "multihost"),
        ({"multihost": True, "live": {"other.test"}}, None),
        ({"multihost": True, "live": {"file.test"}, "allowed": ("other.test",)}, None),
        ({"multihost": True, "allowed": ("file.test",)}, "multihost"),
        ({"allowed": ("file.test",)}, "operator"),
        ({}, None),
        ({"multihost": True, "live": {"youtube.com"}, "domains": ("youtube.com",)}, None),
        ({"multihost": True, "allowed": ("youtube.com",), "domains": ("youtube.com",)}, "multihost"),
    ],
)
def test_why_an_account_serves_a_file(given, expected):
    known = {"native": False, "multihost": False, "allowed": (), "live": set(), "domains": ("file.test",)}

    assert choice.origin(**(known | given)) == expected


@pytest.mark.parametrize(
    ("status", "blamed"),
    [
        (None, "nobody"),
        (206, "nobody"),
        (404, "link"),
        (416, "link"),
        (401, "access"),
        (403, "access"),
        (429, "account"),
        (509, "account"),
        (0, "access"),
        (502, "host"),
    ],
)
def test_who_is_to_blame_for_an_upstreams_answer(status, blamed):
    assert choice.blame(status, 0) == blamed


def test_a_connection_that_broke_after_some_bytes_is_nobodys_fault_but_the_links():
    assert choice.blame(0, 1) == "link"


@pytest.mark.parametrize("reason", ["wrong_length", "wrong_range", "keeps_changing", "compressed"])
def test_a_file_that_is_not_as_it_was_announced_is_nothing_against_the_account(reason):
    assert choice.blame(0, 0, reason) == "link"


def test_a_file_that_is_refused_again_and_again_says_nothing_against_the_account_and_costs_no_question():
    first, _ = standing.denied(account(read_at=NOW), FILE, 403, NOW)
    known = replace(first, read_at=NOW)

    assert first.read_at is None
    assert standing.denied(known, FILE, 403, NOW + seconds(60)) == (known, [])


def test_two_files_that_are_refused_with_none_in_between_cool_the_account():
    other = LinkClass(platform="filehost", file_ref="other")
    first, _ = standing.denied(account(), FILE, 403, NOW)

    assert standing.denied(first, other, 403, NOW)[0].cool_until == NOW + seconds(240)
    assert standing.denied(standing.served(first, FILE, 5), other, 403, NOW)[0].cool_until is None


def test_files_that_had_their_say_do_not_cool_the_account_again_once_another_came():
    other, good = (LinkClass(platform="filehost", file_ref=name) for name in ("other", "good"))
    one = account()
    for ref in (FILE, other):
        one, _ = standing.denied(one, ref, 403, NOW)
    one, _ = standing.recovered(one, NOW + seconds(240))
    one = standing.served(one, good, 5)
    for ref in (FILE, other, FILE):
        one, events = standing.denied(one, ref, 403, NOW + seconds(300))
        assert events == []

    assert one.usable(NOW + seconds(300))


def test_only_the_latest_refused_files_are_remembered():
    one = account()
    for number in range(40):
        ref = LinkClass(platform="filehost", file_ref=str(number))
        one, _ = standing.denied(one, ref, 403, NOW + seconds(number))

    assert list(one.doubts) == [f"filehost/{number}" for number in range(40 - standing.DOUBTS, 40)]


def test_who_was_refused_this_very_file_is_asked_for_it_last():
    assert order(candidate(1, 9 * GIB, doubtful=True), candidate(2, GIB, origin="multihost")) == [2, 1]


@pytest.mark.parametrize(("said", "taken"), [(2, 5), (90, 90), (None, 120), (604800, 86400)])
def test_an_account_that_is_asked_too_often_is_out_as_long_as_the_answer_says_within_reason(said, taken):
    assert standing.limited(account(), 429, said, NOW)[0].cool_until == NOW + seconds(taken)


def test_an_account_whose_links_bring_nothing_is_not_said_to_have_been_answered():
    after, _ = standing.denied(account(strikes=1), FILE, 0, NOW)

    assert after.cool_reason == "Links that the platform gave brought nothing."


# ---- accounts --------------------------------------------------------------------------------------------------


def test_an_account_is_out_as_long_as_its_platform_says_within_reason():
    for said, taken in ((60, 60), (0.1, 5), (10**7, 86400)):
        after, [event] = standing.failed(account(), error(retry_after=said), "", NOW)

        assert after.cool_until == being(HostAccountCooled, event).until == NOW + seconds(taken)
        assert not after.usable(NOW + seconds(taken - 1))
        assert after.usable(NOW + seconds(taken))


def test_the_longest_of_several_times_counts_and_is_said_once():
    first, _ = standing.failed(account(), error(retry_after=600), "", NOW)

    assert standing.failed(first, error(retry_after=60), "", NOW) == (first, [])


def test_an_exhausted_account_is_out_until_its_reset_or_for_an_hour():
    reset = NOW + timedelta(hours=7)
    state = AccountState(usable=True, traffic_left=5, reset_at=reset)

    assert standing.failed(account(state=state), error(exhausted=True), "", NOW)[0].cool_until == reset
    assert standing.failed(account(), error(exhausted=True), "", NOW)[0].cool_until == NOW + timedelta(hours=1)


def test_a_state_without_traffic_sets_the_reset_whatever_was_guessed_before():
    guessed, _ = standing.failed(account(), error(exhausted=True), "", NOW)
    reset = NOW + timedelta(minutes=10)
    after, events = standing.was_read(
        guessed, AccountState(usable=True, traffic_left=0, reset_at=reset), frozenset(), NOW
    )

    assert after.cool_until == reset
    assert [one.until for one in events if isinstance(one, HostAccountCooled)] == [reset]


def test_what_neither_time_nor_a_login_mends_needs_a_person_and_is_said_once():
    after, [event] = standing.failed(account(), error(), "", NOW)

    assert isinstance(event, HostAccountBroken)
    assert after.free_at(NOW) is None
    assert not after.due(NOW + timedelta(days=9), 60)
    assert standing.failed(after, error(retry_after=5), "", NOW) == (after, [])


def test_a_broken_account_that_is_taken_again_is_usable():
    broken, _ = standing.failed(account(), error(), "", NOW)
    after, events = standing.was_read(broken, AccountState(usable=True), frozenset(), NOW)

    assert after.usable(NOW)
    assert any(isinstance(one, HostAccountUsable) for one in events)


def test_strikes_in_a_row_take_longer_each_time_and_those_under_way_meanwhile_are_one():
    one, times = account(), []
    now = NOW
    for _ in range(7):
        one, [event] = standing.strike(one, "code", "no", now)
        until = being(HostAccountCooled, event).until
        times.append((until - now).total_seconds())
        assert standing.strike(one, "code", "no", now + seconds(1)) == (one, [])
        now = until

    assert times == [120, 240, 480, 960, 1920, 3600, 3600]
    assert standing.served(one, FILE, 10).strikes == 0


def test_an_account_that_its_operator_has_checked_stays_out_when_nothing_is_left_or_it_was_not_read():
    until = NOW + seconds(600)
    state = AccountState(usable=True, traffic_left=0)

    out = account(cool_until=until, read_at=NOW)
    used_up, not_premium = replace(out, state=state), replace(out, state=AccountState(usable=False))
    refused, read_before = replace(out, wait_until=until), replace(out, read_at=NOW - seconds(1))

    assert standing.accepted(out, NOW, NOW)[0].usable(NOW)
    for one in (used_up, not_premium, refused, read_before):
        assert standing.accepted(one, NOW, NOW) == (one, [])


def test_a_limit_of_one_host_leaves_the_account_to_the_others():
    after, [event] = standing.failed(account(), error(retry_after=900, narrow=True), "one.test", NOW)

    assert (after.usable(NOW, "one.test"), after.usable(NOW, "two.test")) == (False, True)
    assert being(HostAccountCooled, event).only == "one.test"
    assert after.usable(NOW + seconds(900), "one.test")


def test_traffic_that_went_by_is_an_estimate_until_the_state_is_read_again():
    fresh = account(left=GIB, read_at=NOW)

    assert standing.served(fresh, FILE, GIB // 2).left() == GIB // 2
    assert standing.served(fresh, FILE, GIB // 2).read_at == NOW
    assert (standing.served(fresh, FILE, 2 * GIB).left(), standing.served(fresh, FILE, 2 * GIB).read_at) == (0, None)
    assert standing.served(account(left=None), FILE, GIB).left() is None


def test_the_first_to_come_back_says_how_long_an_empty_pool_is_short():
    out = [standing.failed(account(n), error(retry_after=wait), "", NOW)[0] for n, wait in enumerate((600, 60, 900))]
    broken = standing.failed(account(9), error(), "", NOW)[0]

    assert choice.retry_after([*out, broken], "filehost", (), NOW) == 60
    assert choice.retry_after([broken], "filehost", (), NOW) == choice.RETRY_SECONDS


def test_a_state_is_announced_only_when_it_changed():
    state = AccountState(usable=True, traffic_left=GIB)
    first, said = standing.was_read(account(state=None), state, frozenset(), NOW)

    assert len(said) == 1
    assert standing.was_read(first, state, frozenset({"a.test"}), NOW + seconds(1))[1] == []


# ---- breakers --------------------------------------------------------------------------------------------------

WAY = Way("filehost", "filehost")


def failing(times: int, now: datetime = NOW, retry_after: float | None = None) -> Breaker:
    one = Breaker(way=WAY)
    for _ in range(times):
        one, _ = breaker.failed(one, "down", retry_after, now)
    return one


def test_a_breaker_opens_after_failures_in_a_row_and_then_lets_one_try():
    opened = failing(breaker.FAILURES)

    assert failing(breaker.FAILURES - 1).admits(NOW) == "all"
    assert opened.admits(NOW) == "none"
    assert opened.admits(NOW + seconds(30)) == "one"


def test_a_success_in_between_begins_the_count_anew():
    fresh, said = breaker.worked(failing(breaker.FAILURES - 1), NOW)

    assert (fresh, said) == (Breaker(way=WAY), [])


def test_each_probe_that_fails_keeps_it_open_longer_and_one_that_works_closes_it():
    one, times, now = failing(breaker.FAILURES), [], NOW
    for _ in range(6):
        now = sure(one.open_until)
        one, [event] = breaker.failed(one, "down", None, now)
        assert isinstance(event, BreakerOpened)
        times.append((sure(one.open_until) - now).total_seconds())
    closed, [said] = breaker.worked(one, now)

    assert times == [60, 120, 240, 480, 900, 900]
    assert (closed.admits(now), type(said)) == ("all", BreakerClosed)


def test_failures_of_those_who_were_under_way_when_it_opened_change_nothing():
    opened = failing(breaker.FAILURES)

    assert breaker.failed(opened, "down", None, NOW + seconds(1)) == (opened, [])


def test_a_platform_that_says_how_long_is_believed_up_to_the_longest():
    assert failing(breaker.FAILURES, retry_after=600).open_until == NOW + seconds(600)
    assert failing(breaker.FAILURES, retry_after=10**6).open_until == NOW + seconds(900)
