"""What the platforms' refusals come down to; each adapter's table leads from their words to one of these."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from services.unrestrict_proxy.adapters.contract import HostError, Scope


class Verdict(Struct, frozen=True, kw_only=True):
    """The fields of HostError that do not change from one answer to the next. `retry_after` in seconds."""

    scope: Scope
    status: Literal[101, 102, 103, 104, 105, 106, 107]
    message: str
    retry_after: float | None = None
    renew: bool = False
    exhausted: bool = False
    narrow: bool = False

    def error(self, code: str, *, retry_after: float | None = None, detail: str = "") -> HostError:
        return HostError(
            self.scope,
            self.status,
            code,
            self.message,
            retry_after=self.retry_after if retry_after is None else retry_after,
            renew=self.renew,
            exhausted=self.exhausted,
            narrow=self.narrow,
            detail=detail,
        )


UNSUPPORTED = Verdict(scope="file", status=101, message="The platform does not serve this link.")
BANNED = Verdict(scope="file", status=102, message="The file was taken down.")
PRIVATE = Verdict(scope="file", status=103, message="The file is not open to premium accounts in general.")
PASSWORD = Verdict(scope="file", status=103, message="The file needs a password, and this is not it.")
OFFLINE = Verdict(scope="file", status=104, message="The file is not there.")
LATER = Verdict(scope="request", status=105, message="The file can not be had at the moment.", retry_after=300)

SESSION_OVER = Verdict(scope="account", status=107, message="The session is over.", renew=True)
WRONG_LOGIN = Verdict(scope="account", status=107, message="The platform does not accept these credentials.")
CAPTCHA = Verdict(
    scope="account", status=107, message="The platform wants a person to sign in on its site.", retry_after=3600
)
LOCKED = Verdict(scope="account", status=107, message="The platform has locked the account.")
NOT_PREMIUM = Verdict(scope="account", status=107, message="The account is not premium.", retry_after=3600)
EXHAUSTED = Verdict(scope="account", status=107, message="The account's traffic is used up.", exhausted=True)
SLOTS = Verdict(scope="account", status=107, message="The account has too many downloads open.", retry_after=60)
ADDRESS = Verdict(
    scope="account", status=107, message="The platform refuses the account at this address.", retry_after=3600
)
ACCOUNT_FLOOD = Verdict(scope="account", status=105, message="The account was used too often.", retry_after=60)
HOST_LIMIT = Verdict(
    scope="account", status=107, message="The account may have no more of this host for now.", retry_after=3600,
    narrow=True,
)  # fmt: skip

HOST_SLOTS = Verdict(
    scope="account", status=107, message="The account has too many downloads of this host open.", retry_after=60,
    narrow=True,
)  # fmt: skip

FLOOD = Verdict(scope="host", status=105, message="The platform was asked too often.", retry_after=60)
MAINTENANCE = Verdict(scope="host", status=105, message="The platform is under maintenance.", retry_after=600)
DOWN = Verdict(scope="host", status=105, message="The platform is out of order.", retry_after=120)
HOST_DOWN = Verdict(
    scope="host", status=105, message="The platform can not reach the file's host now.", retry_after=600, narrow=True
)

BAD_ANSWER = Verdict(scope="request", status=106, message="The platform's answer is not what its protocol promises.")
UNKNOWN = Verdict(scope="request", status=106, message="The platform refused for a reason that is not known.")
FAILED = Verdict(scope="request", status=106, message="The platform could not do it.")
