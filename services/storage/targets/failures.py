"""How object storage fails its users: for good, or for now. The texts are for people and hold nothing of a request."""

from __future__ import annotations

from typing import Literal

from services.storage.targets.asks import Answer

RefusedCode = Literal[
    "access_denied", "no_bucket", "bad_settings", "source_changed", "egress_refused", "not_https", "cannot_sign"
]
AwayCode = Literal["unreachable", "unavailable", "timed_out", "damaged", "interrupted"]

_REFUSED: dict[RefusedCode, str] = {
    "access_denied": "the storage service does not accept the credentials, or they lack a permission",
    "no_bucket": "there is no such bucket or container",
    "bad_settings": "the storage service does not understand requests made with these settings",
    "source_changed": "the file changed while it was being stored",
    "egress_refused": "the storage service's address may not be reached from here",
    "not_https": "the storage service must be reached over https",
    "cannot_sign": "links need an account key; a SAS token can not be narrowed to one file",
}
_AWAY: dict[AwayCode, str] = {
    "unreachable": "the storage service can not be reached",
    "unavailable": "the storage service is not able to answer now",
    "timed_out": "the storage service took too long",
    "damaged": "the storage service does not hold what was sent to it",
    "interrupted": "storing was interrupted on our side",
}


class TargetRefused(Exception):
    """Trying again changes nothing until somebody changes the settings. `code` is stable, the message for people."""

    def __init__(self, code: RefusedCode) -> None:
        super().__init__(_REFUSED[code])
        self.code = code


class TargetAway(Exception):
    """Worth another try later. `code` is stable, the message for people."""

    def __init__(self, code: AwayCode) -> None:
        super().__init__(_AWAY[code])
        self.code = code


def check(answer: Answer) -> None:
    """Raises TargetRefused, TargetAway."""
    if answer.failed is None:
        return
    if answer.failed in _REFUSED:
        raise TargetRefused(answer.failed)
    raise TargetAway(answer.failed if answer.failed in _AWAY else "interrupted")
