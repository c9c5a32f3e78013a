"""Which bytes are sent: the arithmetic of ranges against sets of byte numbers, and preconditions as RFC 9110 tells."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.serving.headers import OPAQUE, Served, Verdict, disposition, judge, multipart, safe_type
from libs.serving.ranges import SPECS_MOST, Span, parse
from tests.support.sure import sure

AT = datetime(2026, 11, 21, 10, 0, 0, 250_000, tzinfo=UTC)
DATE = "Sat, 21 Nov 2026 10:00:00 GMT"
FILE = Served(name="a.bin", size=100, digest="d" * 64, media_type="video/mp4", modified_at=AT)

numbers = st.integers(0, 60)
specs = st.one_of(
    st.tuples(numbers, numbers).filter(lambda one: one[0] <= one[1]).map(lambda one: (f"{one[0]}-{one[1]}", one)),
    numbers.map(lambda first: (f"{first}-", (first, None))),
    numbers.map(lambda length: (f"-{length}", (None, length))),
)


def named(spec: tuple[int | None, int | None], size: int) -> set[int]:
    """The bytes that one part of the header names, one by one."""
    match spec:
        case (None, int(length)):
            return {byte for byte in range(size) if byte >= size - length}
        case (int(first), None):
            return {byte for byte in range(size) if byte >= first}
        case (int(first), int(last)):
            return {byte for byte in range(size) if first <= byte <= last}
    raise AssertionError(spec)


@given(st.lists(specs, min_size=1, max_size=8), st.integers(1, 50), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_exactly_the_bytes_that_are_named_are_sent_and_each_of_them_once(wanted, size, comma):
    spans = parse("bytes=" + comma.join(text for text, _ in wanted), size)
    model = set().union(*(named(spec, size) for _, spec in wanted))

    assert spans is not None
    sent = [byte for span in spans for byte in range(span.first, span.last + 1)]
    assert len(sent) == len(set(sent)) <= size
    assert set(sent) == model


@given(st.lists(specs, min_size=1, max_size=8), st.integers(1, 50))
def test_spans_come_in_the_order_in_which_they_were_asked_for(wanted, size):
    spans = parse("bytes=" + ",".join(text for text, _ in wanted), size)
    sets = [bytes_of for _, spec in wanted if (bytes_of := named(spec, size))]
    first_asked = [min(i for i, one in enumerate(sets) if one & set(range(s.first, s.last + 1))) for s in sure(spans)]

    assert first_asked == sorted(first_asked)


def test_the_largest_number_that_a_client_may_have_is_one_beyond_the_end():
    assert parse(f"bytes=2-{2**64 - 1}", 10) == (Span(2, 9),)
    assert parse(f"bytes=-{2**64 - 1}", 10) == (Span(0, 9),)
    assert parse(f"bytes={2**64 - 1}-", 10) == ()


@given(st.text(max_size=30), st.integers(0, 1000))
def test_no_header_breaks_it(text, size):
    for header in (text, f"bytes={text}"):
        for span in parse(header, size) or ():
            assert 0 <= span.first <= span.last < size


@pytest.mark.parametrize(
    "header", ["bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "lines=1-2", "1-2", "bytes=0-1;2-3", "bytes=0-1,x"]
)
def test_a_malformed_header_is_as_if_it_were_not_there(header):
    assert parse(header, 100) is None


def test_what_lies_behind_the_end_can_not_be_satisfied_but_the_rest_can():
    assert parse("bytes=100-", 100) == parse("bytes=-0", 100) == ()
    assert parse("BYTES = 100-200, 98-300", 100) == (Span(98, 99),)


def test_a_header_with_very_many_parts_is_not_regarded():
    assert parse("bytes=" + ",".join(f"{n * 2}-{n * 2}" for n in range(SPECS_MOST + 1)), 1000) is None
    assert len(sure(parse("bytes=" + ",".join(f"{n * 2}-{n * 2}" for n in range(SPECS_MOST)), 1000))) == SPECS_MOST


def test_of_an_empty_file_every_range_is_the_whole():
    assert judge("GET", {"range": "bytes=0-"}, msgspec.structs.replace(FILE, size=0)) == Verdict(200)


WHOLE = Verdict(200, (Span(0, 99),))
PART = Verdict(206, (Span(0, 9),))
TAG = FILE.etag


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, WHOLE),
        ({"range": "bytes=0-9"}, PART),
        ({"range": "bytes=0-9", "if-range": TAG}, PART),
        ({"range": "bytes=0-9", "if-range": f"W/{TAG}"}, WHOLE),
        ({"range": "bytes=0-9", "if-range": '"other"'}, WHOLE),
        ({"range": "bytes=0-9", "if-range": DATE}, PART),
        ({"range": "bytes=0-9", "if-range": "Sat, 21 Nov 2026 10:00:01 GMT"}, WHOLE),
        ({"range": "bytes=0-9", "if-range": "yesterday"}, WHOLE),
        ({"range": "bytes=0-9", "if-range": f"{DATE[:-3]}+9999999999999999"}, WHOLE),
        ({"range": "bytes=0-9", "if-modified-since": f"{DATE[:-12]}{'9' * 20}:00:00 GMT"}, PART),
        ({"range": "bytes=100-"}, Verdict(416)),
        ({"range": "bytes=100-", "if-range": '"other"'}, WHOLE),
        ({"if-match": TAG}, WHOLE),
        ({"if-match": "*"}, WHOLE),
        ({"if-match": f'"x", {TAG}', "range": "bytes=0-9"}, PART),
        ({"if-match": f"W/{TAG}"}, Verdict(412)),
        ({"if-match": '"other"', "range": "bytes=0-9"}, Verdict(412)),
        ({"if-unmodified-since": DATE}, WHOLE),
        ({"if-unmodified-since": "Sat, 21 Nov 2026 09:59:59 GMT"}, Verdict(412)),
        ({"if-unmodified-since": "never"}, WHOLE),
        ({"if-none-match": TAG}, Verdict(304)),
        ({"if-none-match": f"W/{TAG}", "range": "bytes=0-9"}, Verdict(304)),
        ({"if-none-match": "*"}, Verdict(304)),
        ({"if-none-match": '"other"', "if-modified-since": DATE}, WHOLE),
        ({"if-modified-since": DATE}, Verdict(304)),
        ({"if-modified-since": "Sat, 21 Nov 2026 09:59:59 GMT"}, WHOLE),
    ],
)
def test_preconditions(headers, verdict):
    assert judge("GET", headers, FILE) == verdict


def test_a_range_is_of_get_alone():
    assert judge("HEAD", {"range": "bytes=0-9"}, FILE) == WHOLE


@pytest.mark.parametrize(
    ("media_type", "safe"),
    [
        ("video/mp4", "video/mp4"),
        ("Video/MP4; codecs=x", "video/mp4"),
        ("application/zip", "application/zip"),
        ("application/vnd.rar", "application/vnd.rar"),
        ("text/html", OPAQUE),
        ("text/plain", OPAQUE),
        ("application/xhtml+xml", OPAQUE),
        ("image/svg+xml", OPAQUE),
        ("application/json", OPAQUE),
        ("application/javascript", OPAQUE),
        ("video/mp4\r\nx: y", OPAQUE),
        ("", OPAQUE),
    ],
)
def test_no_type_is_rendered_or_taken_for_an_error_page(media_type, safe):
    assert safe_type(media_type) == safe


@given(st.text())
def test_no_name_breaks_out_of_its_header(name):
    try:
        text = disposition(name)
    except UnicodeEncodeError:
        assert any(0xD800 <= ord(c) <= 0xDFFF for c in name)
    else:
        assert text.isascii()
        assert text.isprintable()
        assert text.count('"') == 2


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted), min_size=2, max_size=5))
def test_a_body_of_several_parts_is_as_long_as_it_is_said_to_be(pairs):
    spans = tuple(Span(*pair) for pair in pairs)
    content = bytes(range(100))
    parts = multipart(spans, FILE, "b" * 32)
    body = b"".join(h + content[s.first : s.last + 1] for h, s in zip(parts.heads, spans, strict=True)) + parts.tail

    assert len(body) == parts.length
    assert body.startswith(b"--" + b"b" * 32 + b"\r\n")
    assert body.count(b"\r\nContent-Range: bytes ") == len(spans)
