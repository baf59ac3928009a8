"""One exchange, and what a service can put into its answer."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import time
import tracemalloc
import zlib
from datetime import UTC, datetime

import brotli
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feeder import exchange
from feeder.exchange import ANSWER
from feeder.models import Outcome, Ping
from feeder.targets.base import REASON_LENGTH, Endpoint, Looking, Steps, answer_of, list_of, outcome_of, request

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DEEP = b"[" * ANSWER
MILLION = b"a" * 1_000_000


class Told(Endpoint):
    """A service whose outcome is what its status and body say."""

    kind: str = "told"

    def deliver(self, told: Ping, key: str) -> Steps:
        response = yield request("POST", "https://told.example/")
        answer_of(response), list_of(response)
        return outcome_of(response)

    def look(self, told: Ping, key: str, since: datetime, now: datetime) -> Looking:
        found = list_of((yield request("GET", "https://told.example/")))
        return Outcome(kind="retry") if found is None else Outcome(kind="delivered") if found else None


class Answering(httpx.AsyncBaseTransport):
    """A network on which every request gets the same answer, in raw bytes."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self.status, self.body = status, body
        self.headers = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        self.asked: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, headers=self.headers, stream=Raw(self.body))


class Raw(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self.body = body

    async def __aiter__(self):
        for start in range(0, len(self.body), 16_384):
            yield self.body[start : start + 16_384]


def told(status: int, body: bytes, **headers: str) -> Outcome:
    way = Answering(status, body, **headers)
    return asyncio.run(exchange.tell(way, Told(), Ping(title="", url=""), "key", lambda: NOW))


def looked(body: bytes, **headers: str) -> Outcome | None:
    way = Answering(200, body, **headers)
    return asyncio.run(exchange.look(way, Told(), Ping(title="", url=""), "key", lambda: NOW, since=NOW))


def gzipped(plain: bytes) -> bytes:
    return gzip.compress(plain, mtime=0)  # the same bytes in every process that collects these tests


def raw_deflate(plain: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(plain) + packer.flush()


def test_an_answer_is_asked_for_as_it_is():
    way = Answering(200, b"ok")

    asyncio.run(exchange.tell(way, Told(), Ping(title="", url=""), "key", lambda: NOW))

    assert [each.headers["accept-encoding"] for each in way.asked] == ["identity"]


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzipped(b"busy")),
        ("GZip ", gzipped(b"busy")),
        ("x-gzip", gzipped(b"busy")),
        ("deflate", zlib.compress(b"busy")),
        ("deflate", raw_deflate(b"busy")),
        ("identity", b"busy"),
        ("", b"busy"),
    ],
)
def test_an_answer_that_is_compressed_all_the_same_is_read(coding, packed):
    assert told(503, packed, content_encoding=coding) == Outcome(kind="retry", reason="503 busy")


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("br", brotli.compress(b"busy")),
        ("zstd", b"busy"),
        ("gzip, gzip", gzipped(gzipped(b"busy"))),
        ("gzip", b"busy"),
        ("deflate", b"\xff\xff\xff"),
        ("gzip", b""),
        ("\xe9", b"busy"),
    ],
)
@pytest.mark.parametrize(("status", "kind"), [(200, "delivered"), (410, "gone"), (422, "rejected"), (503, "retry")])
def test_of_an_answer_that_nobody_can_read_the_status_speaks(coding, packed, status, kind):
    assert told(status, packed, content_encoding=coding) == Outcome(kind=kind, reason=str(status))


