"""A user's traffic: granted, reserved, settled, refunded, and never more than there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.message import Event, Refusal
from proto import unrestrict_proxy as p
from services.unrestrict_proxy.links import ledger as ledgers
from services.unrestrict_proxy.links.ledger import WINDOW, Ledger, evolve, grant, refund, reserve, settle

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OWNER = UUID(int=7)
HOURS = timedelta(hours=1)


def after(ledger: Ledger, decision: list[Event] | Refusal) -> Ledger:
    assert isinstance(decision, list), decision
    for event in decision:
        ledger = evolve(ledger, event)
    return ledger


def granted(quota: int = 1000, host_daily: int = 0, concurrent: int = 0) -> Ledger:
    empty = Ledger(owner=OWNER)
    return after(empty, grant(empty, AT, quota, host_daily, concurrent))


def test_what_is_reserved_is_no_longer_left():
    ledger = after(granted(), reserve(granted(), "a", "filehost", 400, AT))

    assert (ledger.left, ledger.reserved, ledger.used) == (600, 400, 0)


def test_a_file_larger_than_what_is_left_is_refused_with_both_figures():
    ledger = after(granted(), reserve(granted(), "a", "filehost", 400, AT))
    refused = reserve(ledger, "b", "filehost", 601, AT)

    assert isinstance(refused, p.TrafficShort)
    assert (refused.needed, refused.left) == (601, 600)


def test_who_was_granted_nothing_is_refused_a_file_of_unknown_size_too():
    assert isinstance(reserve(granted(0), "a", "filehost", None, AT), p.TrafficShort)


def test_what_was_really_read_is_charged_and_the_rest_is_free_again():
    ledger = after(granted(), reserve(granted(), "a", "filehost", 400, AT))
    ledger = after(ledger, settle(ledger, "a", 150, AT))

    assert (ledger.left, ledger.reserved, ledger.used) == (850, 0, 150)


def test_bytes_that_were_read_twice_are_charged_once():
    ledger = after(granted(), reserve(granted(), "a", "filehost", 400, AT))

    assert after(ledger, settle(ledger, "a", 900, AT)).used == 400


def test_a_failed_fetch_costs_nothing_and_does_not_count_against_the_cap_of_the_platform():
    ledger = granted(host_daily=500)
    ledger = after(ledger, reserve(ledger, "a", "filehost", 400, AT))
    ledger = after(ledger, refund(ledger, "a", AT))

    assert (ledger.left, ledger.host_used("filehost", AT)) == (1000, 0)


def test_a_link_is_settled_or_refunded_once():
    ledger = after(granted(), reserve(granted(), "a", "filehost", 400, AT))
    ledger = after(ledger, settle(ledger, "a", 400, AT))

    assert settle(ledger, "a", 400, AT) == refund(ledger, "a", AT) == settle(ledger, "b", 1, AT) == []


def test_the_size_that_is_learnt_later_replaces_what_was_reserved():
    ledger = after(granted(), reserve(granted(), "a", "filehost", None, AT))
    ledger = after(ledger, reserve(ledger, "a", "filehost", 700, AT))

    assert ledger.reserved == 700
    assert reserve(ledger, "a", "filehost", 700, AT) == []
    assert isinstance(reserve(ledger, "a", "filehost", 1001, AT), p.TrafficShort)


def test_the_cap_of_one_platform_is_no_cap_of_another():
    ledger = granted(host_daily=500)
    ledger = after(ledger, reserve(ledger, "a", "filehost", 400, AT))

    assert isinstance(reserve(ledger, "b", "filehost", 101, AT), p.HostCapReached)
    assert isinstance(reserve(ledger, "b", "another", 101, AT), list)


def test_a_link_that_is_open_for_more_than_a_day_still_counts_against_the_cap_of_its_platform():
    ledger = granted(host_daily=500)
    ledger = after(ledger, reserve(ledger, "a", "filehost", 400, AT))
    now = AT + WINDOW + HOURS

    assert ledger.host_used("filehost", now) == 400
    assert isinstance(reserve(ledger, "b", "filehost", 101, now), p.HostCapReached)


def test_a_reached_cap_says_when_enough_of_the_window_has_passed():
    ledger = granted(host_daily=500)
    for name, size, at in (("a", 100, AT), ("b", 200, AT + HOURS), ("c", 200, AT + 2 * HOURS)):
        ledger = after(ledger, reserve(ledger, name, "filehost", size, at))
        ledger = after(ledger, settle(ledger, name, size, at))
    now = AT + 3 * HOURS
    refused = reserve(ledger, "d", "filehost", 250, now)

    assert isinstance(refused, p.HostCapReached)
    free = now + timedelta(seconds=refused.retry_after)
    assert free - timedelta(seconds=2) <= AT + HOURS + WINDOW <= free
    assert isinstance(reserve(ledger, "d", "filehost", 250, free), list)


def test_only_so_many_links_of_one_platform_are_open_at_once():
    ledger = granted(concurrent=1)
    ledger = after(ledger, reserve(ledger, "a", "filehost", 1, AT))

    assert isinstance(reserve(ledger, "b", "filehost", 1, AT), p.TooManyAtOnce)
    assert isinstance(reserve(ledger, "b", "another", 1, AT), list)
    assert isinstance(reserve(after(ledger, settle(ledger, "a", 1, AT)), "b", "filehost", 1, AT), list)


def test_a_quota_below_what_is_used_leaves_nothing_and_no_debt():
    ledger = after(granted(), reserve(granted(), "a", "filehost", 400, AT))
    ledger = after(ledger, settle(ledger, "a", 400, AT))
    ledger = after(ledger, grant(ledger, AT, 100, None, None))

    assert (ledger.left, ledger.reading(AT).left) == (0, 0)


act = st.tuples(
    st.sampled_from(["reserve", "settle", "refund"]),
    st.sampled_from("abcdefgh"),
    st.sampled_from(["filehost", "another"]),
    st.none() | st.integers(0, 700),
    st.integers(0, 12),
)


@given(st.integers(0, 2000), st.integers(0, 900), st.integers(0, 3), st.lists(act, max_size=60))
def test_whatever_is_asked_nothing_is_overdrawn_and_every_reservation_ends_once(quota, cap, concurrent, acts):
    ledger, now, events = granted(quota, cap, concurrent), AT, list[Event]()
    for what, link, platform, size, hours in acts:
        now += hours * HOURS
        known = ledger.charges.get(link)
        if what == "reserve" and (known is None or known.open):
            decision = reserve(ledger, link, known.platform if known else platform, size, now)
        elif what == "settle":
            decision = settle(ledger, link, size or 0, now)
        else:
            decision = refund(ledger, link, now)
        if isinstance(decision, Refusal):
            continue
        ledger = after(ledger, decision)
        events += decision

        assert ledger.quota - ledger.used - ledger.reserved >= 0
        assert min(ledger.used, ledger.reserved) >= 0
        for host in ("filehost", "another"):
            assert not cap or ledger.host_used(host, now) <= cap
            running = [one for one in ledger.charges.values() if one.open and one.platform == host]
            assert not concurrent or len(running) <= concurrent
    for link in list(ledger.charges):
        ledger = after(ledger, refund(ledger, link, now))

    assert ledger.reserved == 0
    assert ledger.used == sum(one.bytes for one in events if isinstance(one, p.TrafficSettled))


@given(st.lists(act, max_size=30))
def test_what_is_kept_of_a_ledger_is_the_same_as_its_events_folded_anew(acts):
    """The snapshot beside the events may be lost or thrown away."""
    ledger, now = granted(5000, 900, 3), AT
    kept = ledger
    for what, link, platform, size, hours in acts:
        now += hours * HOURS
        if what == "reserve" and link not in ledger.charges:
            decision = reserve(ledger, link, platform, size, now)
        else:
            decision = settle(ledger, link, size or 0, now)
        if isinstance(decision, list):
            ledger = after(ledger, decision)
            kept = msgspec.json.decode(msgspec.json.encode(after(kept, decision)), type=ledgers.Ledger)

    assert kept == ledger
