"""A host that an operator defines: files of its domains, fetched with Basic credentials or with headers of its account.

With a user name the secret is a password for Basic. Without, it is header lines as they are to be sent, such as
`Authorization: Bearer ...` or `Cookie: name=value`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from email.message import Message
from urllib.parse import quote, unquote, urljoin, urlunsplit

from msgspec import Struct

from proto.unrestrict_proxy import LinkClass
from services.unrestrict_proxy.adapters.answers import Reply, ask, by_status
from services.unrestrict_proxy.adapters.contract import (
    AccountState,
    Caps,
    Credentials,
    DirectLink,
    FileInfo,
    HostError,
    HostFile,
    Line,
    Pending,
    Session,
)
from services.unrestrict_proxy.adapters.links import domain_of, split
from services.unrestrict_proxy.adapters.verdicts import (
    BAD_ANSWER,
    BANNED,
    EXHAUSTED,
    FAILED,
    FLOOD,
    MAINTENANCE,
    OFFLINE,
    PRIVATE,
    UNSUPPORTED,
    WRONG_LOGIN,
    Verdict,
)

_HEADER = re.compile(
    r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[\x21-\x7e\x80-\xff][\x20-\x7e\x80-\xff]*)"
)
_NOT_OURS = {"host", "range", "if-range", "content-length", "transfer-encoding", "connection"}
_MOST_HOPS = 5
_REDIRECTS = {301, 302, 303, 307, 308}

_STATUSES: dict[int, Verdict] = {
    401: WRONG_LOGIN,
    402: EXHAUSTED,
    403: WRONG_LOGIN,
    404: OFFLINE,
    410: OFFLINE,
    429: FLOOD,
    451: BANNED,
    503: MAINTENANCE,
    509: EXHAUSTED,
}


FORBIDDEN = Verdict(
    scope="account", status=107, message="The host refuses the account, or the account this file.", retry_after=3600
)


class _Found(Struct, frozen=True):
    """Where redirects ended, and what a first byte of it said. `headers` go to the host's own domains alone."""

    reply: Reply
    url: str
    headers: Mapping[str, str]


class Generic:
    platform = "generic"
    name = "Generic"
    domains: tuple[str, ...] = ()
    caps = Caps(max_chunks=4, slots=2, link_seconds=3600)

    def match(self, url: str) -> HostFile | None:
        """Any link of the web names a file; whose it is, the domains of the accounts say."""
        parts = split(url)
        if parts is None or parts.path in {"", "/"}:
            return None
        port = "" if parts.port in {None, {"http": 80, "https": 443}[parts.scheme]} else f":{parts.port}"
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else (parts.hostname or "").rstrip(".")
        canonical = _spelled(urlunsplit((parts.scheme, host + port, parts.path, parts.query, "")))
        return HostFile(ref=LinkClass(platform=self.platform, file_ref=canonical), url=canonical)

    async def login(self, line: Line) -> Session:
        """Raises HostError when the secret can not be read."""
        _headers(line.credentials)
        return Session()

    async def account(self, line: Line) -> AccountState:
        """With `base_url` that address is asked whether the credentials are good; nothing else can be known."""
        if line.credentials.base_url is not None:
            reply = (await _first_byte(line, line.credentials.base_url)).reply
            if reply.status >= 400:
                raise reply.refused(by_status(reply.status, _STATUSES), reply.status)
        return AccountState(usable=True)

    async def hosts(self, line: Line) -> tuple[str, ...]:
        return line.credentials.domains

    async def check(self, line: Line, files: Sequence[HostFile]) -> list[FileInfo]:
        infos = []
        for file in files:
            try:
                infos.append(_info((await _fetchable(line, file.url)).reply, file.url))
            except HostError as error:
                if error.scope != "file":
                    raise
                infos.append(FileInfo(online="offline" if error.status in {102, 104} else "unknown"))
        return infos

    async def resolve(self, line: Line, file: HostFile, password: str | None) -> DirectLink | Pending:
        found = await _fetchable(line, file.url)
        info = _info(found.reply, file.url)
        return DirectLink(
            url=found.reply.link(found.url),
            headers=found.headers,
            name=info.name,
            size=info.size,
            resumable=found.reply.status == 206,
        )

    async def poll(self, line: Line, pending: Pending) -> DirectLink | Pending:
        raise FAILED.error("nothing_pending")


