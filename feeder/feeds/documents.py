"""A feed as RSS 2.0 and Atom 1.0. The only home of feedgen.

Not thread-safe: feedgen turns the process's locale while it writes a date. One thread builds.
"""

from __future__ import annotations

from html import escape
from typing import Any

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


def documents(feed: Feed, site: Site) -> list[Document]:
    """The feed in both formats. The same feed gives the same bytes, on any day and machine."""
    generator = _feed(feed, site)
    atom = _document(generator, feed, site, "atom")
    for entry, made in zip(feed.entries, generator.entry(), strict=True):
        # RSS reads a description as HTML where Atom reads a summary as text.
        made.summary(escape(entry.article.excerpt, quote=False))
    return [_document(generator, feed, site, "rss"), atom]


def _feed(feed: Feed, site: Site) -> FeedGenerator:
    generator = FeedGenerator()
    generator.register_extension("details", _FeedDetails, _EntryDetails)
    generator.id(content.feed_id(site, feed))
    generator.title(content.feed_title(site, feed))
    generator.subtitle(content.feed_description(site, feed))
    generator.author({"name": site.title, "uri": f"{site.base_url}/"})
    generator.language(site.language)
    generator.generator("feeder", version=__version__)
    generator.docs("https://www.rssboard.org/rss-specification")
    generator.updated(content.updated(feed))
    for entry in feed.entries:
        _entry(generator.add_entry(order="append"), entry, site)
    return generator


def _document(generator: FeedGenerator, feed: Feed, site: Site, extension: str) -> Document:
    media_type, _ = content.FORMATS[extension]
    path = content.feed_path(feed.name, extension)
    generator.link(href=f"{site.base_url}/{path}", rel="self", type=media_type, replace=True)
    generator.link(
        href=f"{site.base_url}/", rel="alternate", type="text/html"
    )  # last: RSS takes the last for its <link>
    body = generator.atom_str(pretty=True) if extension == "atom" else generator.rss_str(pretty=True)
    return Document(path=path, content_type=f"{media_type}; charset=utf-8", body=body)


def _entry(made: FeedEntry, entry: Entry, site: Site) -> None:
    article = entry.article
    made.id(content.entry_id(site, article))
    made.title(article.title)
    made.link(href=article.url)  # RSS <link>; the Atom links are written by _EntryDetails
    made.published(article.published)
    made.updated(entry.updated)
    made.summary(article.excerpt)
    made.content(content.content_html(article) or escape(article.title), type="html")
    made.category([_category(topic.label, site) for topic in article.topics])
    made.details.article = article


def _category(label: str, site: Site) -> dict[str, str]:
    return {"term": label, "label": label, "scheme": f"{site.base_url}/"}


class _FeedDetails(BaseExtension):  # type: ignore[misc]
    """The names of the vocabularies that _EntryDetails writes."""

    def extend_ns(self) -> dict[str, str]:
        return {"dc": _DC, "media": _MEDIA}


class _EntryDetails(BaseEntryExtension):  # type: ignore[misc]
    """What feedgen cannot say of an entry itself: links with rel and title, an author without an address, an image.

    feedgen 1.0.0 writes every Atom entry link without its rel (https://github.com/lkiesow/python-feedgen/issues/135), so
    they are written here.
    """

    article: Article

    def extend_atom(self, entry: Any) -> Any:
        for link in entry.findall("link"):
            entry.remove(link)
        _link(entry, "alternate", self.article.url, tag="link")
        self._links(entry, tag="link")
        if self.article.provider:
            author = etree.SubElement(entry, "author")
            _text(author, "name", self.article.provider.name)
            if address := content.home_page(self.article.provider):
                _text(author, "uri", address)
        self._image(entry)
        return entry

    def extend_rss(self, item: Any) -> Any:
        if self.article.provider:
            _text(item, f"{{{_DC}}}creator", self.article.provider.name)
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
