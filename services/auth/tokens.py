"""Passwords, keys and tokens: everything that touches cryptography in this service."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from uuid import UUID

import argon2
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from libs.sealing import derive
from proto.auth import KeyDialect, User
from services.auth.domain import ACCESS_LIFE, KEY_PREFIX

ISSUER = "longshore"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# OWASP's second choice for argon2id: 19 MiB and two passes, so that ten people signing in at once fit a small machine.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _hasher.hash(secrets.token_urlsafe())


def hash_password(password: str) -> str:
    """About 20 ms of CPU: call it in a thread."""
    return _hasher.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Takes as long for a user that does not exist, so that names can not be found out. Call it in a thread."""
    try:
        _hasher.verify(stored or _NOBODY, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return stored is not None


def new_key(dialect: KeyDialect) -> str:
    return KEY_PREFIX[dialect] + "".join(secrets.choice(ALPHABET) for _ in range(43))


def digest(key: str) -> bytes:
    """Plain SHA-256 is enough for a key of 256 random bits; only passwords need a slow hash."""
    return hashlib.sha256(key.encode()).digest()


class RefreshTokens:
    """`<session>.<generation>.<mac>`: nothing about a token is stored but the newest generation that was seen."""

    def __init__(self, secret: str) -> None:
        self._key = derive(secret, "refresh-token")

    def make(self, session_id: UUID, generation: int) -> str:
        return f"{session_id.hex}.{generation}.{self._mac(session_id, generation)}"

    def read(self, token: str) -> tuple[UUID, int] | None:
        """None for anything this installation did not make."""
        parts = token.split(".")
        try:
            session_id, generation = UUID(hex=parts[0]), int(parts[1])
            mac = parts[2].encode()
        except (ValueError, IndexError):
            return None
        return (
            (session_id, generation) if hmac.compare_digest(self._mac(session_id, generation).encode(), mac) else None
        )

    def _mac(self, session_id: UUID, generation: int) -> str:
        mac = hmac.digest(self._key, f"{session_id.hex}.{generation}".encode(), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


class AccessTokens:
    """EdDSA, so that a gateway verifies with the public key and can not sign."""

    def __init__(self, kid: str, private_pem: bytes) -> None:
        key = load_pem_private_key(private_pem, None)
        assert isinstance(key, Ed25519PrivateKey)
        self._kid = kid
        self._key = key

    def make(self, user: User, session_id: UUID, at: datetime) -> str:
        claims = {
            "iss": ISSUER,
            "sub": str(user.user_id),
            "sid": str(session_id),
            "num": user.number,
            "name": user.username,
            "role": user.role,
            "iat": int(at.timestamp()),
            "exp": int((at + ACCESS_LIFE).timestamp()),
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._kid})


def new_signing_key() -> tuple[bytes, str]:
    """(private PEM, public PEM)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()