def _headers(credentials: Credentials) -> dict[str, str]:
    if credentials.username:
        pair = f"{credentials.username}:{credentials.secret}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}
    headers: dict[str, str] = {}
    for line in credentials.secret.splitlines():
        if not line.strip():
            continue
        found = _HEADER.fullmatch(line.strip())
        if found is None or found["name"].lower() in _NOT_OURS:
            raise WRONG_LOGIN.error("bad_header")
        headers[found["name"]] = found["value"]
    return headers


async def _fetchable(line: Line, url: str) -> _Found:
    """Raises HostError for what is no file that can be had, such as a page that asks to sign in."""
    parts = split(url)
    if parts is None or domain_of(parts, line.credentials.domains) is None:
        raise UNSUPPORTED.error("not_its_domain")
    found = await _first_byte(line, url)
    reply = found.reply
    if reply.status == 403:
        raise await _forbidden(line, reply)
    if reply.status not in {200, 206}:
        raise reply.refused(by_status(reply.status, _STATUSES), reply.status)
    named = parts.path.lower().endswith((".html", ".htm", ".xhtml"))
    if reply.headers.get("Content-Type", "").lower().startswith("text/html") and not named:
        raise reply.refused(BAD_ANSWER, "html")
    return found


async def _forbidden(line: Line, reply: Reply) -> HostError:
    """Where the account can be asked about, a file that is refused to a good one is the file's matter."""
    if line.credentials.base_url is None:
        return reply.refused(FORBIDDEN, reply.status)
    home = (await _first_byte(line, line.credentials.base_url)).reply
    return reply.refused(WRONG_LOGIN if home.status in {401, 403} else PRIVATE, reply.status)


async def _first_byte(line: Line, url: str) -> _Found:
    """One byte is asked for, since not every server knows HEAD and not every one that does tells the truth by it."""
    own = _headers(line.credentials)
    began = url.partition(":")[0]
    for _ in range(_MOST_HOPS):
        parts = split(url)
        if parts is None:
            raise BAD_ANSWER.error("bad_link")
        trusted = domain_of(parts, line.credentials.domains) is not None or url == line.credentials.base_url
        headers = own if trusted and parts.scheme in {began, "https"} else {}
        reply = await ask(
            line,
            "GET",
            url,
            hidden=list(own.values()),
            headers={**headers, "Range": "bytes=0-0", "Accept-Encoding": "identity"},
            most=1024,
        )
        if reply.status not in _REDIRECTS or "Location" not in reply.headers:
            return _Found(reply=reply, url=url, headers=headers)
        url = reply.link(_spelled(urljoin(url, reply.headers["Location"])))
    raise BAD_ANSWER.error("too_many_redirects")


def _spelled(url: str) -> str:
    """With what may not stand in a link percent-encoded, and what is so already left alone."""
    return quote(url, safe="%/:?#[]@!$&'()*+,;=-._~")


def _info(reply: Reply, url: str) -> FileInfo:
    whole = reply.headers.get("Content-Range", "").rpartition("/")[2]
    size = whole if reply.status == 206 else reply.headers.get("Content-Length", "")
    parts = split(url)
    last = "" if parts is None else unquote(parts.path.rpartition("/")[2])
    known = int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None
    return FileInfo(
        online="online", name=_claimed(reply.headers.get("Content-Disposition")) or last or None, size=known
    )


def _claimed(disposition: str | None) -> str | None:
    if not disposition:
        return None
    message = Message()
    message["Content-Disposition"] = disposition
    return message.get_filename()
