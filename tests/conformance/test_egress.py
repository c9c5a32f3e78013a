"""Nothing leaves for where it may not: by text, by address, by name, by redirect, or by rebinding."""

from __future__ import annotations

import asyncio
import base64
import io
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from libs.egress.links import BadLink, check_link
from libs.egress.policy import BadAllowance, EgressPolicy, EgressRefused, Endpoint, refusal
from libs.egress.proxy import CONNECTIONS, EgressProxy
from libs.egress.rate import Rate

PUBLIC = "93.184.215.14"

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2001:10::1",
    "2002:7f00:1::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


def answering(*addresses: str):
    """A resolver that says the same of every name."""

    async def lookup(host: str, port: int) -> list[str]:
        return list(addresses)

    return lookup


# -- the setting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", " , ,", "10.0.0.0/8", "127.0.0.1, ::1", "fd00::/8", "a.test=127.0.0.1:80, A.test:443=[::1]:9443"],
)
def test_an_allowance_of_networks_addresses_and_mappings_is_read(text) -> None:
    """Commas, spaces and both address families."""
    EgressPolicy.parse(text)


@pytest.mark.parametrize(
    "part",
    [
        "10.0.0.0/33",
        "10.1.2.3/8",
        "example.com",
        "a.test=127.0.0.1",
        "a.test=127.0.0.1:0",
        "a.test=127.0.0.1:65536",
        "a.test=127.0.0.1:x",
        "a.test=files.test:80",
        "=127.0.0.1:80",
        "a.test:0=127.0.0.1:80",
        "a.test:99999=127.0.0.1:80",
        "http://a.test=127.0.0.1:80",
        "a b=127.0.0.1:80",
        "a.test=127.0.0.1:" + "9" * 5000,
    ],
)
def test_every_wrong_part_of_an_allowance_is_named(part) -> None:
    """Both errors are in one message, with what would be right."""
    with pytest.raises(BadAllowance) as caught:
        EgressPolicy.parse(f"127.0.0.1,{part},also wrong")

    assert repr(part) in str(caught.value)
    assert "'also wrong'" in str(caught.value)
    assert "host=address:port" in str(caught.value)


def test_a_host_is_mapped_once() -> None:
    """Of two targets none would be right."""
    with pytest.raises(BadAllowance, match="twice"):
        EgressPolicy.parse("a.test=127.0.0.1:80,A.TEST=127.0.0.1:81")


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_off_the_public_internet_is_refused(address) -> None:
    """In every disguise, on an open port."""
    with pytest.raises(EgressRefused) as caught:
        EgressPolicy().judge(address, 443)

    assert caught.value.reason == "private_address"


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700::1111", f"::ffff:{PUBLIC}", "192.31.196.1"])
@pytest.mark.parametrize("port", [80, 443, 8080, 8443])
def test_a_public_address_is_reached_on_the_ports_of_the_web(address, port) -> None:
    """Nothing else is opened by default."""
    EgressPolicy().judge(address, port)


@pytest.mark.parametrize("port", [1, 22, 25, 5432, 6379, 8081, 65535])
def test_other_ports_are_refused(port) -> None:
    """A public address is no way to mail or databases."""
    with pytest.raises(EgressRefused) as caught:
        EgressPolicy().judge(PUBLIC, port)

    assert caught.value.reason == "bad_port"


def test_the_servers_own_public_address_is_refused() -> None:
    """From inside, what listens there trusts more than from outside."""
    with pytest.raises(EgressRefused) as caught:
        EgressPolicy(own=lambda: {PUBLIC}).judge(PUBLIC, 443)

    assert caught.value.reason == "own_address"


def test_an_opened_network_is_open_on_every_port_and_no_other_is() -> None:
    """The mapped spelling of an opened address is open too."""
    policy = EgressPolicy.parse("10.0.0.0/8,fd00::/8")
    policy.judge("10.9.9.9", 5000)
    policy.judge("::ffff:10.9.9.9", 22)
    policy.judge("fd00::1", 1)

    for address in ("11.0.0.1", "127.0.0.1", "192.168.0.1", "fe80::1"):
        with pytest.raises(EgressRefused):
            policy.judge(address, 5000)


