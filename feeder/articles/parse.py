"""Front matter and body → Article.

Front matter that is as the schema has it, as most is, becomes an article at once. Any other is mended first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec import Struct

from feeder import identity, slugs, text, urls
from feeder.articles import frontmatter, mend, schema
from feeder.articles.schema import ArticleKeys, ImageKeys, ProviderKeys, RelatedKeys
from feeder.errors import ArticleError, Problem
from feeder.models import TYPES, Article, Image, Provider, RelatedLink, Topic

_TopicOf = Callable[[str], Topic]


class Parsed(Struct, frozen=True, kw_only=True):
    """What a file says, with what there is to complain about."""

    article: Article
    warnings: tuple[Problem, ...] = ()


def plain_topic(label: str) -> Topic:
    """The topic of a label that no setting speaks of."""
    return Topic(label=label, slug=slugs.slug(label))


def parse(data: bytes, where: str, topic: _TopicOf = plain_topic, *, fast: bool = True) -> Parsed:
    """The article in the bytes of a file. ArticleError says why it is none.

    `where` names the file in messages; `topic` says which topic a label stands for; `fast` whether yaml-rs may read
    its front matter.
    """
    try:
        return _parsed(frontmatter.load(data, where, fast=fast), topic)
    except ArticleError:
        raise
    except Exception as error:  # whatever a library makes of one file must not end a pass over all
        raise unforeseen(where, error) from error


def unforeseen(where: str, error: Exception) -> ArticleError:
    """What is said of a file that makes this program fail: it is its problem, and stops no other."""
    said = f"feeder fails at it: {type(error).__name__}: {error}"
    return ArticleError(Problem(where=where, reason=f"{text.shorten(text.line(said), 200)}; please report it"))


def _parsed(source: frontmatter.Source, topic: _TopicOf) -> Parsed:
    try:
        if not mend.is_endless(source.body):
            return Parsed(article=_article(schema.as_written(source.metadata), source.body, topic))
    except ValueError:  # what it is that is wrong is found as it is mended
        pass
    kept, warnings = mend.mended(source)
    return Parsed(article=_article(schema.as_written(kept), source.body, topic), warnings=warnings)


def _article(keys: ArticleKeys, body: str, topic: _TopicOf) -> Article:
    """The article. ValueError when a key does not hold what it should."""
    source_url = _link(keys.original_url)
    url = _link(keys.web_url) or source_url
    own, language = _text(keys.id), _text(keys.language)
    if not url or (language and not text.is_language(language)):
        raise ValueError
    return Article(
        id=identity.of_id(own) if own else identity.of_link(url, source_url),
        title=_title(keys.title),
        url=url,
        published=_moment(keys.published_date_time),
        source_url=source_url,
        excerpt=_text(keys.excerpt),
        body=body,
        category=_text(keys.category),
        type=keys.type or TYPES[0],
        language=language,
        quality=keys.quality,
        heat=keys.heat,
        amp_url=_link(keys.amp_web_url),
        cdn_amp_url=_link(keys.cdn_amp_web_url),
        provider=_provider(keys.provider),
        topics=_topics(keys.topics, topic) if keys.topics else (),
        images=_images(keys.images),
        related=_related(keys.related, {urls.canonical(url), urls.canonical(source_url)}) if keys.related else (),
        draft=keys.published is False,
    )


def _text(value: str | None) -> str:
    return text.line(value) if value else ""


def _title(value: str) -> str:
    if title := text.line(value):
        return title
    raise ValueError


def _link(value: str | None) -> str:
    return urls.untracked(urls.http_url(value)) if value else ""


def _moment(value: datetime) -> datetime:
    if not mend.is_bearable(value):
        raise ValueError
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware.replace(microsecond=0) if aware.microsecond else aware


def _topics(values: Iterable[str | float], topic: _TopicOf) -> tuple[Topic, ...]:
    found = (topic(label) for value in values if (label := text.line(str(value))))
    topics: dict[str, Topic] = {}
    for each in found:
        topics.setdefault(each.slug, each)
    return tuple(topics.values())


def _provider(keys: ProviderKeys | str | None) -> Provider | None:
    if keys is None:
        return None
    if isinstance(keys, str):
        return Provider(name=name) if (name := text.line(keys)) else None
    name, domain, images = _text(keys.name), _text(keys.domain), _images(keys.images)
    return Provider(name=name or domain, domain=domain, images=images) if name or domain else None


def _images(values: Iterable[ImageKeys] | None) -> tuple[Image, ...]:
    if not values:
        return ()
    return tuple(
        Image(
            url=urls.http_url(each.url),
            width=_size(each.width),
            height=_size(each.height),
            title=_text(each.title),
            cached=each.is_cached is True,
        )
        for each in values
    )


def _size(pixels: int | None) -> int | None:
    return pixels if pixels is not None and pixels > 0 else None


def _related(values: Iterable[RelatedKeys], own: set[str]) -> tuple[RelatedLink, ...]:
    """The related links, each page once, and never the article itself."""
    links: dict[str, RelatedLink] = {}
    for link in map(_related_link, values):
        if (page := urls.canonical(link.url)) not in own:
            links.setdefault(page, link)
    return tuple(links.values())


def _related_link(keys: RelatedKeys) -> RelatedLink:
    return RelatedLink(
        title=_title(keys.title),
        url=urls.untracked(urls.http_url(keys.web_url or keys.original_url or "")),
        excerpt=_text(keys.excerpt),
        published=_moment(keys.published_date_time) if keys.published_date_time else None,
        type=keys.type or TYPES[0],
        quality=keys.quality,
        provider=_provider(keys.provider),
        images=_images(keys.images),
        amp_url=_link(keys.amp_web_url),
        cdn_amp_url=_link(keys.cdn_amp_web_url),
    )
