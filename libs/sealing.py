"""Secrets at rest and links that cannot be forged, all from one installation key.

Every purpose has its own derived key (HKDF-SHA256 with the purpose as info), so a value sealed for one purpose cannot
be opened, and a link signed for one cannot be accepted, by another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12
_TOKEN = re.compile(r"(?P<key>[A-Za-z0-9_-]{1,16})\.(?P<expires>[0-9]{1,12})\.(?P<signature>[A-Za-z0-9_-]{43})")


class CannotOpen(Exception):
    """This value was sealed with another LONGSHORE_SECRET_KEY, or for another purpose or place, or was changed."""


def derive(secret: str, purpose: str) -> bytes:
    """32 bytes for one purpose. The secret must itself be random: no stretching is done."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"longshore:" + purpose.encode()).derive(secret.encode())


class Sealer:
    """AES-256-GCM. `place` (say, a row's key) is authenticated, so a value moved to another row does not open."""

    def __init__(self, secret: str, purpose: str) -> None:
        self._cipher = AESGCM(derive(secret, purpose))

    def seal(self, value: bytes, place: str) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, value, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises CannotOpen."""
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise CannotOpen from error


class LinkSigner:
    """Expiring tokens for URLs that carry no other authentication: `<key id>.<unix seconds>.<43 of base64url>`.

    The first of `keys` signs; all of them are accepted. Taking an id out of the list ends every link it signed.
    """

    def __init__(self, secret: str, purpose: str, keys: str = "1") -> None:
        """`keys` are ids, separated by commas: each stands for a key of its own, derived from `secret`."""
        self._keys = {key_id: derive(secret, f"{purpose}:{key_id}") for key_id in keys.split(",")}
        self._signs = next(iter(self._keys))

    def token(self, subject: str, expires: int) -> str:
        """The same for the same subject and expiry, whoever makes it."""
        return f"{self._signs}.{expires}.{self._signature(self._signs, subject, expires)}"

    def judge(self, subject: str, token: str, now: float) -> Literal["good", "expired", "forged"]:
        """Only of a token that was good once it is said that it is over."""
        found = _TOKEN.fullmatch(token)
        if found is None or found["key"] not in self._keys:
            return "forged"
        expires = int(found["expires"])
        if not hmac.compare_digest(self._signature(found["key"], subject, expires), found["signature"]):
            return "forged"
        return "good" if now < expires else "expired"

    def _signature(self, key_id: str, subject: str, expires: int) -> str:
        mac = hmac.digest(self._keys[key_id], f"{expires}:{subject}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