async def test_a_mapping_opens_its_address_for_its_host_alone() -> None:
    """By its own name it is reached; as a literal or behind another name it stays closed."""
    policy = EgressPolicy.parse("a.test=127.0.0.1:8080", answering("127.0.0.1"))

    assert await policy.resolve("A.Test.", 80) == [Endpoint("127.0.0.1", 8080)]
    for host in ("127.0.0.1", "b.test", "0x7f.1"):
        with pytest.raises(EgressRefused):
            await policy.resolve(host, 8080)


async def test_a_mapping_with_a_port_leaves_the_other_ports_alone() -> None:
    """`host:port=` sends only that port elsewhere."""
    policy = EgressPolicy.parse("a.test:443=127.0.0.1:9443", answering(PUBLIC))

    assert await policy.resolve("a.test", 443) == [Endpoint("127.0.0.1", 9443)]
    assert await policy.resolve("a.test", 80) == [Endpoint(PUBLIC, 80)]


@pytest.mark.parametrize("bad", ["127.0.0.1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"])
async def test_one_private_answer_refuses_the_name(bad) -> None:
    """Whichever place it has among the answers."""
    for answers in ([bad], [PUBLIC, bad], [bad, PUBLIC]):
        with pytest.raises(EgressRefused):
            await EgressPolicy(lookup=answering(*answers)).resolve("example.com", 443)


async def test_a_name_without_an_address_is_no_way_around() -> None:
    """It fails, it is never let through unjudged."""
    with pytest.raises(OSError, match="no address"):
        await EgressPolicy(lookup=answering()).resolve("example.com", 443)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "\udcff.example", "..", "a..b"])
async def test_a_host_that_is_no_name_is_refused_or_unknown(host) -> None:
    """What the system's resolver chokes on is an answer too."""
    with pytest.raises((EgressRefused, OSError)):
        await EgressPolicy().resolve(host, 443)


async def test_what_a_client_connects_to_is_judged_once_more() -> None:
    """A name that was good when it was resolved may be the server's own address by now."""
    asked: list[str] = []

    def own() -> set[str]:
        asked.append(PUBLIC)
        return {PUBLIC} if len(asked) > 1 else set()

    policy = EgressPolicy(lookup=answering(PUBLIC), own=own)
    async with aiohttp.ClientSession(connector=policy.connector()) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await session.get("http://example.com/")

    assert refusal(refused.value) == "this address is the server's own"


