"""Lock-outs, sessions, keys and tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.bus import Bus
from libs.calls import Caller
from proto.auth import IssueKey, KeyDialect, KeyIssued, ReadPublicKeys, SessionEnded, User
from services.auth import domain, tokens
from services.auth.domain import Lockout, SessionState
from services.gateway.guard import Guard

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ME = User(user_id=UUID(int=7), number=7, username="me", role="admin", email="", created_at=AT)


def after(failures: int) -> Lockout:
    lockout = None
    for _ in range(failures):
        lockout = domain.after_failure(lockout, AT)
    assert lockout is not None
    return lockout


def test_who_waits_until_wrong_passwords_are_forgotten_tries_less_often_than_who_goes_on():
    at, lockout, tries = AT, after(1), 1
    while lockout.locked_until - at < domain.LONGEST_LOCKOUT:
        at, tries = lockout.locked_until, tries + 1
        lockout = domain.after_failure(lockout, at)
    forgetful = (at - AT + domain.FORGIVEN_AFTER) / tries

    assert forgetful > domain.LONGEST_LOCKOUT


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0), (4, 0), (5, 5), (6, 10), (7, 20), (10, 160), (13, 900), (500, 900)]
)
def test_the_fifth_wrong_password_locks_out_and_each_further_one_twice_as_long_up_to_a_quarter_hour(
    failures: int, seconds: int
):
    assert after(failures).locked_until == AT + timedelta(seconds=seconds)


def test_who_is_locked_out_is_told_for_how_long_and_may_try_when_it_is_over():
    lockout = after(5)
    refused = domain.may_try(lockout, AT)

    assert refused is not None
    assert refused.retry_after == 6
    assert domain.may_try(lockout, lockout.locked_until) is None
    assert domain.may_try(None, AT) is None


def session(generation: int, **changes) -> SessionState:
    known = {
        "session_id": UUID(int=1),
        "user_id": ME.user_id,
        "generation": generation,
        "expires_at": AT + timedelta(days=1),
        "ended_at": None,
    }
    return SessionState(**{**known, **changes})


def test_the_newest_refresh_token_that_was_used_and_its_successors_are_good():
    assert domain.refresh(session(3), 3, AT) == []
    assert domain.refresh(session(3), 4, AT) == []


def test_a_refresh_token_older_than_one_that_was_used_ends_the_session():
    decision = domain.refresh(session(3), 2, AT)

    assert decision == [SessionEnded(user_id=ME.user_id, session_id=UUID(int=1), reason="reused_token", at=AT)]


@pytest.mark.parametrize(
    "state", [None, session(0, ended_at=AT), session(0, expires_at=AT)], ids=["unknown", "ended", "expired"]
)
def test_a_session_that_is_over_is_not_refreshed(state: SessionState | None):
    decision = domain.refresh(state, 1, AT)

    assert not isinstance(decision, list)


@pytest.mark.parametrize(("dialect", "prefix"), [("gdluxx", "sk_"), ("jobs", "sk_"), ("external", "obb_")])
def test_a_key_has_its_dialects_prefix_and_two_are_never_the_same(dialect: KeyDialect, prefix: str):
    keys = {tokens.new_key(dialect) for _ in range(100)}

    assert len(keys) == 100
    assert all(key.startswith(prefix) and key.isascii() and len(key) >= 32 for key in keys)


def test_a_refresh_token_is_read_by_the_installation_that_made_it_and_by_no_other():
    made = tokens.RefreshTokens("a" * 40).make(UUID(int=5), 3)
    mac = made.rpartition(".")[2]

    assert tokens.RefreshTokens("a" * 40).read(made) == (UUID(int=5), 3)
    assert tokens.RefreshTokens("b" * 40).read(made) is None
    for forged in (f"{UUID(int=5).hex}.4.{mac}", f"{UUID(int=6).hex}.3.{mac}", made[:-1], "", "a.b.c", "..", "é.1.x"):
        assert tokens.RefreshTokens("a" * 40).read(forged) is None


def test_an_access_token_lasts_a_quarter_hour_and_says_who_it_is():
    private, public = tokens.new_signing_key()
    now = datetime.now(UTC)
    token = tokens.AccessTokens("k1", private).make(ME, session_id := uuid4(), now)
    claims = jwt.decode(token, public, algorithms=["EdDSA"], issuer="longshore")

    assert jwt.get_unverified_header(token)["kid"] == "k1"
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert (claims["sub"], claims["sid"], claims["role"]) == (str(ME.user_id), str(session_id), "admin")


def test_a_password_is_verified_against_its_hash_and_nobodys_hash_takes_none():
    kept = tokens.hash_password("right horse")

    assert tokens.verify_password(kept, "right horse")
    assert not tokens.verify_password(kept, "wrong horse")
    assert not tokens.verify_password(None, "right horse")


@given(wait=st.timedeltas(min_value=timedelta(microseconds=1), max_value=domain.LONGEST_LOCKOUT))
def test_who_waits_as_long_as_told_may_try_again(wait: timedelta):
    lockout = Lockout(9, AT + wait)
    refused = domain.may_try(lockout, AT)

    assert refused is not None
    assert domain.may_try(lockout, AT + timedelta(seconds=refused.retry_after)) is None


@pytest.mark.parametrize(
    ("password", "good"),
    [("", False), ("1234567", False), ("12345678", True), ("a" * 40, False), ("漢" * 8, False), ("aaaaaaab", True)],
)
def test_a_password_has_eight_characters_that_are_not_all_the_same(password: str, good: bool):
    assert (domain.check_password(password) is None) is good


def test_a_kept_password_is_salted_argon2id_and_nothing_of_it_is_readable():
    one, two = tokens.hash_password("right horse"), tokens.hash_password("right horse")

    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != two
    assert "right" not in one


def test_a_stored_hash_that_is_broken_lets_nobody_in():
    assert not tokens.verify_password("not a hash", "not a hash")


def test_a_key_is_kept_as_its_sha256():
    # printf sk_test | sha256sum
    known = "12b2820cf1639904311da5771de1e5bb65c77073fdc7c555df395942df42896b"

    assert tokens.digest("sk_test").hex() == known


@pytest.mark.parametrize("dialect", ["gdluxx", "jobs", "external"])
def test_a_kept_key_holds_nothing_of_the_key(dialect: KeyDialect):
    key = tokens.new_key(dialect)
    kept = tokens.digest(key)

    assert len(kept) == 32
    assert key.encode() not in kept
    assert key.rpartition("_")[2].encode() not in kept


@pytest.mark.parametrize("dialect", ["gdluxx", "jobs", "external"])
def test_a_key_survives_headers_urls_and_a_double_click(dialect: KeyDialect):
    assert tokens.new_key(dialect).rpartition("_")[2].isalnum()


def test_what_is_announced_of_a_key_says_whose_it_is_and_until_when():
    until = AT + timedelta(days=30)
    command = IssueKey(dialect="external", username="me", name="laptop", expires_at=until)

    assert domain.issue_key(command, UUID(int=9), ME.user_id, AT) == KeyIssued(
        key_id=UUID(int=9), owner=ME.user_id, dialect="external", name="laptop", at=AT, expires_at=until
    )


@pytest.mark.parametrize("generation", ["9" * 20, "-" + "9" * 20, "9" * 5000])
def test_a_refresh_token_with_an_absurd_generation_is_not_ours(generation: str):
    forged = f"{UUID(int=5).hex}.{generation}.{'A' * 43}"

    assert tokens.RefreshTokens("a" * 40).read(forged) is None


class Auth:
    """Stands where the auth service does: it is asked for nothing but its public keys."""

    def __init__(self, public: dict[str, str]) -> None:
        self._public = public
        self.asked = 0

    async def query(self, query: ReadPublicKeys, *, result: type) -> dict[str, str]:
        assert (type(query), result) == (ReadPublicKeys, dict[str, str])
        self.asked += 1
        return self._public


PRIVATE, PUBLIC = tokens.new_signing_key()
STRANGER, _ = tokens.new_signing_key()
SESSION = UUID(int=11)


def guard() -> Guard:
    return Guard(cast("Caller", Auth({"k1": PUBLIC})), bus=cast("Bus", None))


def minutes_ago(minutes: int) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def crafted(alg: str, secret: bytes | None) -> str:
    """By hand, because PyJWT refuses to make such tokens."""
    good = tokens.AccessTokens("k1", PRIVATE).make(ME, SESSION, minutes_ago(0))
    signed = f"{part(json.dumps({'alg': alg, 'kid': 'k1', 'typ': 'JWT'}).encode())}.{good.split('.')[1]}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256)) if secret else ''}"


async def test_the_gateway_knows_the_bearer_of_a_token_by_the_public_key_alone():
    found = await guard().token(tokens.AccessTokens("k1", PRIVATE).make(ME, SESSION, minutes_ago(14)))

    assert found is not None
    assert (found.user_id, found.session_id, found.number) == (UUID(int=7), SESSION, 7)
    assert (found.username, found.role) == ("me", "admin")


async def test_a_token_is_refused_when_its_quarter_hour_is_over():
    assert await guard().token(tokens.AccessTokens("k1", PRIVATE).make(ME, SESSION, minutes_ago(16))) is None


@pytest.mark.parametrize("kid", ["k1", "k2", ""])
async def test_a_token_that_another_key_signed_is_refused_whatever_name_it_gives(kid: str):
    assert await guard().token(tokens.AccessTokens(kid, STRANGER).make(ME, SESSION, minutes_ago(0))) is None


async def test_tokens_that_name_keys_which_are_not_there_cost_auth_a_question_a_second_at_the_most():
    auth, now = Auth({"k1": PUBLIC}), [0.0]
    one = Guard(cast("Caller", auth), bus=cast("Bus", None), clock=lambda: now[0])
    forged = [tokens.AccessTokens(f"none {n}", STRANGER).make(ME, SESSION, minutes_ago(0)) for n in range(50)]
    good = tokens.AccessTokens("k1", PRIVATE).make(ME, SESSION, minutes_ago(0))

    found = await asyncio.gather(*map(one.token, [*forged, good]))
    at_first = auth.asked
    now[0] = 1.0
    await asyncio.gather(*map(one.token, forged))

    assert [who is not None for who in found] == [False] * 50 + [True]
    assert (at_first, auth.asked) == (1, 2)


@pytest.mark.parametrize("alg", ["none", "None", "NONE"])
async def test_a_token_without_a_signature_is_refused(alg: str):
    assert await guard().token(crafted(alg, None)) is None


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused():
    assert await guard().token(crafted("HS256", PUBLIC.encode())) is None


async def test_a_token_whose_claims_were_changed_is_refused():
    head, claims, signature = tokens.AccessTokens("k1", PRIVATE).make(ME, SESSION, minutes_ago(0)).split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed["sub"] = str(UUID(int=8))

    assert await guard().token(f"{head}.{part(json.dumps(changed).encode())}.{signature}") is None
