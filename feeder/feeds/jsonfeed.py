"""A feed as JSON Feed 1.1 (https://www.jsonfeed.org/version/1.1/)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from feeder.feeds import content
from feeder.models import Document, Entry, Feed, Image, Provider, RelatedLink, Site


def document(feed: Feed, site: Site) -> Document:
    """The feed's JSON document: UTF-8, keys in the order of the specification."""
    media_type, _ = content.FORMATS["json"]
    path = content.feed_path(feed.name, "json")
    found = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": content.feed_title(site, feed),
        "home_page_url": f"{site.base_url}/",
        "feed_url": f"{site.base_url}/{path}",
        "description": content.feed_description(site, feed),
        "authors": [{"name": site.title, "url": f"{site.base_url}/"}],
        "language": site.language,
        "items": [_item(entry, site) for entry in feed.entries],
    }
    body = json.dumps(found, ensure_ascii=False, indent=1).encode() + b"\n"
    return Document(path=path, content_type=f"{media_type}; charset=utf-8", body=body)


def _item(entry: Entry, site: Site) -> dict[str, Any]:
    article = entry.article
    return _filled(
        {
            "id": content.entry_id(site, article),
            "url": article.url,
            "external_url": article.source_url if article.source_url != article.url else "",
            "title": article.title,
            "content_html": content.content_html(article) or article.title,
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
