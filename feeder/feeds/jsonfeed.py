"""A feed as JSON Feed 1.1 (https://www.jsonfeed.org/version/1.1/)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import json

from feeder.feeds import content
from feeder.models import Document, Entry, Feed, Image, Provider, RelatedLink, Site

LARGEST = 250_000  # bytes that all readers take


def document(feed: Feed, site: Site) -> Document:
    """The feed's JSON document: UTF-8, keys in the order of the specification.

    One that would be larger than LARGEST holds fewer of the newest entries. Archives, which nobody polls, hold all of theirs.
    """
    channel = feed.channel
    path = content.feed_path(channel.name, "json", feed.archive)
    links = dict(content.links(site, feed, "json"))
    found = _filled(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": content.feed_title(site, channel),
            "home_page_url": f"{site.base_url}/{content.page_path(channel.name)}",
            "feed_url": links.get("current", links["self"]),
            "description": content.feed_description(site, channel),
            "next_url": links.get("prev-archive", ""),
            "icon": channel.image or site.logo,
            "favicon": site.icon,
            "authors": [{"name": site.title, "url": f"{site.base_url}/"}],
            "language": content.language(site, channel),
            "hubs": [] if feed.archive else [{"type": "WebSub", "url": hub} for hub in site.hubs],
            "_feeder": {"rights": site.rights} if site.rights else {},
        }
    )
    items = [_item(entry, site) for entry in content.distinct(feed)]
    body = _encoded({**found, "items": items})
    while len(body) > LARGEST and len(items) > 1 and not feed.archive:
        items = items[: min(len(items) - 1, len(items) * LARGEST // len(body))]
        body = _encoded({**found, "items": items})
    return Document(path=path, content_type=f"{content.MEDIA_TYPES['json']}; charset=utf-8", body=body)


def _encoded(found: dict[str, Any]) -> bytes:
    return json.format(json.encode(found), indent=1) + b"\n"


def _item(entry: Entry, site: Site) -> dict[str, Any]:
    article = entry.article
    return _filled(
        {
            "id": content.entry_id(site, article),
            "url": article.url,
            "external_url": article.source_url if article.source_url != article.url else "",
            "title": article.title,
            "content_html": content.content_html(article),
            "summary": article.excerpt,
            "image": article.images[0].url if article.images else "",
            "date_published": _moment(article.published),
            "date_modified": _moment(entry.updated),
            "authors": [_author(article.provider)] if article.provider else [],
            "tags": [topic.label for topic in article.topics],
            "language": article.language,
            "_feeder": _filled({"via": article.source_url, "related": [_related(link) for link in article.related]}),
        }
    )


def _author(provider: Provider) -> dict[str, str]:
    avatar: tuple[Image, ...] = provider.images[:1]
    return _filled(
        {"name": provider.name, "url": content.home_page(provider), "avatar": avatar[0].url if avatar else ""}
    )


def _related(link: RelatedLink) -> dict[str, Any]:
    published = _moment(link.published) if link.published else ""
    return _filled(
        {
            "url": link.url,
            "title": link.title,
            "provider": link.provider.name if link.provider else "",
            "date_published": published,
        }
    )


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _filled(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value}
