"""The web server as a reader's client meets it: real HTTP on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from feeder import web
from feeder.errors import SettingsError
from feeder.models import Document
from feeder.store import documents, open_store

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FEED = Document(path="feeds/ai.rss", content_type="application/rss+xml; charset=utf-8", body=b"<rss>one</rss>")


def put(store, document, now=NOW):
    with store.write() as connection:
        documents.put(connection, document, "ai", now)


@pytest.fixture
def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    put(store, FEED)
    put(store, Document(path="index.html", content_type="text/html; charset=utf-8", body=b"<h1>Feeds</h1>"))
    yield store
    store.close()


@pytest.fixture
def client(store):
    listener = web.listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    started, loops = threading.Event(), []

    async def serve():
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        started.set()
        await web.serve(web.application(store), listener, stop)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        yield client
    loop, stop = loops[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()


def test_a_feed_is_served_with_its_type_and_validators(client):
    answer = client.get("/feeds/ai.rss")

    assert (answer.status_code, answer.content) == (200, b"<rss>one</rss>")
    assert answer.headers["content-type"] == "application/rss+xml; charset=utf-8"
    assert answer.headers["last-modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "server" not in answer.headers


def test_head_answers_like_get_without_the_body(client):
    get, head = client.get("/feeds/ai.rss"), client.head("/feeds/ai.rss")

    def stable(answer):
        return {name: value for name, value in answer.headers.items() if name != "date"}

    assert (head.status_code, head.content, stable(head)) == (200, b"", stable(get))


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


def test_what_is_published_is_served_at_once_with_another_tag_and_a_later_time(client, store):
    before = client.get("/feeds/ai.rss")
    put(
        store,
        Document(path=FEED.path, content_type=FEED.content_type, body=b"<rss>two</rss>"),
        NOW - timedelta(hours=1),
    )

    after = client.get("/feeds/ai.rss", headers={"if-none-match": before.headers["etag"]})

    assert (after.status_code, after.content) == (200, b"<rss>two</rss>")
    assert after.headers["last-modified"] == "Thu, 01 Jan 2026 12:00:01 GMT"


def test_the_root_is_the_page_of_all_feeds(client):
    answer = client.get("/")

    assert (answer.text, answer.headers["content-type"]) == ("<h1>Feeds</h1>", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/feeds/none.rss",
        "/feeds/",
        "/feeds",
        "/feeds/../config/feeder.toml",
        "/feeds/..%2f..%2fetc%2fpasswd",
        "/feeds/%00",
        "/index.html",
    ],
)
def test_what_is_no_document_is_not_found(client, path):
    assert client.get(path).status_code == 404


def test_only_reading_is_allowed(client):
    assert client.post("/feeds/ai.rss", content=b"x").status_code == 405


def test_health_says_whether_the_store_can_be_read(client, store, tmp_path):
    assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "ok"})

    with store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE documents RENAME TO elsewhere")
    answer = client.get("/healthz")

    assert (answer.status_code, answer.json()["status"]) == (503, "failing")
    assert "documents" in answer.json()["reason"]


def test_a_port_in_use_is_named_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SettingsError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use.*FEEDER_PORT"
        ):
            web.listen("127.0.0.1", port)
