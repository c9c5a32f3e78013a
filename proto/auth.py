"""What the auth service accepts, announces and refuses: users, roles, API keys, sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal

Instant = Annotated[datetime, Meta(tz=True)]
Role = Literal["admin", "user"]
KeyDialect = Literal["gdluxx", "external", "jobs"]
Username = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class User(Struct, frozen=True, kw_only=True):
    user_id: UUID
    number: int
    username: str
    role: Role
    email: str
    created_at: Instant
    last_login: Instant | None = None


class CreateUser(Command, tag="auth.create_user"):
    """The password travels once, over the bus of this installation, and is kept only as an argon2id hash."""

    username: Username
    password: Password
    role: Role = "user"
    email: Annotated[str, Meta(max_length=254)] = ""


class SetPassword(Command, tag="auth.set_password"):
    """Ends every session of the user."""

    username: Username
    password: Password


class LogIn(Command, tag="auth.log_in"):
    username: str
    password: str


class Session(Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds until the access token ends."""
    user: User


class RefreshSession(Command, tag="auth.refresh_session"):
    """Rotates: the same refresh token is answered for a short grace time, later reuse ends the session family."""

    refresh_token: str


class EndSession(Command, tag="auth.end_session"):
    session_id: UUID


class IssueKey(Command, tag="auth.issue_key"):
    dialect: KeyDialect
    username: Username
    name: Annotated[str, Meta(max_length=100)] = ""
    expires_at: Instant | None = None


class IssuedKey(Struct, frozen=True, kw_only=True):
    """The only time the key is seen."""

    key_id: UUID
    key: str


class RevokeKey(Command, tag="auth.revoke_key"):
    owner: UUID | None
    key_id: UUID


class VerifyKey(Query, tag="auth.verify_key"):
    """Asked with the SHA-256 of the key, so that keys do not travel."""

    digest: Digest


class KeyHolder(Struct, frozen=True, kw_only=True):
    key_id: UUID
    key_name: str
    dialect: KeyDialect
    owner: UUID
    username: str
    role: Role
    expires_at: Instant | None = None


class ReadPublicKeys(Query, tag="auth.public_keys"):
    """Ed25519 public keys that sign access tokens, as {kid: PEM}."""


class ReadUser(Query, tag="auth.user"):
    user_id: UUID | None = None
    username: str | None = None


class UserCreated(Event, tag="auth.user_created"):
    user_id: UUID
    number: int
    username: str
    role: Role
    email: str
    at: Instant


class PasswordSet(Event, tag="auth.password_set"):
    user_id: UUID
    at: Instant


class LoggedIn(Event, tag="auth.logged_in"):
    user_id: UUID
    session_id: UUID
    at: Instant


class SessionEnded(Event, tag="auth.session_ended"):
    user_id: UUID
    session_id: UUID
    reason: Literal["logged_out", "reused_token", "password_set"]
    at: Instant


class KeyIssued(Event, tag="auth.key_issued"):
    key_id: UUID
    owner: UUID
    dialect: KeyDialect
    name: str
    at: Instant
    expires_at: Instant | None = None


class KeyRevoked(Event, tag="auth.key_revoked"):
    key_id: UUID
    owner: UUID
    at: Instant


class BadCredentials(Refusal, tag="auth.bad_credentials"):
    """One answer for a wrong name, a wrong password and an unknown key."""


class LockedOut(Refusal, tag="auth.locked_out"):
    retry_after: int
    """Seconds."""


class BadToken(Refusal, tag="auth.bad_token"):
    """A refresh token that is unknown, expired or was used before."""


class UsernameTaken(Refusal, tag="auth.username_taken"):
    username: str


class UserNotFound(Refusal, tag="auth.user_not_found"):
    pass


class KeyNotFound(Refusal, tag="auth.key_not_found"):
    pass


class WeakPassword(Refusal, tag="auth.weak_password"):
    pass
