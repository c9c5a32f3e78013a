"""Lock-outs, sessions, keys and tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from proto.auth import SessionEnded, User
from services.auth import domain, tokens
from services.auth.domain import Lockout, SessionState

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ME = User(user_id=UUID(int=7), number=7, username="me", role="admin", email="", created_at=AT)


def after(failures: int) -> Lockout:
    lockout = None
    for _ in range(failures):
        lockout = domain.after_failure(lockout, AT)
    assert lockout is not None
    return lockout


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
def test_a_key_has_its_dialects_prefix_and_two_are_never_the_same(dialect: str, prefix: str):
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
    claims = jwt.decode(token, load_pem_public_key(public.encode()), algorithms=["EdDSA"], issuer="longshore")

    assert jwt.get_unverified_header(token)["kid"] == "k1"
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert (claims["sub"], claims["sid"], claims["role"]) == (str(ME.user_id), str(session_id), "admin")


def test_a_password_is_verified_against_its_hash_and_nobodys_hash_takes_none():
    kept = tokens.hash_password("right horse")

    assert tokens.verify_password(kept, "right horse")
    assert not tokens.verify_password(kept, "wrong horse")
    assert not tokens.verify_password(None, "right horse")
