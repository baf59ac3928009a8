"""What all formats of a feed say alike: ids, addresses and the HTML of an entry."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from feeder.models import Article, Feed, Image, Provider, RelatedLink, Site
from feeder.safehtml import sanitise
from feeder.urls import http_url

FORMATS = {  # extension: (media type, what a person calls it)
    "rss": ("application/rss+xml", "RSS"),
    "atom": ("application/atom+xml", "Atom"),
    "json": ("application/feed+json", "JSON Feed"),
}
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def entry_id(site: Site, article: Article) -> str:
    """The article's id in every feed and format: a tag URI (RFC 4151) that depends on its identity alone."""
    return f"tag:{site.id_authority}:article/{article.id}"


def feed_id(site: Site, feed: Feed) -> str:
    """The feed's id, the same in every format."""
    return f"tag:{site.id_authority}:feed/{feed.name}"


def feed_title(site: Site, feed: Feed) -> str:
    """What a reader lists the feed as."""
    return f"{feed.title} · {site.title}" if feed.title else site.title


def feed_description(site: Site, feed: Feed) -> str:
    """A line about the feed; RSS wants one."""
    return (
        f"{feed.title}: headlines with related coverage"
        if feed.title
        else f"{site.title}: all headlines with related coverage"
    )


def feed_path(name: str, extension: str) -> str:
    """Where a feed's document stands below the site's root."""
    return f"feeds/{name}.{extension}"


def updated(feed: Feed) -> datetime:
    """The last change that a reader of the feed would see."""
    return max((entry.updated for entry in feed.entries), default=_NEVER)


def home_page(provider: Provider) -> str:
    """The address of a provider's site; empty where its domain is none."""
    try:
        return http_url(f"https://{provider.domain}/")
    except ValueError:
        return ""


def content_html(article: Article) -> str:
    """An entry's content: the image, the body or the excerpt, and the related coverage."""
    body = article.content or (f"<p>{escape(article.excerpt)}</p>" if article.excerpt else "")
    return sanitise(_image(article) + body + _related(article.related), article.url)


def _image(article: Article) -> str:
    if not article.images:
        return ""
    image = article.images[0]
    size = "".join(
        f' {side}="{pixels}"' for side, pixels in (("width", image.width), ("height", image.height)) if pixels
    )
    return f'<p><img src="{escape(image.url)}" alt="{escape(alt(image, article))}"{size}></p>'


def alt(image: Image, article: Article) -> str:
    """What stands for an image that is not seen."""
    return image.title or article.title


def _related(related: tuple[RelatedLink, ...]) -> str:
    if not related:
        return ""
    items = "".join(
        f'<li><a href="{escape(link.url)}">{escape(link.title)}</a>{_source(link)}</li>' for link in related
    )
    return f"<h3>Related</h3><ul>{items}</ul>"


def _source(link: RelatedLink) -> str:
    return f" ({escape(link.provider.name)})" if link.provider else ""