# -- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("", "bad_scheme"),
        ("example.com/a", "bad_scheme"),
        ("//example.com/a", "bad_scheme"),
        ("ftp://example.com/a", "bad_scheme"),
        ("file:///etc/passwd", "bad_scheme"),
        ("javascript:alert(1)", "bad_scheme"),
        ("data:text/plain,hello", "bad_scheme"),
        ("rtmp://example.com/a", "bad_scheme"),
        ("ytsearch5:cats", "bad_scheme"),
        ("oauth:mastodon:http://example.com", "bad_scheme"),
        ("http:/example.com", "bad_scheme"),
        ("http:\\\\example.com", "bad_characters"),
        ("http://example.com\\@127.0.0.1/", "bad_characters"),
        ("http://example.com/a b", "bad_characters"),
        (" http://example.com/", "bad_characters"),
        ("http://example.com/\n", "bad_characters"),
        ("http://exam\tple.com/", "bad_characters"),
        ("http://example.com/a\r\nHost: inside", "bad_characters"),
        ("http://example.com/\x00", "bad_characters"),
        ("http://example.com/\x7f", "bad_characters"),
        ("http://example.com/\x85", "bad_characters"),
        ("http://example.com/\u2028", "bad_characters"),
        ("http://example.com/\u3000", "bad_characters"),
        ("http://example.com/\udcff", "bad_characters"),
        ('http://example.com/"><script>', "bad_characters"),
        ("http://example.com/" + "a" * 8192, "too_long"),
        ("http://user@example.com/", "userinfo"),
        ("http://user:secret@example.com/", "userinfo"),
        ("http://@example.com/", "userinfo"),
        ("http://example.com@127.0.0.1/", "userinfo"),
        ("http://example.com/#__youtubedl_smuggle=%7B%7D", "smuggled"),
        ("http://example.com/#__youtubedl%5Fsmuggle=%7B%7D", "smuggled"),
        ("http://example.com/?u=http%3A%2F%2Fx%23__youtubedl%255Fsmuggle", "smuggled"),
        ("http:///a", "bad_host"),
        ("http://.", "bad_host"),
        ("http://a..b/", "bad_host"),
        ("http://example.com../", "bad_host"),
        ("http://-a.example/", "bad_host"),
        ("http://exa%6dple.com/", "bad_host"),
        ("http://exa mple.com/", "bad_characters"),
        ("http://" + "a" * 64 + ".com/", "bad_host"),
        ("http://" + "a." * 127 + "com/", "bad_host"),
        ("http://[::1", "bad_host"),
        ("http://[v1.a]/", "bad_host"),
        ("http://１.２.３.４.５/", "bad_host"),
        ("http://1.2.3.4.5/", "bad_host"),
        ("http://a.0x7f/", "bad_host"),
        ("http://ex＠mple.com/", "bad_host"),
        ("http://example.com:0/", "bad_port"),
        ("http://example.com:/", "bad_port"),
        ("http://example.com:65536/", "bad_port"),
        ("http://example.com:-1/", "bad_port"),
        ("http://example.com:٨٠/", "bad_port"),
        ("http://example.com:22/", "bad_port"),
        ("http://1.1.1.1:22/", "bad_port"),
        ("http://localhost/", "private_address"),
        ("http://LOCALHOST./", "private_address"),
        ("http://intranet/", "private_address"),
        ("http://printer.local/", "private_address"),
        ("http://metadata.google.internal/", "private_address"),
        ("http://127.1/", "private_address"),
        ("http://0/", "private_address"),
        ("http://2130706433/", "private_address"),
        ("http://0x7f000001/", "private_address"),
        ("http://0x7f.0.0.1/", "private_address"),
        ("http://0177.0.0.1/", "private_address"),
        ("http://127.0.0.1./", "private_address"),
        ("http://１２７.０.０.１/", "private_address"),
        ("http://①②⑦.⓪.⓪.①/", "private_address"),
        ("http://127。0。0。1/", "private_address"),
        ("http://0xa9fea9fe/", "private_address"),
        ("http://[fe80::1%25eth0]/", "private_address"),
        *((f"http://{address}/", "private_address") for address in PRIVATE if ":" not in address),
        *((f"https://[{address}]/", "private_address") for address in PRIVATE if ":" in address and "%" not in address),
    ],
)
def test_a_hostile_link_is_refused_with_its_code(link, code) -> None:
    """One closed set of codes; nothing is looked up for it."""
    with pytest.raises(BadLink) as caught:
        check_link(link, EgressPolicy())

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("link", "normal"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com./A?b=%3a+%2F&b=~#F", "https://example.com/A?b=%3a+%2F&b=~#F"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:8443//a//b", "https://example.com:8443//a//b"),
        ("http://bücher.example/ä b".replace(" ", "%20"), "http://xn--bcher-kva.example/%C3%A4%20b"),
        ("http://straße.de/", "http://xn--strae-oqa.de/"),
        ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("http://a_b.example.com/{x}|y^z", "http://a_b.example.com/%7Bx%7D%7Cy%5Ez"),
        ("http://16843009/", "http://1.1.1.1/"),
        ("http://[2606:4700:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://example.com/a@b:c", "http://example.com/a@b:c"),
        ("http://example.com?q=1", "http://example.com/?q=1"),
    ],
)
def test_a_good_link_is_put_in_order_but_never_decoded(link, normal) -> None:
    """Host and scheme in one spelling; the rest as it was, because signatures cover it. It is stable."""
    assert check_link(link, EgressPolicy()) == normal
    assert check_link(normal, EgressPolicy()) == normal


def test_a_link_inside_is_good_where_the_operator_opened_it() -> None:
    """A mapping opens its host, a network its literals and the names and ports that may lead there."""
    mapped, opened = EgressPolicy.parse("files.test:9000=127.0.0.1:1"), EgressPolicy.parse("192.168.0.0/16")

    assert check_link("http://files.test:9000/a", mapped) == "http://files.test:9000/a"
    assert check_link("http://192.168.1.5:5000/a", opened) == "http://192.168.1.5:5000/a"
    assert check_link("http://nas.lan:5000/a", opened) == "http://nas.lan:5000/a"
    for link, policy in (("http://files.test:9001/", mapped), ("http://127.0.0.1/", opened)):
        with pytest.raises(BadLink):
            check_link(link, policy)


# -- our own clients --------------------------------------------------------------------------------------------------


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    writer.close()


