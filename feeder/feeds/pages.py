"""Pages for people: HTML without script, readable without style. The only home of Jinja2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from feeder.feeds import content
from feeder.models import Channel, Document, Feed, Results, Site

HTML = "text/html; charset=utf-8"
INDEX = "index.html"
STYLE = "style.css"
ICON = "icon.svg"
HEADLINES = 7  # that the index shows of all articles
_FEW = 3  # and of each other feed
FEEDS = 50  # other feeds that the index shows
LISTED = 200  # feeds on one page of the list of all


def index(latest: Feed, feeds: Sequence[Feed], site: Site, others: int = 0) -> Document:
    """The page of `feeds` with their newest headlines. `latest` is the feed of all articles.

    `others` is how many feeds there are beside those, which stand in `lists`.
    """
    channels = [feed.channel for feed in (latest, *feeds)]
    entries = latest.entries[:HEADLINES]
    return _page(
        INDEX,
        "index.html",
        site,
        channels=channels,
        latest=latest,
        entries=entries,
        feeds=feeds,
        few=_FEW,
        others=others,
    )


def lists(channels: Sequence[Channel], site: Site) -> list[Document]:
    """The pages that list all feeds but that of all articles, LISTED on each."""
    pages = [channels[start : start + LISTED] for start in range(0, len(channels), LISTED)]
    return [
        _page(
            content.list_path(number) + INDEX,
            "list.html",
            site,
            channels=[],
            listed=page,
            number=number,
            last=len(pages),
        )
        for number, page in enumerate(pages, 1)
    ]


def lists_after(documents: Iterable[Document], is_there: Callable[[str], bool]) -> list[str]:
    """The paths of the pages of an earlier, longer list, which are not among `documents`."""
    made = {document.path for document in documents}
    found: list[str] = []
    for number in count(1):
        path = content.list_path(number) + INDEX
        if path not in made:
            if not is_there(path):
                return found
            found.append(path)
    return found


def feed(feed: Feed, everything: Channel, site: Site) -> Document:
    """A feed, or one of its archives, as a page. `everything` is the feed of all articles."""
    name = feed.channel.name
    last = feed.archives if not feed.archive else feed.archive - 1
    newer = ""
    if feed.archive:
        newer = content.page_path(name, feed.archive + 1 if feed.archive < feed.archives else 0)
    return _page(
        f"{content.page_path(name, feed.archive)}{INDEX}",
        "feed.html",
        site,
        channels=[feed.channel] if name == everything.name else [feed.channel, everything],
        feed=feed,
        older=content.page_path(name, last) if last else "",
        newer=newer,
    )


def search(asked: str, results: Results, site: Site) -> bytes:
    """A page of what a search for `asked` found."""
    return _page("", "search.html", site, channels=[], asked=asked, results=results).body


def error(title: str, said: str, site: Site) -> bytes:
    """The page of what went wrong."""
    return _page("", "error.html", site, channels=[], title=title, said=said).body


def assets() -> list[Document]:
    """What the pages show themselves with."""
    types = {STYLE: "text/css; charset=utf-8", ICON: "image/svg+xml; charset=utf-8"}
    folder = files("feeder.feeds") / "templates"
    return [Document(path=name, content_type=kind, body=(folder / name).read_bytes()) for name, kind in types.items()]


def policy(site: Site) -> str:
    """The Content-Security-Policy of every page (https://www.w3.org/TR/CSP3/): no script, no frame, no foreign style."""
    pictures = "'self' http: https:" if site.images else "'self'"
    return (
        f"default-src 'none'; img-src {pictures}; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def _page(path: str, template: str, site: Site, *, channels: Iterable[Channel], **told: Any) -> Document:
    root = urlsplit(site.base_url).path
    made = _templates().get_template(template).render(site=site, root=root, channels=list(channels), **told)
    return Document(path=path, content_type=HTML, body=made.encode())


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("feeder.feeds"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for helper in (
        content.feed_path,
        content.page_path,
        content.list_path,
        content.feed_title,
        content.feed_description,
        content.alt,
    ):
        made.globals[helper.__name__] = helper
    made.globals |= {"media_types": content.MEDIA_TYPES, "names": content.NAMES, "opml": content.OPML}
    made.filters["day"] = content.day
    return made
