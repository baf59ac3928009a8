"""Whatever is asked of the web server, it answers, and never with an error of its own: schemathesis over its routes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st

from feeder.store import open_store
from tests.house import House
from tests.test_web import Shop

TEXT = {"type": "string"}
ROUTES = {
    "/": [],
    "/{path}": ["path"],
    "/feeds/{name}": ["name"],
    "/feeds/{name}.{extension}": ["name", "extension"],
    "/feeds/{name}/archive/{number}.{extension}": ["name", "number", "extension"],
    "/topics/{name}/": ["name"],
    "/topics/{name}/archive/{number}/": ["name", "number"],
    "/search": [],
    "/healthz": [],
    "/readyz": [],
}
HEADERS = ["Accept", "Accept-Encoding", "If-None-Match", "If-Modified-Since", "Sec-Fetch-Dest", "Range", "Origin"]


def operation(path_parameters: list[str], *, search: bool) -> dict[str, object]:
    told = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in path_parameters]
    told += [{"name": name, "in": "header", "schema": TEXT} for name in HEADERS]
    if search:
        told += [{"name": name, "in": "query", "schema": TEXT} for name in ("q", "page")]
    return {"parameters": told, "responses": {"default": {"description": "an answer"}}}


SCHEMA = schemathesis.openapi.from_dict(
    {
        "openapi": "3.1.0",
        "info": {"title": "feeder", "version": "1"},
        "paths": {
            path: {method: operation(names, search=path == "/search") for method in ("get", "head", "options", "post")}
            for path, names in ROUTES.items()
        },
    }
)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("house")
    store = open_store(f"sqlite:///{folder}/feeder.db")
    house = House(folder, store)
    house.write("one")
    house.run()
    with Shop(store, site=house.site, time=datetime.now(UTC)).open() as client:
        yield str(client.base_url)
    store.close()


@pytest.mark.parametrize("path", sorted(ROUTES))
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_no_route_answers_with_an_error_of_its_own(address, path, method):
    @given(case=SCHEMA[path][method].as_strategy())
    @settings(max_examples=20)
    def ask(case):
        answer = case.call(base_url=address, timeout=60)
        assert answer.status_code < 500, (answer.status_code, answer.text)
        assert "Traceback" not in answer.text

    ask()


PIECES = st.sampled_from(
    [
        "..",
        "%2e%2e",
        "%2f",
        "/",
        "//",
        "\\",
        "%5c",
        "etc/passwd",
        "feeds",
        "ai.rss",
        "%00",
        "%0d%0aSet-Cookie:x=y",
        "%ff",
        ";",
        "?",
        "é",
    ]
)


@given(
    pieces=st.lists(PIECES, max_size=8), host=st.sampled_from(["evil.example", "evil.example:1", "a b", "", "x" * 300])
)
def test_no_path_leads_out_of_the_published_documents_and_no_host_into_an_answer(address, pieces, host):
    answer = httpx.get(f"{address}/{''.join(pieces)}", headers={"host": host}, trust_env=False, timeout=60)

    assert answer.status_code in (200, 303, 308, 400, 404)
    assert "root:" not in answer.text
    assert "set-cookie" not in answer.headers
    assert "evil.example" not in answer.text + str(answer.headers)
    if answer.status_code in (303, 308):
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith("//")