@asynccontextmanager
async def serving(handler=hello):
    """The port of a server on 127.0.0.1 that hands each connection to `handler`."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def get(policy: EgressPolicy, url: str, **more) -> str:
    async with aiohttp.ClientSession(connector=policy.connector()) as session, session.get(url, **more) as response:
        return await response.text()


async def test_a_client_reaches_what_is_mapped_and_what_is_opened() -> None:
    """Names by their mapping, literals by their network."""
    async with serving() as port:
        assert await get(EgressPolicy.parse(f"a.test=127.0.0.1:{port}"), "http://a.test/x") == "hello"
        assert await get(EgressPolicy.parse("127.0.0.1"), f"http://127.0.0.1:{port}/x") == "hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "169.254.169.254", "b.test"])
async def test_a_client_is_refused_what_is_not(host) -> None:
    """A literal never reaches the resolver, and is refused all the same, even where a mapping leads to it."""
    arrivals: list[object] = []

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrivals.append(reader)
        writer.close()

    async with serving(never) as port:
        policy = EgressPolicy.parse(f"a.test=127.0.0.1:{port}", answering("127.0.0.1"))
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            await get(policy, f"http://{host}:{port}/")

    assert refusal(caught.value) is not None
    assert arrivals == []


async def test_a_client_is_not_led_inside_by_a_redirect() -> None:
    """Each hop is a connection of its own, and is judged as such."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:8080/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with serving(redirect) as port:
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            await get(EgressPolicy.parse(f"a.test=127.0.0.1:{port}"), "http://a.test/")

    assert refusal(caught.value) is not None


async def test_a_name_that_changes_its_answer_is_judged_each_time() -> None:
    """Rebinding: what was public a moment ago is refused when it leads inside, and no second look-up follows a
    judgement."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    policy = EgressPolicy(lookup=rebinding)

    assert await policy.resolve("evil.example", 80) == [Endpoint(PUBLIC, 80)]
    with pytest.raises((aiohttp.ClientError, OSError)) as caught:
        await get(policy, "http://evil.example/")
    assert refusal(caught.value) is not None
    assert len(asked) == 2


# -- the proxy --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxied(*mapped: str, port: int = 1, lookup=None):
    """A proxy whose policy maps each host to a local port, and a grant for the job `j`."""
    policy = EgressPolicy.parse(",".join(f"{host}=127.0.0.1:{port}" for host in mapped), lookup)
    async with EgressProxy(policy) as proxy:
        yield proxy, proxy.grant("j")


def credentials(url: str) -> str:
    parts = urlsplit(url)
    return "Basic " + base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()


async def say(url: str, request: str, *, authorised: bool = True, then: bytes = b"") -> bytes:
    """Everything that the proxy answers to these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    head = request + (f"Proxy-Authorization: {credentials(url)}\r\n" if authorised else "") + "\r\n"
    writer.write(head.encode("latin-1") + then)
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


