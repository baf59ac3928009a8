"""A feed as RSS 2.0 and Atom 1.0. The only home of feedgen.

Not thread-safe: feedgen turns the process's locale while it writes a date. One thread builds.

feedgen 1.0.0 writes every Atom entry link without its rel (https://github.com/lkiesow/python-feedgen/issues/135), and in
RSS no link of a feed but its own. What it cannot say, `_FeedDetails` and `_EntryDetails` do, which are feedgen extensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import urlsplit

from feedgen.entry import FeedEntry
from feedgen.ext.base import BaseEntryExtension, BaseExtension
from feedgen.feed import FeedGenerator
from lxml import etree

from feeder import __version__
from feeder.feeds import content
from feeder.models import Article, Document, Entry, Feed, Site

_ATOM = "http://www.w3.org/2005/Atom"
_DC = "http://purl.org/dc/elements/1.1/"
_MEDIA = "http://search.yahoo.com/mrss/"
_HISTORY = "http://purl.org/syndication/history/1.0"  # RFC 5005
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_WRITERS = {"rss": FeedGenerator.rss_str, "atom": FeedGenerator.atom_str}


def documents(feed: Feed, site: Site) -> Iterator[Document]:
    """The feed in those of the two formats that it has. The same feed gives the same bytes, on any day and machine."""
    formats = [extension for extension in _WRITERS if extension in feed.channel.formats]
    if formats:
        generator = _feed(feed, site)
        yield from (_document(generator, feed, site, extension) for extension in formats)


def _feed(feed: Feed, site: Site) -> FeedGenerator:
    channel = feed.channel
    generator = FeedGenerator()
    generator.register_extension("details", _FeedDetails, _EntryDetails)
    generator.id(content.feed_id(site, feed))
    generator.title(content.feed_title(site, channel))
    generator.subtitle(content.feed_description(site, channel))
    generator.author({"name": site.title, "uri": f"{site.base_url}/"})
    generator.language(content.language(site, channel))
    generator.generator("feeder", version=__version__)
    generator.docs("https://www.rssboard.org/rss-specification")
    generator.ttl(max(1, round(site.max_age / 60)))  # minutes
    generator.updated(content.updated(feed))
    if site.rights:
        generator.rights(site.rights)
    if site.icon:
        generator.icon(site.icon)
    generator.link(href=f"{site.base_url}/{content.page_path(channel.name)}", rel="alternate", type="text/html")
    for entry in content.distinct(feed):
        _entry(generator.add_entry(order="append"), entry, site, content.language(site, channel))
    return generator


def _document(generator: FeedGenerator, feed: Feed, site: Site, extension: str) -> Document:
    media_type = content.MEDIA_TYPES[extension]
    generator.details.links = list(content.links(site, feed, extension))
    generator.details.media_type = media_type
    generator.details.archive = bool(feed.archive)
    if picture := feed.channel.image or site.logo:
        generator.logo(picture)  # Atom's <logo> and RSS's <image>
    return Document(
        path=content.feed_path(feed.channel.name, extension, feed.archive),
        content_type=f"{media_type}; charset=utf-8",
        body=_WRITERS[extension](generator, pretty=True),
    )


def _entry(made: FeedEntry, entry: Entry, site: Site, language: str) -> None:
    article = entry.article
    made.id(content.entry_id(site, article))
    made.title(article.title)
    made.link(href=article.url)  # RSS <link>; the Atom links are written by _EntryDetails
    made.published(article.published)
    made.updated(entry.updated)
    if article.excerpt:
        made.summary(article.excerpt)
    made.content(content.content_html(article), type="html")
    made.category([_category(topic.label, site) for topic in article.topics])
    made.details.article, made.details.language = article, language


def _category(label: str, site: Site) -> dict[str, str]:
    return {"term": label, "label": label, "scheme": f"{site.base_url}/topics/"}


class _FeedDetails(BaseExtension):  # type: ignore[misc]  # feedgen has no types
    """What feedgen cannot say of a feed itself: in RSS any link but its own, in Atom a title that reads as HTML."""

    links: list[tuple[str, str]]  # rel and address
    media_type: str
    archive: bool

    def extend_ns(self) -> dict[str, str]:
        return {"dc": _DC, "media": _MEDIA, **({"fh": _HISTORY} if self.archive else {})}

    def extend_atom(self, feed: Any) -> Any:
        self._extend(feed, tag="link")
        for name in ("title", "subtitle", "rights"):
            _keep_text(feed.find(name))
        _keep_line(feed.find("author/name"))
        return feed

    def extend_rss(self, rss: Any) -> Any:
        (channel,) = rss
        self._extend(channel, tag=f"{{{_ATOM}}}link")
        if (image := channel.find("image")) is not None and _is_drawing(image.findtext("url")):
            channel.remove(image)
        channel.find("generator").text = f"feeder/{__version__}"
        for name in ("title", "description", "copyright", "image/title"):
            _keep_line(channel.find(name))
        return rss

    def _extend(self, parent: Any, tag: str) -> None:
        for rel, href in self.links:
            attributes = {} if rel == "hub" else {"type": self.media_type}
            etree.SubElement(parent, tag, {"rel": rel, "href": href, **attributes})
        if self.archive:
            etree.SubElement(parent, f"{{{_HISTORY}}}archive")


class _EntryDetails(BaseEntryExtension):  # type: ignore[misc]  # feedgen has no types
    """What feedgen cannot say of an entry itself: links with rel and title, an author without an address, an image."""

    article: Article
    language: str  # the feed's

    def extend_atom(self, entry: Any) -> Any:
        for link in entry.findall("link"):
            entry.remove(link)
        for name in ("title", "summary"):
            _keep_text(entry.find(name))
        _link(entry, "alternate", self.article.url, tag="link")
        self._links(entry, tag="link")
        if self.article.provider:
            author = etree.SubElement(entry, "author")
            _text(author, "name", content.inert(self.article.provider.name))
            if address := content.home_page(self.article.provider):
                _text(author, "uri", address)
        self._image(entry)
        if self.article.language not in ("", self.language):
            entry.set(_XML_LANG, self.article.language)
        return entry

    def extend_rss(self, item: Any) -> Any:
        _keep_line(item.find("title"))
        if self.article.excerpt:
            item.find("description").text = escape(self.article.excerpt, quote=False)  # RSS reads it as HTML
        if self.article.provider:
            _text(item, f"{{{_DC}}}creator", content.inert(self.article.provider.name))
        if self.article.language not in ("", self.language):
            _text(item, f"{{{_DC}}}language", self.article.language)
        self._links(item, tag=f"{{{_ATOM}}}link")
        self._image(item)
        return item

    def _links(self, parent: Any, tag: str) -> None:
        if self.article.source_url:
            _link(parent, "via", self.article.source_url, tag=tag)
        for related in self.article.related:
            _link(parent, "related", related.url, tag=tag, title=related.title)

    def _image(self, parent: Any) -> None:
        for image in self.article.images[:1]:
            size = {side: str(pixels) for side, pixels in (("width", image.width), ("height", image.height)) if pixels}
            element = etree.SubElement(parent, f"{{{_MEDIA}}}content", {"url": image.url, "medium": "image", **size})
            _text(element, f"{{{_MEDIA}}}title", content.alt(image, self.article))


def _link(parent: Any, rel: str, href: str, *, tag: str, **attributes: str) -> None:
    """An Atom link. feedgen's Atom elements carry no namespace of their own until they are written; RSS's must."""
    etree.SubElement(parent, tag, {"rel": rel, "href": href, "type": "text/html", **attributes})


def _text(parent: Any, name: str, text: str) -> None:
    etree.SubElement(parent, name).text = text


def _keep_text(element: Any) -> None:
    """Have an Atom text say what it says now when it is taken for HTML: as the escaped HTML of it."""
    if element is not None and element.text and content.reads_as_html(element.text):
        element.set("type", "html")
        element.text = escape(element.text, quote=False)


def _is_drawing(url: str) -> bool:
    """Whether a picture is SVG, as far as its address tells: RSS wants GIF, JPEG or PNG."""
    return urlsplit(url).path.lower().endswith((".svg", ".svgz"))


def _keep_line(element: Any) -> None:
    """Have a line, which cannot say what it is, say the same as text and as HTML."""
    if element is not None and element.text:
        element.text = content.inert(element.text)
