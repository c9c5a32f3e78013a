"""What the auth service accepts, announces and refuses: users, roles, API keys, sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from libs.message import Command, Event, Query, Refusal, repr_without

Instant = Annotated[datetime, Meta(tz=True)]
Role = Literal["admin", "user"]
KeyDialect = Literal["gdluxx", "external", "jobs"]
Style = Literal["current", "legacy"]
"""Which edition of the jobs API a key's programs were written for."""
Username = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
ClockTime = Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class User(Struct, frozen=True, kw_only=True):
    user_id: UUID
    number: int
    username: str
    role: Role
    email: str
    created_at: Instant
    last_login: Instant | None = None


class CreateUser(Command, tag="auth.create_user", kw_only=True, frozen=True):
    """The password travels once, over the bus of this installation, and is kept only as an argon2id hash."""

    username: Username
    password: Password
    role: Role = "user"
    email: Annotated[str, Meta(max_length=254)] = ""

    def __repr__(self) -> str:
        return repr_without(self, "password")


class SetPassword(Command, tag="auth.set_password", kw_only=True, frozen=True):
    """Ends every session of the user."""

    username: Username
    password: Password

    def __repr__(self) -> str:
        return repr_without(self, "password")


class LogIn(Command, tag="auth.log_in", kw_only=True, frozen=True):
    username: str
    password: str

    def __repr__(self) -> str:
        return repr_without(self, "password")


class Session(Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    expires_in: int
    """Seconds until the access token ends."""
    user: User

    def __repr__(self) -> str:
        return repr_without(self, "access_token", "refresh_token")


class RefreshSession(Command, tag="auth.refresh_session", kw_only=True, frozen=True):
    """The reply is a `Session` with a newer refresh token. The old one stays good until the newer is used; used after
    that it ends the session, for one of the two is in foreign hands."""

    refresh_token: str

    def __repr__(self) -> str:
        return repr_without(self, "refresh_token")


class EndSession(Command, tag="auth.end_session", kw_only=True, frozen=True):
    session_id: UUID


class IssueKey(Command, tag="auth.issue_key", kw_only=True, frozen=True):
    dialect: KeyDialect
    username: Username
    name: Annotated[str, Meta(max_length=100)] = ""
    expires_at: Instant | None = None
    webhook_style: Style = "current"
    status_style: Style = "current"


class IssuedKey(Struct, frozen=True, kw_only=True):
    """The only time the key is seen."""

    key_id: UUID
    key: str

    def __repr__(self) -> str:
        return repr_without(self, "key")


class RevokeKey(Command, tag="auth.revoke_key", kw_only=True, frozen=True):
    owner: UUID | None
    key_id: UUID


class ListKeys(Query, tag="auth.keys", kw_only=True, frozen=True):
    """Keys that are good, oldest first; the reply is a JSON list of `KeyInfo`. `username` None asks for everybody's."""

    username: Username | None = None


class KeyInfo(Struct, frozen=True, kw_only=True):
    key_id: UUID
    name: str
    dialect: KeyDialect
    username: str
    expires_at: Instant | None


class VerifyKey(Query, tag="auth.verify_key", kw_only=True, frozen=True):
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
    webhook_style: Style = "current"
    """`legacy`: whatever the end, one type of webhook says it."""
    status_style: Style = "current"
    """`legacy`: a job has completed or failed, and nothing else."""


class ReadPublicKeys(Query, tag="auth.public_keys", kw_only=True, frozen=True):
    """Ed25519 public keys that sign access tokens, as {kid: PEM}."""


class Window(Struct, frozen=True, kw_only=True):
    """A part of each day, in UTC; one that closes before it opens goes over midnight."""

    opens: ClockTime
    closes: ClockTime


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one user may take; None is no limit."""

    concurrent: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """Attempts at the same time."""
    bandwidth: Annotated[int, Meta(ge=1024, le=2**50)] | None = None
    """Bytes per second that all downloads bring in together, on however many workers."""
    storage: Annotated[int, Meta(ge=0, le=2**60)] | None = None
    """Bytes that may be kept, with those that running jobs have reserved."""
    windows: Annotated[tuple[Window, ...], Meta(max_length=24)] = ()
    """When attempts may begin; none is always."""


class SetLimits(Command, tag="auth.set_limits", kw_only=True, frozen=True):
    """All of a user's limits: what is not said here is no limit from now on."""

    by: UUID | None
    """The admin who asks; None acts for the operator."""
    username: Username
    limits: Limits


class ReadLimits(Query, tag="auth.limits", kw_only=True, frozen=True):
    """The reply is `Limits`."""

    username: Username


class ReadUser(Query, tag="auth.user", kw_only=True, frozen=True):
    user_id: UUID | None = None
    username: str | None = None


class UserCreated(Event, tag="auth.user_created", kw_only=True, frozen=True):
    user_id: UUID
    number: int
    username: str
    role: Role
    email: str
    at: Instant


class LimitsSet(Event, tag="auth.limits_set", kw_only=True, frozen=True):
    user_id: UUID
    limits: Limits
    at: Instant


class PasswordSet(Event, tag="auth.password_set", kw_only=True, frozen=True):
    user_id: UUID
    at: Instant


class LoggedIn(Event, tag="auth.logged_in", kw_only=True, frozen=True):
    user_id: UUID
    session_id: UUID
    at: Instant


class SessionEnded(Event, tag="auth.session_ended", kw_only=True, frozen=True):
    user_id: UUID
    session_id: UUID
    reason: Literal["logged_out", "reused_token", "password_set"]
    at: Instant


class KeyIssued(Event, tag="auth.key_issued", kw_only=True, frozen=True):
    key_id: UUID
    owner: UUID
    dialect: KeyDialect
    name: str
    at: Instant
    expires_at: Instant | None = None
    webhook_style: Style = "current"
    status_style: Style = "current"


class KeyRevoked(Event, tag="auth.key_revoked", kw_only=True, frozen=True):
    key_id: UUID
    owner: UUID
    at: Instant


class BadCredentials(Refusal, tag="auth.bad_credentials", kw_only=True, frozen=True):
    """One answer for a wrong name, a wrong password and an unknown key."""


class LockedOut(Refusal, tag="auth.locked_out", kw_only=True, frozen=True):
    retry_after: int
    """Seconds."""


class BadToken(Refusal, tag="auth.bad_token", kw_only=True, frozen=True):
    """A refresh token that is unknown, expired or was used before."""


class UsernameTaken(Refusal, tag="auth.username_taken", kw_only=True, frozen=True):
    username: str


class UserNotFound(Refusal, tag="auth.user_not_found", kw_only=True, frozen=True):
    pass


class KeyNotFound(Refusal, tag="auth.key_not_found", kw_only=True, frozen=True):
    pass


class WeakPassword(Refusal, tag="auth.weak_password", kw_only=True, frozen=True):
    pass


class BadWindow(Refusal, tag="auth.bad_window", kw_only=True, frozen=True):
    """A window that opens and closes at the same time is either never or always."""


class NotAdmin(Refusal, tag="auth.not_admin", kw_only=True, frozen=True):
    pass
