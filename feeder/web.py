"""Feeds, pages and health over HTTP. The only home of Starlette.

Documents come from the store, so a web process beside the worker serves what the worker published the moment it is committed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from threading import Lock
from urllib.parse import quote, urlsplit

import brotli
import structlog
from msgspec import Struct, field
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feeder import negotiation
from feeder.errors import Busy, FeederError, SearchTooLong, public_reason
from feeder.feeds import content, pages, publish
from feeder.limiter import Limiter
from feeder.models import FORMATS, Site
from feeder.searches import Searches
from feeder.store import Store, documents
from feeder.store.search import Searcher

_READING = ["GET", "HEAD"]
_SEARCHES = 2  # at once, a thread and a connection each: feeds wait for none
_PATIENCE = 2.0  # seconds that a further one waits for its turn
_MEMORY = 32_000_000  # bytes of documents that are kept at hand
_HOPS = 10  # how often a document may have moved
_BROTLI = 5  # quality: smaller than gzip, and as quick
_SUFFIXES = {"gzip": "-gz", "br": "-br", "": ""}  # an entity tag names the bytes that go over the wire

log = structlog.get_logger()

_EVERYWHERE = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "ETag, Link",
    "x-content-type-options": "nosniff",
}
_PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD",
    "access-control-allow-headers": "If-None-Match, If-Modified-Since",
    "access-control-max-age": "86400",
    "allow": "GET, HEAD, OPTIONS",
}


def application(
    store: Store,
    site: Site,
    now: Callable[[], datetime],
    not_ready: Callable[[], str] = lambda: "",
    searcher: Searcher | None = None,
) -> Starlette:
    """The web application over `store`. `not_ready` says why the worker's work stands still; `searcher` is a test's own."""
    served = _Served(store, site, now, not_ready, searcher or Searcher(store.reader(_SEARCHES)))
    return Starlette(
        routes=[
            Route("/healthz", served.health, methods=_READING),
            Route("/readyz", served.ready, methods=_READING),
            Route("/{path:path}", served.answer, methods=[*_READING, "OPTIONS"]),
        ],
        exception_handlers={
            405: served.not_allowed,
            SQLAlchemyError: served.unavailable,
            FeederError: served.unavailable,
        },
    )


class _Body(Struct, frozen=True, kw_only=True):
    """What is sent: the bytes in one encoding or another."""

    content_type: str
    digest: str
    gzip: bytes
    modified: datetime | None = None
    _others: dict[str, bytes] = field(default_factory=dict)

    def encoded(self, encoding: str) -> bytes:
        """The bytes in an encoding of HTTP; the empty one: as they are."""
        if encoding == "gzip":
            return self.gzip
        if encoding not in self._others:
            plain = publish.unpacked(self.gzip)
            self._others[encoding] = brotli.compress(plain, quality=_BROTLI) if encoding == "br" else plain
        return self._others[encoding]

    @property
    def size(self) -> int:
        """Bytes of memory that it takes up, or will."""
        return 8 * len(self.gzip)


class _Moved(Struct, frozen=True, kw_only=True):
    """Where something else than was asked for is: a path, with what it wants to be asked with."""

    to: str
    status: int = 308


class _Found(Struct, frozen=True, kw_only=True):
    """What there is at an address."""

    body: _Body
    path: str  # of the document
    vary: str = "Accept-Encoding"
    chosen: bool = False  # among several, by what the client takes


class _Served:
    """The answers to requests."""

    def __init__(
        self, store: Store, site: Site, now: Callable[[], datetime], not_ready: Callable[[], str], searcher: Searcher
    ) -> None:
        self._store, self._site, self._now, self._not_ready = store, site, now, not_ready
        self._searches = Searches(searcher=searcher, site=site, now=now)
        self._searching = Limiter("search", _SEARCHES, _PATIENCE)
        self._root = urlsplit(site.base_url).path
        self._policy = pages.policy(site)
        self._failing = ""  # why nothing can be read, as it was said in the log
        self._cache = f"public, max-age={site.max_age}"
        self._kept = _Kept(_MEMORY)

    async def health(self, _: Request) -> Response:
        """Whether this process can serve: 200, or 503 with the reason."""
        return await self._state(self._reads)

    async def ready(self, _: Request) -> Response:
        """Whether articles are published and told as well: 200, or 503 with the reason."""
        return await self._state(self._not_ready)

    def _reads(self) -> str:
        self._document(pages.INDEX)
        self._failing = ""
        return ""

    async def _state(self, find: Callable[[], str]) -> Response:
        try:
            reason = await run_in_threadpool(find)
        except (SQLAlchemyError, FeederError) as error:
            reason = public_reason(error)
            self._note(error)
        told = {"status": "failing", "reason": reason} if reason else {"status": "ok"}
        return JSONResponse(told, status_code=503 if reason else 200, headers={"cache-control": "no-store"})

    async def answer(self, request: Request) -> Response:
        """A document, a search, or a page that says why there is none."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={**_EVERYWHERE, **_PREFLIGHT})
        path = self._path(request)
        if path == "search":
            return await self._searching.run(lambda: self._search(request))
        return await run_in_threadpool(self._answer, request, path)

    def not_allowed(self, request: Request, _: Exception) -> Response:
        """405."""
        said = f"This address can be read; it takes no {request.method}."
        return self._page(request, 405, "Not possible", said, {"allow": _PREFLIGHT["allow"]})

    def unavailable(self, request: Request, error: Exception) -> Response:
        """503: nothing can be read, or a search is more than can be done just now."""
        said, seconds = "The headlines cannot be read just now; try again in a moment.", "10"
        if isinstance(error, Busy | SearchTooLong):
            said, seconds = str(error), "2"
        else:
            self._note(error)
        return self._page(request, 503, "Not available", said, {"retry-after": seconds, "cache-control": "no-store"})

    def _note(self, error: Exception) -> None:
        """Say in the log why nothing can be read, once for each reason; readers are told no more than that."""
        if (reason := str(getattr(error, "orig", None) or error)) != self._failing:
            self._failing = reason
            log.error("web.failing", reason=reason)

    # --- what there is at an address ----------------------------------------------------------------------------------

    def _path(self, request: Request) -> str:
        path: str = request.path_params["path"]
        if self._root and f"/{path}/".startswith(f"{self._root}/"):  # a proxy that leaves the base's path on
            return f"/{path}".removeprefix(self._root).lstrip("/")
        return path

    def _answer(self, request: Request, path: str) -> Response:
        found = self._find(path, request.headers)
        if isinstance(found, _Moved):
            headers = {**_EVERYWHERE, "cache-control": self._cache, "location": f"{self._root}/{quote(found.to, '/#')}"}
            if found.status == 303:
                headers["vary"] = "Sec-Fetch-Dest"
            return Response(status_code=found.status, headers=headers)
        if found is None:
            return self._missing(request, path)
        return self._send(request, found)

    def _find(self, path: str, headers: Mapping[str, str]) -> _Found | _Moved | None:
        name, _, extension = path.removeprefix("feeds/").rpartition(".")
        if path.startswith("feeds/") and extension not in FORMATS:
            return self._negotiated(path.removeprefix("feeds/"), headers.get("accept", ""))
        at = f"{path}{pages.INDEX}" if path.endswith("/") or not path else path
        if (body := self._document(at)) is None:
            return self._elsewhere(path, at)
        if not path.startswith("feeds/"):
            return _Found(body=body, path=at)
        if headers.get("sec-fetch-dest") == "document":  # a person, in a browser, that can show no feed
            feed, _, archive = name.partition("/archive/")
            page = content.page_path(feed, int(archive or 0))
            if self._document(f"{page}{pages.INDEX}") is not None:
                return _Moved(to=page if archive else f"{page}#subscribe", status=303)
        return _Found(body=body, path=at, vary="Accept-Encoding, Sec-Fetch-Dest")

    def _negotiated(self, name: str, accept: str) -> _Found | _Moved | None:
        """The feed at an address without a format: as the page to those that ask for one, else as a document."""
        page = f"{content.page_path(name)}{pages.INDEX}"
        there = {content.MEDIA_TYPES[each]: content.feed_path(name, each) for each in FORMATS}
        with self._store.read() as connection:
            published = {kind: path for kind, path in there.items() if documents.tag(connection, path)}
            has_page = documents.tag(connection, page) is not None
        if not published and not has_page:
            for path in there.values():
                if to := self._moved_to(path):
                    return _Moved(to=to.rpartition(".")[0])
            return None
        kind = negotiation.media_type(accept, negotiation.PAGE_TYPES if has_page else (), [*published])
        path = published.get(kind, page)
        if (body := self._document(path)) is None:
            return None
        return _Found(body=body, path=path, vary="Accept, Accept-Encoding", chosen=True)

    def _elsewhere(self, path: str, at: str) -> _Moved | None:
        """Where a document is that is not at `path`."""
        if to := self._moved_to(at):
            return _Moved(to=to.removesuffix(pages.INDEX))
        folder = f"{path}/{pages.INDEX}"
        if not path.endswith("/") and (self._document(folder) is not None or self._moved_to(folder)):
            return _Moved(to=f"{path}/")
        return None

    def _moved_to(self, path: str) -> str | None:
        """Where the document at `path` has moved to and is; empty when it was taken away; None when it never was."""
        with self._store.read() as connection:
            to = documents.moved_to(connection, path)
            for _ in range(_HOPS):
                if not to or documents.tag(connection, to):
                    return to
                to = documents.moved_to(connection, to) or ""
        return ""

    def _document(self, path: str) -> _Body | None:
        """The document at `path`, from memory as long as the store holds the same."""
        with self._store.read() as connection:
            tag = documents.tag(connection, path)
            kept = self._kept.get(path)
            if kept is not None and tag == (kept.digest, kept.modified):
                return kept
            found = documents.get(connection, path) if tag else None
        if found is None:
            self._kept.drop(path)
            return None
        body = _Body(content_type=found.content_type, digest=found.digest, gzip=found.gzip, modified=found.modified)
        self._kept.keep(path, body)
        return body

    # --- what is sent -------------------------------------------------------------------------------------------------

    def _send(self, request: Request, found: _Found, status: int = 200, more: Mapping[str, str] = {}) -> Response:
        body = found.body
        encoding = negotiation.encoding(request.headers.get("accept-encoding", ""), ("br", "gzip"))
        headers = {**_EVERYWHERE, "cache-control": self._cache, "vary": found.vary}
        if body.digest:
            headers["etag"] = f'"{body.digest}{_SUFFIXES[encoding]}"'
        if body.modified and body.modified <= self._now():  # several changes within a second are ahead of the clock
            headers["last-modified"] = format_datetime(body.modified, usegmt=True)
        if found.chosen:
            headers["content-location"] = f"{self._root}/{quote(found.path.removesuffix(pages.INDEX))}"
        if self._site.hubs and found.path.endswith(FORMATS):
            headers["link"] = self._links(found.path)
        if status == 200 and self._holds(request, body):
            return Response(status_code=304, headers=headers)
        headers |= {"content-type": body.content_type, **more}
        if body.content_type.startswith(("text/html", "image/svg")):
            headers |= {
                "content-security-policy": self._policy,
                "referrer-policy": "strict-origin-when-cross-origin",
            }
        if encoding:
            headers["content-encoding"] = encoding
        return Response(body.encoded(encoding), status_code=status, headers=headers)

    def _holds(self, request: Request, body: _Body) -> bool:
        return negotiation.holds(
            request.headers.get("if-none-match"),
            request.headers.get("if-modified-since"),
            held=[f"{body.digest}{suffix}" for suffix in _SUFFIXES.values()] if body.digest else [],
            modified=body.modified,
        )

    def _links(self, path: str) -> str:
        """The Link header by which a subscriber finds the hubs (WebSub, section 4)."""
        links = [(f"{self._site.base_url}/{path}", "self"), *((hub, "hub") for hub in self._site.hubs)]
        return ", ".join(f'<{address}>; rel="{rel}"' for address, rel in links)

    def _search(self, request: Request) -> Response:
        asked = request.query_params
        page = self._searches.page(asked.get("q", ""), asked.get("page", ""))
        if page is None:
            return self._page(request, 404, "Not found", "This search has no such page.")
        body = _Body(content_type=pages.HTML, digest=documents.digest(page), gzip=publish.packed(page))
        return self._send(request, _Found(body=body, path="search"))

    def _missing(self, request: Request, path: str) -> Response:
        at = f"{path}{pages.INDEX}" if path.endswith("/") else path
        gone = any(self._moved_to(each) == "" for each in (at, f"{path}/{pages.INDEX}", f"{path}.{FORMATS[0]}"))
        if gone:
            return self._page(request, 410, "No longer here", "This feed was taken away and does not come back here.")
        return self._page(request, 404, "Not found", "There is nothing at this address.")

    def _page(self, request: Request, status: int, title: str, said: str, more: Mapping[str, str] = {}) -> Response:
        packed = publish.packed(pages.error(title, said, self._site))
        body = _Body(content_type=pages.HTML, digest="", gzip=packed)
        return self._send(request, _Found(body=body, path=""), status, more)


class _Kept:
    """Documents at hand, those that were asked for last. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._bodies: OrderedDict[str, _Body] = OrderedDict()
        self._lock = Lock()

    def get(self, path: str) -> _Body | None:
        with self._lock:
            if (body := self._bodies.get(path)) is not None:
                self._bodies.move_to_end(path)
            return body

    def keep(self, path: str, body: _Body) -> None:
        with self._lock:
            self._drop(path)
            self._bodies[path] = body
            self._size += body.size
            while self._size > self._limit:
                self._drop(next(iter(self._bodies)))

    def drop(self, path: str) -> None:
        with self._lock:
            self._drop(path)

    def _drop(self, path: str) -> None:
        if (body := self._bodies.pop(path, None)) is not None:
            self._size -= body.size
