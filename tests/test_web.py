"""The web server as a reader's client meets it: real HTTP on loopback."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import brotli
import httpx
import pytest
from lxml import etree
from msgspec.structs import replace
from structlog.testing import capture_logs

from feeder import server, web
from feeder.errors import SettingsError
from feeder.feeds import publish
from feeder.models import Document, Results, Site
from feeder.records import to_text
from feeder.store import Store, documents, open_store, search
from feeder.store.followed import FollowedStore
from tests.articles import article
from tests.house import House
from tests.test_negotiation import CHROME

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SITE = Site(title="Feeder", base_url="https://feeds.example.org", language="en", id_authority="example.org,2026")
RSS = "application/rss+xml; charset=utf-8"
FEED = b"<rss>one</rss>" * 20


@dataclass
class Shop:
    """A store with documents, and a server on it."""

    store: Store
    site: Site = SITE
    time: datetime = NOW + timedelta(days=1)
    searcher: Any = None

    def put(self, path: str, body: bytes, content_type: str = RSS, now: datetime = NOW) -> None:
        document = Document(path=path, content_type=content_type, body=body)
        with self.store.write() as connection:
            modified = documents.next_modified(connection, path, now)
            documents.put(connection, document, publish.packed(body), "ai", modified)

    def remove(self, path: str, moved_to: str = "") -> None:
        with self.store.write() as connection:
            documents.remove(connection, path, moved_to, NOW)

    @contextmanager
    def open(self):
        """A client that says nothing of encodings."""
        listener = server.listen("127.0.0.1", 0)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started, loops = threading.Event(), []

        async def serve():
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            started.set()
            app = web.application(self.store, self.site, lambda: self.time, searcher=self.searcher)
            await server.serve(app, listener, stop)

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        started.wait()
        with httpx.Client(base_url=address, trust_env=False, timeout=60, headers={"accept-encoding": ""}) as client:
            yield client
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture
def shop(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    shop = Shop(store)
    shop.put("feeds/ai.rss", FEED)
    shop.put("feeds/ai.atom", b"<feed/>", "application/atom+xml; charset=utf-8")
    shop.put("topics/ai/index.html", b"<h1>AI</h1>", "text/html; charset=utf-8")
    shop.put("index.html", b"<h1>Feeds</h1>", "text/html; charset=utf-8")
    yield shop
    store.close()


@pytest.fixture
def client(shop):
    with shop.open() as client:
        yield client


def test_a_feed_is_served_with_its_type_and_validators(client):
    answer = client.get("/feeds/ai.rss")

    assert (answer.status_code, answer.content) == (200, FEED)
    assert answer.headers["content-type"] == RSS
    assert answer.headers["last-modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"
    assert answer.headers["etag"] == f'"{documents.digest(FEED)}"'
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "server" not in answer.headers


def test_head_answers_like_get_without_the_body(client):
    for path in ("/feeds/ai.rss", "/", "/feeds/none.rss", "/feeds/ai", "/healthz", "/search?q=x"):
        get, head = client.get(path), client.head(path)

        def stable(answer):
            return {name: value for name, value in answer.headers.items() if name != "date"}

        assert (head.status_code, head.content, stable(head)) == (get.status_code, b"", stable(get))


# --- what a client has already ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", ["{}", "W/{}", '"other", {}', '"a,b" , W/{}', "*"])
def test_a_client_that_has_the_bytes_gets_304(client, tags):
    tag = client.get("/feeds/ai.rss").headers["etag"]

    answer = client.get("/feeds/ai.rss", headers={"if-none-match": tags.format(tag)})

    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("Thu, 01 Jan 2026 12:00:00 GMT", 304),
        ("Thu, 01 Jan 2026 12:00:01 GMT", 304),
        ("Thu, 01 Jan 2026 11:59:59 GMT", 200),
        ("yesterday", 200),
    ],
)
def test_if_modified_since_is_compared_with_the_documents_time(client, since, status):
    assert client.get("/feeds/ai.rss", headers={"if-modified-since": since}).status_code == status


def test_if_none_match_goes_before_if_modified_since(client):
    headers = {"if-none-match": '"other"', "if-modified-since": "Thu, 01 Jan 2026 12:00:00 GMT"}

    assert client.get("/feeds/ai.rss", headers=headers).status_code == 200


def test_a_304_says_what_a_200_would_have_said(client):
    full = client.get("/feeds/ai.rss")
    answer = client.get("/feeds/ai.rss", headers={"if-none-match": full.headers["etag"]})

    for name in ("etag", "last-modified", "cache-control", "vary", "access-control-allow-origin"):
        assert answer.headers[name] == full.headers[name]
    assert "content-length" not in answer.headers


def test_what_is_published_is_served_at_once_with_another_tag_and_a_later_time(client, shop):
    before = client.get("/feeds/ai.rss")
    shop.put("feeds/ai.rss", b"<rss>two</rss>", now=NOW - timedelta(hours=1))

    after = client.get("/feeds/ai.rss", headers={"if-none-match": before.headers["etag"]})

    assert (after.status_code, after.content) == (200, b"<rss>two</rss>")
    assert after.headers["last-modified"] == "Thu, 01 Jan 2026 12:00:01 GMT"


def test_a_document_that_changed_several_times_in_a_second_names_no_time_in_the_future(client, shop):
    shop.time = NOW
    for number in range(3):
        shop.put("feeds/ai.rss", b"<rss>%d</rss>" % number)

    assert "last-modified" not in client.get("/feeds/ai.rss").headers

    shop.time = NOW + timedelta(seconds=3)
    assert client.get("/feeds/ai.rss").headers["last-modified"] == "Thu, 01 Jan 2026 12:00:03 GMT"


def test_a_request_for_a_part_gets_the_whole_and_never_a_delta(client):
    headers = {"range": "bytes=0-3", "a-im": "feed", "if-none-match": '"older"'}
    answer = client.get("/feeds/ai.rss", headers=headers)

    assert (answer.status_code, answer.content) == (200, FEED)


# --- encodings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "encoding", "suffix", "unpack"),
    [
        ("gzip, deflate", "gzip", "-gz", gzip.decompress),
        ("gzip, deflate, br", "br", "-br", brotli.decompress),
        ("identity", None, "", bytes),
    ],
)
def test_a_body_goes_out_in_the_encoding_that_the_client_takes(client, accepted, encoding, suffix, unpack):
    with client.stream("GET", "/feeds/ai.rss", headers={"accept-encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())

    assert unpack(raw) == FEED
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["etag"] == f'"{documents.digest(FEED)}{suffix}"'
    assert answer.headers["vary"] == "Accept-Encoding, Sec-Fetch-Dest"
    assert int(answer.headers["content-length"]) == len(raw)
    assert encoding is None or len(raw) < len(FEED)


def test_the_tag_of_one_encoding_is_as_good_as_that_of_another(client):
    packed = client.get("/feeds/ai.rss", headers={"accept-encoding": "gzip"}).headers["etag"]

    answer = client.get("/feeds/ai.rss", headers={"if-none-match": packed, "accept-encoding": "br"})

    assert answer.status_code == 304


def test_the_gzip_that_is_served_is_the_one_that_was_published(client, shop):
    with client.stream("GET", "/feeds/ai.rss", headers={"accept-encoding": "gzip"}) as answer:
        assert b"".join(answer.iter_raw()) == publish.packed(FEED)


# --- pages and feeds at one address ----------------------------------------------------------------------------------------


def test_the_root_is_the_page_of_all_feeds(client):
    answer = client.get("/")

    assert (answer.text, answer.headers["content-type"]) == ("<h1>Feeds</h1>", "text/html; charset=utf-8")


def test_a_page_lets_nothing_run(client):
    for path in ("/", "/topics/ai/", "/search?q=x", "/none"):
        policy = client.get(path).headers["content-security-policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert "script-src" not in rules
        assert rules["style-src"] == "'self'"
        assert rules["frame-ancestors"] == "'none'"
        assert "unsafe" not in policy


def test_pages_without_pictures_load_nothing_from_other_hosts(shop):
    shop.site = replace(SITE, images=False)
    with shop.open() as client:
        assert "img-src 'self';" in client.get("/").headers["content-security-policy"]


@pytest.mark.parametrize(
    ("accept", "body", "location"),
    [
        (CHROME, b"<h1>AI</h1>", "/topics/ai/"),
        ("*/*", FEED, "/feeds/ai.rss"),
        ("application/atom+xml", b"<feed/>", "/feeds/ai.atom"),
    ],
)
def test_an_address_without_a_format_is_a_page_to_people_and_a_feed_to_programs(client, accept, body, location):
    answer = client.get("/feeds/ai", headers={"accept": accept})

    assert (answer.status_code, answer.content, answer.headers["content-location"]) == (200, body, location)
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


def test_a_person_who_opens_a_feed_in_a_browser_gets_its_page(client):
    answer = client.get("/feeds/ai.rss", headers={"accept": CHROME, "sec-fetch-dest": "document"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/topics/ai/#subscribe")
    assert answer.headers["vary"] == "Sec-Fetch-Dest"


def test_a_script_in_a_browser_gets_the_feed(client):
    assert client.get("/feeds/ai.rss", headers={"sec-fetch-dest": "empty"}).content == FEED


def test_a_feed_without_a_page_is_shown_as_it_is(client, shop):
    shop.remove("topics/ai/index.html")

    assert client.get("/feeds/ai.rss", headers={"sec-fetch-dest": "document"}).content == FEED
    assert client.get("/feeds/ai", headers={"accept": CHROME}).content == FEED


def test_a_page_without_its_slash_answers_with_the_right_address(client):
    answer = client.get("/topics/ai")

    assert (answer.status_code, answer.headers["location"]) == (308, "/topics/ai/")


def test_a_base_url_with_a_path_is_served_with_it_and_without(shop):
    shop.site = replace(SITE, base_url="https://example.org/news")
    with shop.open() as client:
        assert client.get("/news/feeds/ai.rss").content == FEED
        assert client.get("/feeds/ai.rss").content == FEED
        assert client.get("/news/").content == client.get("/news").content == client.get("/").content
        assert client.get("/topics/ai").headers["location"] == "/news/topics/ai/"
        assert client.get("/newsroom/").status_code == 404


# --- hubs --------------------------------------------------------------------------------------------------------------------


def test_a_feed_names_itself_and_its_hubs_in_its_headers(shop):
    shop.site = replace(SITE, hubs=("https://hub.example/", "https://other.example/hub"))
    with shop.open() as client:
        links = client.get("/feeds/ai.rss").headers["link"]
        assert client.head("/feeds/ai.rss").headers["link"] == links
        assert "link" not in client.get("/").headers

    assert links == (
        '<https://feeds.example.org/feeds/ai.rss>; rel="self", '
        '<https://hub.example/>; rel="hub", <https://other.example/hub>; rel="hub"'
    )


# --- what is not there -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/feeds/none.rss",
        "/feeds/none",
        "/feeds/",
        "/feeds",
        "/feeds/../config/feeder.toml",
        "/feeds/..%2f..%2fetc%2fpasswd",
        "/feeds/%00",
        "/feeds/%ff",
        "/feeds/ai.rss/",
        "//feeds/ai.rss",
        "/topics/",
        "/healthz/",
        "/feeds/ai/archive/x.rss",
    ],
)
def test_what_is_no_document_is_not_found_and_a_plain_page_says_so(client, path):
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert etree.HTML(answer.text).xpath("//h1/text()") == ["Not found"]


def test_a_feed_that_was_taken_away_is_gone(client, shop):
    for path in ("feeds/ai.rss", "feeds/ai.atom", "topics/ai/index.html"):
        shop.remove(path)

    for path in ("/feeds/ai.rss", "/feeds/ai.atom", "/topics/ai/", "/topics/ai", "/feeds/ai"):
        answer = client.get(path)
        assert (answer.status_code, etree.HTML(answer.text).xpath("//h1/text()")) == (410, ["No longer here"])


def test_a_feed_that_has_moved_answers_with_its_new_address(client, shop):
    for old, new in [("a", "b"), ("b", "ai")]:
        shop.remove(f"feeds/{old}.rss", f"feeds/{new}.rss")
        shop.remove(f"topics/{old}/index.html", f"topics/{new}/index.html")

    for path, new in [
        ("/feeds/a.rss", "/feeds/ai.rss"),
        ("/feeds/b.rss", "/feeds/ai.rss"),
        ("/feeds/a", "/feeds/ai"),
        ("/topics/a/", "/topics/ai/"),
        ("/topics/a", "/topics/a/"),
    ]:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (308, new)


def test_a_feed_that_has_moved_to_one_that_is_gone_or_in_a_circle_is_gone(client, shop):
    shop.remove("feeds/a.rss", "feeds/b.rss")
    shop.remove("feeds/b.rss", "feeds/a.rss")
    shop.remove("feeds/c.rss", "feeds/none.rss")

    assert [client.get(f"/feeds/{name}.rss").status_code for name in "abc"] == [410, 410, 410]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_reading_is_allowed(client, method):
    answer = client.request(method, "/feeds/ai.rss", content=b"x")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert etree.HTML(answer.text).xpath("//h1/text()") == ["Not possible"]


def test_a_script_elsewhere_may_ask_with_the_tag_that_it_has(client):
    answer = client.options("/feeds/ai.rss", headers={"origin": "https://x.example"})

    assert answer.status_code == 204
    assert "If-None-Match" in answer.headers["access-control-allow-headers"]


def test_health_says_whether_the_store_can_be_read(client, shop):
    assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "ok"})

    with shop.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE documents RENAME TO elsewhere")
    answer = client.get("/healthz")

    assert (answer.status_code, answer.json()["status"]) == (503, "failing")
    assert answer.json()["reason"] == "no such table: documents"  # SQLite's words, which hold no path
    page = client.get("/feeds/ai.rss")
    assert (page.status_code, page.headers["cache-control"]) == (503, "no-store")
    assert "Traceback" not in page.text


def test_a_port_in_use_is_named_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SettingsError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use.*FEEDER_PORT"
        ):
            server.listen("127.0.0.1", port)


# --- the search, and the public folder ----------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/library.db")
    house = House(tmp_path, store)
    for name, title in [
        ("one", "Äpfel & Birnen in Zürich"),
        ("two", "100 % of apples"),
        ("three", "<script>alert(1)</script> apples"),
        ("four", "Apples of the future"),
    ]:
        date = "2999-01-01T10:00:00Z" if name == "four" else "2025-06-01T10:00:00Z"
        house.write(name, title=f'"{title}"', publishedDateTime=date)
    house.run()
    yield house
    store.close()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("zurich apfel", ["Äpfel & Birnen in Zürich"]),
        ("ÄPFEL", ["Äpfel & Birnen in Zürich"]),
        ("APPLES", ["100 % of apples", "<script>alert(1)</script> apples"]),
        ("apples script", ["<script>alert(1)</script> apples"]),
        ("100 %", ["100 % of apples"]),
        ("%", []),
        ("apple", []),
        ("apples OR birnen", []),
        ("'; DROP TABLE articles; --", []),
        ("", []),
    ],
)
def test_a_search_finds_the_published_articles_that_hold_all_words(library, asked, found):
    with Shop(library.store, time=library.time).open() as client:
        page = client.get("/search", params={"q": asked})
    tree = etree.HTML(page.text)

    assert page.status_code == 200
    assert sorted(tree.xpath("//main//article/h2/a/text()")) == sorted(found)
    assert tree.xpath("//input[@name='q']/@value") == [asked]
    assert not tree.xpath("//script")


def test_a_search_for_nothing_or_for_much_is_a_page(library):
    with Shop(library.store).open() as client:
        for query in (
            "",
            "?q=",
            "?q=%00%ff",
            "?q=" + "x" * 5000,
            "?q=a&q=b",
            "?x=1",
            "?page=",
            "?q=a&page=1",
            "?q=%F0%9F%8E%89",
        ):
            assert client.get(f"/search{query}").status_code == 200


@pytest.fixture
def shelf(tmp_path):
    """45 articles about tea, the newest first in the order of their numbers."""
    store = open_store(f"sqlite:///{tmp_path}/shelf.db")
    house = House(tmp_path, store)
    for number in range(45):
        house.write(
            f"{number:02}", title=f'"Tea & more {number:02}"', publishedDateTime=f"2025-06-01T10:{59 - number}:00Z"
        )
    house.run()
    yield house
    store.close()


def test_a_search_has_pages_that_name_their_neighbours_and_hold_each_article_once(shelf):
    shown, links, said = [], [], []
    with Shop(shelf.store, time=shelf.time).open() as client:
        at = "/search?q=tea+%26+more"
        while at:
            tree = etree.HTML(client.get(at).text)
            shown += tree.xpath("//main//article/h2/a/text()")
            said.append(" ".join(tree.xpath("//header[@class='title']/p/text()")))
            links.append(tree.xpath("//nav[@class='pages']/a/@rel"))
            assert tree.xpath("//meta[@name='robots']/@content") == ["noindex"]
            at = next(iter(tree.xpath("//nav[@class='pages']/a[@rel='next']/@href")), None)
        back = tree.xpath("//nav[@class='pages']/a[@rel='prev']/@href")

    assert shown == [f"Tea & more {number:02}" for number in range(45)]
    assert links == [["next"], ["prev", "next"], ["prev"]]
    assert said == [f"45 articles, the best matches first. Page {page} of 3." for page in (1, 2, 3)]
    assert back == ["/search?q=tea%20%26%20more&page=2"]


@pytest.mark.parametrize("page", ["0", "4", "-1", "1.0", "x", "١", "999999", "1" * 5000, "1;--", "%00", "+2"])
def test_a_page_that_a_search_does_not_have_is_not_found(shelf, page):
    with Shop(shelf.store, time=shelf.time).open() as client:
        answer = client.get("/search", params={"q": "tea", "page": page})

    assert (answer.status_code, "This search has no such page." in answer.text) == (404, True)


class Hanging:
    """A searcher that finds nothing until it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Semaphore(0), threading.Event()
        self.number = 0

    def find(self, terms, page, now):
        self.number += 1
        self.asked.release()
        self.go.wait()
        return Results(page=page)


