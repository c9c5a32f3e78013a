"""Secrets at rest and links that cannot be forged, all from one installation key.

Every purpose has its own derived key (HKDF-SHA256 with the purpose as info), so a value sealed for one purpose cannot
be opened, and a link signed for one cannot be accepted, by another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12
MINIMUM_SECRET = 32


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
    """Expiring signatures for URLs that carry no other authentication."""

    def __init__(self, secret: str, purpose: str) -> None:
        self._key = derive(secret, purpose)

    def sign(self, subject: str, expires: int) -> str:
        """`expires` in unix seconds; the signature is 43 characters of base64url."""
        mac = hmac.digest(self._key, f"{expires}:{subject}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def valid(self, subject: str, expires: int, signature: str, now: float) -> bool:
        if not signature.isascii():
            return False
        return hmac.compare_digest(self.sign(subject, expires), signature) and now < expires