def test_of_an_answer_that_is_cut_off_in_the_middle_of_its_coding_the_beginning_is_read():
    packed = gzipped(" ".join(map(str, range(2_000))).encode())

    assert told(503, packed[: len(packed) // 2], content_encoding="gzip").reason.startswith("503 0 1 2 3 4")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzipped(MILLION * 100), {"content_encoding": "gzip"}),
        (zlib.compress(MILLION * 20), {"content_encoding": "deflate"}),
        (brotli.compress(MILLION * 20, quality=1), {"content_encoding": "br"}),
        (gzipped(gzipped(MILLION * 20)), {"content_encoding": "gzip, gzip"}),
        (bz2.compress(MILLION * 20), {"content_type": "text/plain; charset=bz2"}),
        (zlib.compress(MILLION * 20), {"content_type": "text/plain; charset=zlib"}),
        (b"-" + b"a" * ANSWER, {"content_type": "text/plain; charset=punycode"}),
        (b"xn--" + b"a." * ANSWER, {"content_type": "text/plain; charset=idna"}),
        (DEEP, {"content_type": "application/json"}),
        (b'{"a":' * 3_000, {}),
        (b"9" * ANSWER, {}),
        (b"&#" + b"9" * ANSWER, {}),
        (b"&" * ANSWER, {}),
        (b"\xcc\x81" * ANSWER, {}),
        (b" " * ANSWER, {}),
        (b"<" * ANSWER, {}),
        (b"\x00" * ANSWER, {}),
        (MILLION * 10, {}),
    ],
    ids=lambda value: str(value)[:24],
)
@pytest.mark.parametrize(("status", "kind"), [(200, "delivered"), (429, "retry")])
def test_no_answer_costs_more_than_a_plain_one_nor_says_more_than_its_status(body, headers, status, kind):
    told(
        status, b"warm " * 1_000
    )  # what is compiled when something is shortened for the first time is no cost of an answer
    tracemalloc.start()
    started = time.process_time()
    outcome = told(status, body, **headers)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert outcome.kind == kind
    assert len(outcome.reason) < 400
    assert peak < 1_000_000
    assert seconds < 1  # a bomb takes ten, and a plain answer a hundredth


def test_what_is_looked_through_may_be_longer_and_says_nothing_where_it_is_cut_off_or_is_no_list():
    statuses = json.dumps([{"content": "x" * 3_000}] * 40).encode()
    nothing = (b"", b"[", b"{}", b"[[" * ANSWER, statuses[:-1], statuses * 10, b"9" * ANSWER)

    assert looked(statuses) == looked(gzipped(statuses), content_encoding="gzip") == Outcome(kind="delivered")
    assert looked(b"[]") is None
    assert {looked(each).kind for each in nothing} == {"retry"}
    assert looked(brotli.compress(b"[]"), content_encoding="br") == Outcome(kind="retry")


@pytest.mark.parametrize(
    ("charset", "body"),
    [("iso-8859-1", "für"), ("Windows-1252", "für"), ("UTF-8", "für"), ("nonsense", "für"), ("base64", "für")],
)
def test_words_are_read_in_the_charsets_of_the_web_and_else_as_utf_8(charset, body):
    known = {"iso-8859-1", "windows-1252"}
    encoded = body.encode(charset if charset.lower() in known else "utf-8")

    assert told(422, encoded, content_type=f"text/plain; charset={charset}").reason == "422 für"


@given(
    st.sampled_from([200, 302, 410, 422, 429, 500, 502, 503]),
    st.one_of(st.binary(max_size=2_000), st.text(max_size=500).map(str.encode)),
    st.dictionaries(
        st.sampled_from(["content_encoding", "content_type", "retry_after", "x_ratelimit_reset"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    ),
)
@example(429, json.dumps({"retry_after": 10**400}).encode(), {})
def test_an_outcome_goes_by_the_status_whatever_stands_around_it(status, body, headers):
    kinds = {200: "delivered", 302: "rejected", 410: "gone", 422: "rejected", 502: "unknown"}

    assert told(status, body, **headers).kind == kinds.get(status, "retry")


def test_what_a_library_says_of_a_failure_is_a_line_of_bearable_length():
    """aiohttp puts the whole head of an answer that it cannot read into what it says."""

    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            raise httpx.RemoteProtocolError(f"400, message:\n  {chr(0)}" + "\\x80" * 1_000_000)

    outcome = asyncio.run(exchange.tell(Failing(), Told(), Ping(title="", url=""), "key", lambda: NOW))

    assert outcome.kind == "unknown"
    assert outcome.reason.startswith("RemoteProtocolError: 400, message: ")
    assert len(outcome.reason) <= REASON_LENGTH
    assert outcome.reason.isprintable()
