"""Access tokens for Google's storage, asked for here and not by OpenDAL, which knows Google's own address only."""

from __future__ import annotations

import aiohttp
import jwt
import msgspec
from msgspec import Struct

from libs.egress.bodies import bounded
from libs.egress.policy import EgressPolicy, refusal
from services.storage.targets.credentials import Gcs
from services.storage.targets.failures import TargetAway, TargetRefused

SECONDS = 3600
"""The most that Google gives; an upload may not take longer."""
LONGEST_ANSWER = 64 << 10

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _Granted(Struct, frozen=True):
    access_token: str

    def __repr__(self) -> str:
        return "_Granted(...)"


async def access_token(credentials: Gcs, policy: EgressPolicy, now: int) -> str:
    """Raises TargetRefused, TargetAway."""
    account = credentials.account()
    claims = {
        "iss": account.client_email,
        "scope": _SCOPE,
        "aud": account.token_uri,
        "iat": now,
        "exp": now + SECONDS,
    }
    form = {"grant_type": _GRANT, "assertion": jwt.encode(claims, account.signer(), "RS256")}
    try:
        async with (
            aiohttp.ClientSession(connector=policy.connector()) as session,
            session.post(credentials.tokens().url, data=form, allow_redirects=False) as answer,
        ):
            status, body = answer.status, await bounded(answer, LONGEST_ANSWER)
    except aiohttp.ClientError as error:
        if refusal(error) is not None:
            raise TargetRefused("egress_refused") from error
        raise TargetAway("unreachable") from error
    if status in {400, 401, 403}:
        raise TargetRefused("access_denied")
    if status != 200:
        raise TargetAway("unavailable")
    try:
        return msgspec.json.decode(body, type=_Granted).access_token
    except msgspec.DecodeError as error:
        raise TargetAway("unavailable") from error