def remembering(got: list[bytes], answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"):
    """A server that keeps what it was asked, answers, and leaves the connection open as if for more."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        while more := await reader.read(65536):
            got.append(more)
        writer.close()

    return handler


async def read_head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        return await reader.readuntil(b"\r\n\r\n")


async def test_a_plain_request_passes_with_its_bytes_counted() -> None:
    """An ordinary client gets the answer, and the job's account shows it."""
    async with serving() as port, proxied("a.test", port=port) as (proxy, url), aiohttp.ClientSession() as session:
        async with session.get("http://a.test/x?y=1", proxy=url) as response:
            body = await response.text()
        usage = proxy.usage("j")

        assert (response.status, body) == (200, "hello")
        assert usage is not None
        assert (usage.received, usage.refusal) == (5, None)


async def test_a_tunnel_carries_both_directions_and_their_ends() -> None:
    """After CONNECT bytes pass as they are, early ones too, and the end of one direction is not that of the other."""

    async def echo_at_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read())[::-1])
        writer.close()

    async with serving(echo_at_end) as port, proxied("a.test", port=port) as (proxy, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(f"CONNECT a.test:443 HTTP/1.1\r\nProxy-Authorization: {credentials(url)}\r\n\r\nearly".encode())
        head = await read_head(reader)
        writer.write(b" late")
        writer.write_eof()
        async with asyncio.timeout(60):
            rest = await reader.read()
        writer.close()
        usage = proxy.usage("j")

    assert head == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert rest == b"early late"[::-1]
    assert usage is not None
    assert (usage.received, usage.sent) == (10, 10)


async def test_a_body_passes_both_ways_whole() -> None:
    """Megabytes up and down, with and without a length, arrive as they were sent."""

    async def mirror(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        response = web.StreamResponse()
        if request.query.get("chunked"):
            response.enable_chunked_encoding()
        else:
            response.content_length = len(body)
        await response.prepare(request)
        await response.write(body)
        return response

    async def pieces():
        for _ in range(48):
            yield bytes(range(256)) * 256

    app = web.Application(client_max_size=1 << 30)
    app.add_routes([web.post("/", mirror)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    body = bytes(range(256)) * 256 * 48
    try:
        async with proxied("a.test", port=runner.addresses[0][1]) as (_, url), aiohttp.ClientSession() as session:
            for data, query in ((io.BytesIO(body), ""), (pieces(), "?chunked=1")):
                async with session.post(f"http://a.test/{query}", data=data, proxy=url) as response:
                    assert await response.read() == body
    finally:
        await runner.cleanup()


async def test_what_belongs_to_the_hop_stays_on_it() -> None:
    """The job's password, hop-by-hop headers and those that Connection names are not sent on; Host is the target's; and
    what follows the announced body is not sent at all."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        got.set_result(await reader.read())
        writer.close()

    async with serving(keep) as port, proxied("a.test", port=port) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(
            b"POST http://a.test/p?q#f HTTP/1.1\r\nHost: inside.example\r\nConnection: X-Secret, Content-Length\r\n"
            b"X-Secret: 1\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n"
            b"Proxy-Authorization: " + credentials(url).encode() + b"\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\n"
            b"okGET http://a.test/smuggled HTTP/1.1\r\n\r\n"
        )
        await read_head(reader)
        writer.close()
        async with asyncio.timeout(60):
            arrived = await got

    assert arrived == (
        b"POST /p?q HTTP/1.1\r\nHost: a.test\r\nX-Kept: yes\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    )


async def test_an_answer_says_that_the_connection_ends() -> None:
    """Otherwise a client would send its next request, with its password, to whoever answered the first. What claims to
    come from the proxy is taken out."""
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 9\r\nX-Longshore-Egress: fake\r\n"
        b"no colon\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nhello"
    )
    async with serving(remembering([], answer)) as port, proxied("a.test", port=port) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(f"GET http://a.test/ HTTP/1.1\r\nProxy-Authorization: {credentials(url)}\r\n\r\n".encode())
        head = await read_head(reader)
        writer.close()

    assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"


async def test_interim_answers_pass_before_the_one_that_counts() -> None:
    """A client that waits for 100 Continue gets it."""
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with serving(remembering([], answer)) as port, proxied("a.test", port=port) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(f"GET http://a.test/ HTTP/1.1\r\nProxy-Authorization: {credentials(url)}\r\n\r\n".encode())
        heads = [await read_head(reader), await read_head(reader)]
        writer.close()

    assert heads == [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("127.0.0.1:8080", "private_address"),
        ("[::1]:443", "private_address"),
        ("[::ffff:127.0.0.1]:443", "private_address"),
        ("[fe80::1%25eth0]:443", "private_address"),
        ("169.254.169.254:80", "private_address"),
        ("2130706433:80", "private_address"),
        ("0x7f.1:80", "private_address"),
        ("localhost:80", "private_address"),
        ("evil.example:443", "private_address"),
        (f"{PUBLIC}:22", "bad_port"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
async def test_the_proxy_refuses_in_words_and_in_a_header(target, reason, method) -> None:
    """403 for a tunnel and for a request alike, and the job's account keeps why."""
    async with proxied(lookup=answering("127.0.0.1")) as (proxy, url):
        asked = target if method == "CONNECT" else f"http://{target}/"
        answer = await say(url, f"{method} {asked} HTTP/1.1\r\n")
        usage = proxy.usage("j")

    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert f"X-Longshore-Egress: {reason}\r\n".encode() in answer
    assert b"\r\n\r\negress refused: " in answer
    assert usage is not None
    assert usage.refusal == reason


async def test_a_redirect_through_the_proxy_leads_nowhere_private() -> None:
    """The client follows, the proxy does not."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with (
        serving(redirect) as port,
        proxied("a.test", port=port) as (_, url),
        aiohttp.ClientSession() as session,
        session.get("http://a.test/", proxy=url) as response,
    ):
        status, header = response.status, response.headers["X-Longshore-Egress"]

    assert (status, header) == (403, "private_address")


async def test_the_proxy_connects_to_what_it_judged() -> None:
    """One look-up per connection, so there is no second answer to fall for; the next connection is judged anew."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.9"]

    async with serving() as port, EgressProxy(EgressPolicy.parse("127.0.0.1", rebinding)) as proxy:
        url = proxy.grant("j")
        first = await say(url, f"GET http://evil.example:{port}/ HTTP/1.1\r\n")
        looked_up = len(asked)
        second = await say(url, f"GET http://evil.example:{port}/ HTTP/1.1\r\n")

    assert first.endswith(b"hello")
    assert looked_up == 1
    assert second.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Basic !!!\r\n",
        "Proxy-Authorization: Bearer abc\r\n",
        f"Proxy-Authorization: Basic {base64.b64encode(b'j:wrong').decode()}\r\n",
        f"Proxy-Authorization: Basic {base64.b64encode(b'other:x').decode()}\r\n",
        f"Proxy-Authorization: Basic {base64.b64encode('j:grün'.encode()).decode()}\r\n",
        "Authorization: Basic ajp3cm9uZw==\r\n",
    ],
)
async def test_without_the_jobs_password_nothing_passes(header) -> None:
    """407, whatever is asked for."""
    async with serving() as port, proxied("a.test", port=port) as (_, url):
        for line in ("GET http://a.test/", "CONNECT a.test:443"):
            answer = await say(url, f"{line} HTTP/1.1\r\n{header}", authorised=False)

            assert answer.startswith(b"HTTP/1.1 407 ")
            assert b"hello" not in answer


async def test_a_revoked_job_is_cut_off() -> None:
    """Its password is void, and its open tunnels end at once, with a reset and not as if whole."""
    got: list[bytes] = []
    async with serving(remembering(got, b"")) as port, proxied("a.test", port=port) as (proxy, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(
            f"CONNECT a.test:443 HTTP/1.1\r\nProxy-Authorization: {credentials(url)}\r\n\r\n1\r\n\r\n".encode()
        )
        await read_head(reader)
        usage = proxy.revoke("j")
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(60):
                await reader.read()
        writer.close()
        after = await say(url, "GET http://a.test/ HTTP/1.1\r\n")

    assert usage is not None
    assert after.startswith(b"HTTP/1.1 407 ")


async def test_a_grant_is_of_one_job() -> None:
    """Asked for again it is the same; another job's is another; after revoking it is new."""
    async with proxied() as (proxy, url):
        assert proxy.grant("j") == url
        assert urlsplit(proxy.grant("k")).password != urlsplit(url).password
        proxy.revoke("j")
        assert proxy.grant("j") != url


async def test_a_broken_upstream_looks_broken_to_the_client() -> None:
    """A body without a length that ends in a reset must not be taken for whole."""
    gone = asyncio.Event()

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await gone.wait()
        connection = writer.get_extra_info("socket")
        connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of zero: close resets
        writer.transport.abort()

    async with serving(cut) as port, proxied("a.test", port=port) as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(f"GET http://a.test/ HTTP/1.1\r\nProxy-Authorization: {credentials(url)}\r\n\r\n".encode())
        await read_head(reader)
        async with asyncio.timeout(60):
            assert await reader.readexactly(10) == b"half of it"
        gone.set()
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(60):
                await reader.read()
        writer.close()


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\n",
        "GET https://a.test/ HTTP/1.1\r\n",
        "GET ftp://a.test/ HTTP/1.1\r\n",
        "GET http:///x HTTP/1.1\r\n",
        "GET http://u:p@a.test/ HTTP/1.1\r\n",
        "GET http://a.test:0/ HTTP/1.1\r\n",
        "GET http://a.test:x/ HTTP/1.1\r\n",
        "GET http://[::1/ HTTP/1.1\r\n",
        "GET http://a.test/ HTTP/2\r\n",
        "GET http://a.test/ x HTTP/1.1\r\n",
        "GET  http://a.test/ HTTP/1.1\r\n",
        "G@T http://a.test/ HTTP/1.1\r\n",
        "GET http://a.test/\x01 HTTP/1.1\r\n",
        "CONNECT a.test HTTP/1.1\r\n",
        "CONNECT a.test:99999 HTTP/1.1\r\n",
        "CONNECT a.test:443/x HTTP/1.1\r\n",
        "CONNECT :443 HTTP/1.1\r\n",
        "nonsense\r\n",
        "GET http://a.test/ HTTP/1.1\r\nX: a\rb\r\n",
        "GET http://a.test/ HTTP/1.1\r\nX: a\nInjected: b\r\n",
        "GET http://a.test/ HTTP/1.1\r\nX: a\r\n folded\r\n",
        "GET http://a.test/ HTTP/1.1\r\nX : a\r\n",
        "GET http://a.test/ HTTP/1.1\r\nX: \0\r\n",
        "GET http://a.test/ HTTP/1.1\r\nno colon\r\n",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "POST http://a.test/ HTTP/1.1\r\nContent-Length: +5\r\n",
        "POST http://a.test/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",
        "POST http://a.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
async def test_a_request_that_two_could_read_differently_is_not_passed_on(request_text) -> None:
    """400, and nothing reaches any host."""
    got: list[bytes] = []
    async with serving(remembering(got)) as port, proxied("a.test", port=port) as (_, url):
        answer = await say(url, request_text)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert got == []


async def test_a_head_without_end_is_not_collected_for_ever() -> None:
    """Bounded memory for whoever can connect."""
    async with proxied() as (_, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"GET http://a.test/ HTTP/1.1\r\nX: " + b"a" * 200_000)
        try:
            async with asyncio.timeout(60):
                rest = await reader.read()
        except ConnectionResetError:
            rest = b""
        writer.close()

    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"hello", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/2 200\r\n\r\n"],
)
async def test_an_answer_that_is_not_http_is_the_proxys_502(answer) -> None:
    """Another protocol's bytes never reach the client."""

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with serving(other) as port, proxied("a.test", port=port) as (_, url):
        got = await say(url, "GET http://a.test/ HTTP/1.1\r\n")

    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"X-Longshore-Egress: bad_answer\r\n" in got
    assert answer not in got


async def test_a_host_that_does_not_answer_is_502_and_no_refusal() -> None:
    """Clients can tell the policy from the network."""

    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with serving() as port:
        closed = port
    async with proxied("a.test", port=closed, lookup=nowhere) as (proxy, url):
        unreachable = await say(url, "CONNECT a.test:443 HTTP/1.1\r\n")
        unknown = await say(url, "CONNECT b.test:443 HTTP/1.1\r\n")
        usage = proxy.usage("j")

    assert unreachable.startswith(b"HTTP/1.1 502 ")
    assert b"X-Longshore-Egress: unreachable\r\n" in unreachable
    assert b"X-Longshore-Egress: no_address\r\n" in unknown
    assert usage is not None
    assert usage.refusal is None


async def test_one_job_can_not_take_all_connections() -> None:
    """Beyond its share it is told so; another job is not touched."""
    got: list[bytes] = []
    async with serving(remembering(got, b"")) as port, proxied("a.test", port=port) as (proxy, url):
        request = f"CONNECT a.test:443 HTTP/1.1\r\nProxy-Authorization: {credentials(url)}\r\n\r\n".encode()
        held = []
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
            writer.write(request)
            await read_head(reader)
            held.append(writer)
        beyond = await say(url, "CONNECT a.test:443 HTTP/1.1\r\n")
        other = await say(proxy.grant("k"), "CONNECT b.test:22 HTTP/1.1\r\n")
        for writer in held:
            writer.close()

    assert beyond.startswith(b"HTTP/1.1 429 ")
    assert not other.startswith(b"HTTP/1.1 429 ")


async def test_a_limited_job_gets_every_byte() -> None:
    """A rate slows, it loses nothing."""
    body = bytes(range(256)) * 4096

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with serving(send) as port, EgressProxy(EgressPolicy.parse(f"a.test=127.0.0.1:{port}")) as proxy:
        url = proxy.grant("j", rate=Rate(4_000_000))
        async with aiohttp.ClientSession() as session, session.get("http://a.test/", proxy=url) as response:
            got = await response.read()

    assert got == body


def test_a_rate_holds_over_time_and_pause_earns_no_flood() -> None:
    """A thousand a second: what was not used a minute ago is gone but for a quarter second."""
    now = [0.0]
    rate = Rate(1000, lambda: now[0])

    assert rate.passed(500) == pytest.approx(0.5)
    now[0] = 0.5
    assert rate.passed(1000) == pytest.approx(1.0)
    now[0] = 60.0
    assert rate.passed(250) == 0
    assert rate.passed(1000) == pytest.approx(1.0)
