"""Secrets that are more than one word, a line for each: what a login needs beside a password, and tokens that are
changed into others."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from msgspec import Meta, Struct

from services.unrestrict_proxy.adapters.answers import ask
from services.unrestrict_proxy.adapters.contract import Credentials, Line, Session
from services.unrestrict_proxy.adapters.verdicts import WRONG_LOGIN

STEP_SECONDS = 30
DIGITS = 6


def lines(credentials: Credentials) -> list[str]:
    """Of the secret, of which there is one at least. A password may have any character but the end of a line."""
    return credentials.secret.replace("\r\n", "\n").split("\n")


def one_time_code(seed: str, at: float) -> str:
    """Of a second factor (RFC 6238), as programs for telephones make it of a base32 seed. Raises HostError."""
    spelt = seed.replace(" ", "").upper()
    try:
        key = base64.b32decode(spelt + "=" * (-len(spelt) % 8))
    except binascii.Error:
        raise WRONG_LOGIN.error("bad_seed") from None
    return TOTP(key, DIGITS, SHA1(), STEP_SECONDS, enforce_key_length=False).generate(at).decode()  # noqa: S303 - theirs


class _Token(Struct, frozen=True):
    access_token: str
    expires_in: Annotated[int, Meta(ge=0, le=1_000_000_000)]


async def refreshed(line: Line, url: str, form: Sequence[tuple[str, str]]) -> Session:
    """A session for a refresh token (OAuth 2.0). Raises HostError."""
    reply = await ask(line, "POST", url, form=form)
    if 400 <= reply.status < 500 and reply.status != 429:
        raise reply.refused(WRONG_LOGIN, "refresh_token_refused")
    got = reply.read(_Token)
    return Session(token=got.access_token, expires_at=datetime.now(UTC) + timedelta(seconds=got.expires_in))