def test_feeds_are_served_while_searches_hang_and_what_is_more_than_two_is_refused_in_time(shop):
    shop.searcher = Hanging()
    with shop.open() as client, ThreadPoolExecutor(8) as asking:
        hanging = [asking.submit(client.get, f"/search?q={number}") for number in range(2)]
        for _ in hanging:
            shop.searcher.asked.acquire()
        waiting = [asking.submit(client.get, f"/search?q=more{number}") for number in range(6)]
        for _ in range(60):
            assert client.get("/feeds/ai.rss").content == FEED
        refused = [each.result() for each in waiting]
        shop.searcher.go.set()
        found = [each.result() for each in hanging]
        after = client.get("/search?q=after")

    assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(503, "2")}
    assert {answer.headers["cache-control"] for answer in refused} == {"no-store"}
    assert [answer.status_code for answer in (*found, after)] == [200, 200, 200]
    assert shop.searcher.number == 3


def test_a_search_that_takes_too_long_is_broken_off_and_says_so(shop):
    clock = itertools.count(step=2)
    with shop.store.write() as connection:
        words = " ".join(f"w{number}" for number in range(100))
        record = to_text(article(title=f"tea {words}"))
        for start in range(0, 2_000, 500):  # fewer than those that wait
            ids = [f"{number:06x}{0:026x}" for number in range(start, start + 500)]
            search.add(connection, [search.Entry(id=key, published=NOW, record=record) for key in ids])
    shop.searcher = search.Searcher(shop.store.reader(1), clock=lambda: next(clock))
    with shop.open() as client:
        answer = client.get("/search?q=tea")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "takes too long" in answer.text


def test_the_public_folder_holds_the_same_documents_for_any_static_server(library):
    files = {path.relative_to(library.public).as_posix(): path.read_bytes() for path in library.public.rglob("[!.]*.*")}
    plain = {path: body for path, body in files.items() if not path.endswith(".gz")}

    with Shop(library.store, site=library.site).open() as client:
        for path, body in plain.items():
            assert client.get(f"/{path.removesuffix('index.html')}").content == body
            assert gzip.decompress(files[f"{path}.gz"]) == body
    assert library.paths() == sorted(plain)
    assert len(files) == 2 * len(plain)


def test_a_database_that_cannot_be_read_is_said_to_readers_without_its_path_and_to_the_operator_once(tmp_path):
    store = FollowedStore(f"sqlite:///{tmp_path}/secret-place/feeder.db")
    with capture_logs() as logs, Shop(store).open() as client:
        for path in ("feeds/all.rss", "search?q=a", "", "healthz", "topics/ai/"):
            answer = client.get(f"/{path}")
            assert answer.status_code == 503
            assert "secret-place" not in answer.text
    store.close()

    assert [each["event"] for each in logs] == ["web.failing"]
    assert "secret-place/feeder.db: there is no database yet" in logs[0]["reason"]
