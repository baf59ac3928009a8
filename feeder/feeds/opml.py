"""The list of all feeds as OPML 2.0 (http://opml.org/spec2.opml), for readers that import one."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from feeder.feeds import content
from feeder.models import Channel, Document, Site


def document(channels: Iterable[Channel], site: Site) -> Document:
    """One outline a feed, in the order given. It holds no date, so that it changes only when the feeds do."""
    root = etree.Element("opml", {"version": "2.0"})
    head, body = etree.SubElement(root, "head"), etree.SubElement(root, "body")
    etree.SubElement(head, "title").text = site.title
    etree.SubElement(head, "docs").text = "http://opml.org/spec2.opml"
    for channel in channels:
        xml = [extension for extension in ("atom", "rss") if extension in channel.formats]
        if xml:
            etree.SubElement(body, "outline", _outline(channel, site, xml[0]))
    made = etree.tostring(root, pretty_print=True, xml_declaration=True, encoding="UTF-8")
    return Document(path=content.OPML, content_type="text/x-opml; charset=utf-8", body=made)


def _outline(channel: Channel, site: Site, extension: str) -> dict[str, str]:
    title = content.feed_title(site, channel)
    return {
        "type": "rss",  # whatever its format; the specification says so
        "text": title,
        "title": title,
        "description": content.feed_description(site, channel),
        "language": content.language(site, channel),
        "xmlUrl": f"{site.base_url}/{content.feed_path(channel.name, extension)}",
        "htmlUrl": f"{site.base_url}/{content.page_path(channel.name)}",
    }
