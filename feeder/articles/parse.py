"""Front matter and body → Article.

Keys are read by allow-list, so what is not named here (`secured` above all) is never looked at. What makes an article
impossible (no title, no link, no date, a wrong type) raises ArticleError; what only makes it poorer (a related link
that is none, a key that is misspelt) is left out and reported as a warning.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any

from feeder import slugs, text, urls
from feeder.articles import frontmatter, markdown
from feeder.articles.frontmatter import KeyPath, Source
from feeder.errors import ArticleError, Problem
from feeder.models import TYPES, Article, Image, Provider, RelatedLink, Topic

MOST_MARKS = 10_000  # what nests in Markdown or HTML costs the square of its depth
READ = (
    "id title excerpt publishedDateTime originalUrl webUrl ampWebUrl cdnAmpWebUrl category type language quality heat "
    "published provider topics images related"
).split()
LEFT_ALONE = ("featuredContent", "layout", "secured")  # what articles carry and nobody may be shown
_KNOWN = {*READ, *LEFT_ALONE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """What a file says, with what there is to complain about."""

    article: Article
    warnings: tuple[Problem, ...] = ()


def plain_topic(label: str) -> Topic:
    """The topic of a label that no setting speaks of."""
    return Topic(label=label, slug=slugs.slug(label))


def parse(data: bytes, where: str, topic: Callable[[str], Topic] = plain_topic) -> Parsed:
    """The article in the bytes of a file. ArticleError says why it is none.

    `where` names the file in messages; `topic` says which topic a label stands for.
    """
    reader = _Reader(frontmatter.load(data, where), topic)
    article = _article(reader)
    if article is None or reader.found_wrong:
        raise reader.error()
    return Parsed(article=article, warnings=reader.warnings())


class _Reader:
    """Remembers what was wrong with the values of one file."""

    def __init__(self, source: Source, topic: Callable[[str], Topic]) -> None:
        self.source, self.topic = source, topic
        self._wrong: list[tuple[KeyPath, str]] = []
        self._poor: list[tuple[KeyPath, str]] = []

    def wrong(self, path: KeyPath, reason: str) -> None:
        """The file is no article because of this."""
        self._wrong.append((path, reason))

    def poor(self, path: KeyPath, reason: str) -> None:
        """The article does without this."""
        self._poor.append((path, reason))

    @property
    def found_wrong(self) -> bool:
        return bool(self._wrong)

    def error(self) -> ArticleError:
        """All that is wrong, at the line of the first."""
        line = self.source.lines([path for path, _ in self._wrong])[0]
        return ArticleError(
            Problem(where=self.source.where, line=line, reason="; ".join(_told(*found) for found in self._wrong))
        )

    def warnings(self) -> tuple[Problem, ...]:
        lines = self.source.lines([path for path, _ in self._poor])
        return tuple(
            Problem(where=self.source.where, line=line, reason=_told(*found), warning=True)
            for line, found in zip(lines, self._poor, strict=True)
        )


def _told(path: KeyPath, reason: str) -> str:
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else (f".{step}" if name else step)
    return f"{name}: {reason}" if name else reason


def _article(reader: _Reader) -> Article | None:
    meta, body = reader.source.metadata, reader.source.body
    _look_for_misspelt(meta, reader)
    title = _text(meta, "title", reader, required=True)
    published = _date(meta, "publishedDateTime", reader)
    source_url, web_url = _link(meta, "originalUrl", reader), _link(meta, "webUrl", reader)
    url = web_url or source_url
    if not meta.get("originalUrl") and not meta.get("webUrl"):
        reader.wrong((), "no link; write webUrl: https://…")
    identity = _text(meta, "id", reader)
    topics = _topics(meta, reader)
    related = _related(meta, reader, own={urls.canonical(link) for link in (url, source_url) if link})
    draft = _flag(meta, "published", reader, default=True) is False
    if any(body.count(mark) > MOST_MARKS for mark in "<["):
        reader.wrong((), f"the body holds more than {MOST_MARKS:,} of < or [; that is no text")
    if reader.found_wrong or not (title and published and url):
        return None
    return Article(
        id=_hash(f"id:{identity}" if identity else f"url:{urls.canonical(source_url or url)}"),
        title=title,
        url=url,
        published=published,
        source_url=source_url,
        excerpt=_text(meta, "excerpt", reader),
        content=markdown.to_html(body, url),
        category=_text(meta, "category", reader),
        type=_type(meta, reader),
        language=_language(meta, reader),
        quality=_whole(meta, "quality", reader),
        heat=_whole(meta, "heat", reader),
        amp_url=_soft_link(meta, "ampWebUrl", (), reader),
        cdn_amp_url=_soft_link(meta, "cdnAmpWebUrl", (), reader),
        provider=_provider(meta, (), reader),
        topics=topics,
        images=_images(meta, (), reader),
        related=related,
        draft=draft,
    )


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _look_for_misspelt(meta: Mapping[str, Any], reader: _Reader) -> None:
    for key in meta.keys() - _KNOWN:
        near = difflib.get_close_matches(str(key), READ, n=1, cutoff=0.7)
        reader.poor((str(key),), f"unknown key, not read{f'; did you mean {near[0]}?' if near else ''}")


def _text(meta: Mapping[str, Any], key: str, reader: _Reader, *, path: KeyPath = (), required: bool = False) -> str:
    value = meta.get(key)
    if type(value) is str and (cleaned := text.line(value)):  # as most are
        return cleaned
    if value is None and not required:
        return ""
    say = reader.wrong if required else reader.poor
    if value is None:
        if required:
            say((*path, key) if key in meta else path, f"no {key}; write {key}: …")
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        say((*path, key), f"{_shown(value)} is not text; put it in quotes")
        return ""
    if not isinstance(value, str):
        reader.poor((*path, key), f"is read as the number {value}; put it in quotes to keep it as it is written")
    cleaned = text.line(str(value))
    if required and not cleaned:
        say((*path, key), f"is empty; write {key}: …")
    return cleaned


def _language(meta: Mapping[str, Any], reader: _Reader) -> str:
    value = _text(meta, "language", reader)
    if not value or text.is_language(value):
        return value
    reader.poor(("language",), f"{_shown(value)} is not a language tag like en or pt-BR (RFC 5646); left out")
    return ""


def _date(meta: Mapping[str, Any], key: str, reader: _Reader) -> datetime | None:
    value = meta.get(key)
    if value is None:
        reader.wrong((key,) if key in meta else (), f"no {key}; write {key}: 2026-01-31T12:00:00Z")
        return None
    moment = _moment(value)
    if moment is None:
        reader.wrong((key,), f"{_shown(value)} is not a date; write it like 2026-01-31T12:00:00Z")
        return None
    if moment.tzinfo is None:
        reader.poor((key,), f"{_shown(value)} has no time zone and is read as UTC; write it like 2026-01-31T12:00:00Z")
    return _utc(moment)


def _moment(value: object) -> datetime | None:
    """The datetime in a front matter value, naive where it names no zone; None when there is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime) or not 1900 <= value.year <= 9998:
        return None
    return value


def _utc(moment: datetime) -> datetime:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.replace(microsecond=0)


def _link(meta: Mapping[str, Any], key: str, reader: _Reader) -> str:
    value = meta.get(key)
    if value is None or value == "":
        return ""
    try:
        if not isinstance(value, str):
            raise ValueError("is not text; put it in quotes")
        return urls.http_url(value)
    except ValueError as error:
        reader.wrong((key,), f"{_shown(value)} {error}")
        return ""


def _soft_link(meta: Mapping[str, Any], key: str, path: KeyPath, reader: _Reader) -> str:
    """A link that an article can do without."""
    value = meta.get(key)
    if value is None or value == "":
        return ""
    try:
        if not isinstance(value, str):
            raise ValueError("is not text; put it in quotes")
        return urls.http_url(value)
    except ValueError as error:
        reader.poor((*path, key), f"{_shown(value)} {error}; left out")
        return ""


def _flag(meta: Mapping[str, Any], key: str, reader: _Reader, *, default: bool) -> bool:
    value = meta.get(key, default)
    if isinstance(value, bool):
        return value
    if value is not None:
        reader.wrong((key,), f"{_shown(value)} is neither true nor false")
    return default


def _whole(meta: Mapping[str, Any], key: str, reader: _Reader, *, path: KeyPath = ()) -> int | None:
    value = meta.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31:
        return value
    reader.poor((*path, key), f"{_shown(value)} is not a whole number; left out")
    return None


def _type(meta: Mapping[str, Any], reader: _Reader, *, path: KeyPath = ()) -> str:
    value = meta.get("type")
    if value is None or value in TYPES:
        return value or TYPES[0]
    reader.poor((*path, "type"), f"{_shown(value)} is not one of {', '.join(TYPES)}; read as {TYPES[0]}")
    return TYPES[0]


def _list(meta: Mapping[str, Any], key: str, path: KeyPath, say: Callable[[KeyPath, str], None]) -> list[Any]:
    value = meta.get(key)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    say((*path, key), f"{_shown(value)} is not a list; write {key}: with one line “- …” for each")
    return []


def _topics(meta: Mapping[str, Any], reader: _Reader) -> tuple[Topic, ...]:
    topics: dict[str, Topic] = {}
    for index, value in enumerate(_list(meta, "topics", (), reader.wrong)):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            reader.wrong(("topics", index), f"{_shown(value)} is not text; put it in quotes")
        elif label := text.line(str(value)):
            topic = reader.topic(label)
            topics.setdefault(topic.slug, topic)
    return tuple(topics.values())


def _provider(meta: Mapping[str, Any], path: KeyPath, reader: _Reader) -> Provider | None:
    value = meta.get("provider")
    if value is None:
        return None
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        reader.poor((*path, "provider"), f"{_shown(value)} has no name; left out")
        return None
    within = (*path, "provider")
    name, domain = _text(value, "name", reader, path=within), _text(value, "domain", reader, path=within)
    if not (name or domain):
        return None
    images = _images(value, within, reader)
    return Provider(name=name or domain, domain=domain, images=images) if images else _named(name or domain, domain)


@lru_cache(maxsize=1_000)  # the same few provide most articles
def _named(name: str, domain: str) -> Provider:
    return Provider(name=name, domain=domain)


def _images(meta: Mapping[str, Any], path: KeyPath, reader: _Reader) -> tuple[Image, ...]:
    images = []
    for index, value in enumerate(_list(meta, "images", path, reader.poor)):
        within = (*path, "images", index)
        if not isinstance(value, Mapping):
            reader.poor(within, f"{_shown(value)} is not an image; write - url: https://…")
        elif url := _soft_link(value, "url", within, reader):
            width, height = (_size(_whole(value, side, reader, path=within)) for side in ("width", "height"))
            title, cached = _text(value, "title", reader, path=within), value.get("isCached") is True
            images.append(Image(url=url, width=width, height=height, title=title, cached=cached))
    return tuple(images)


def _size(pixels: int | None) -> int | None:
    return pixels if pixels is not None and pixels > 0 else None


def _related(meta: Mapping[str, Any], reader: _Reader, own: set[str]) -> tuple[RelatedLink, ...]:
    """The related links, each page once, and never the article itself."""
    links: dict[str, RelatedLink] = {}
    for index, value in enumerate(_list(meta, "related", (), reader.poor)):
        within: KeyPath = ("related", index)
        if not isinstance(value, Mapping):
            reader.poor(within, f"{_shown(value)} is not a related article; write - title: … and webUrl: …; left out")
            continue
        link = _soft_link(value, "webUrl", within, reader) or _soft_link(value, "originalUrl", within, reader)
        title = _text(value, "title", reader, path=within)
        if not link or not title:
            reader.poor(
                within, f"a related article needs a title and a webUrl; {'no title' if link else 'no link'}, left out"
            )
        elif (page := urls.canonical(link)) not in own:
            links.setdefault(page, _related_link(value, within, reader, title=title, url=link))
    return tuple(links.values())


def _related_link(value: Mapping[str, Any], path: KeyPath, reader: _Reader, *, title: str, url: str) -> RelatedLink:
    written = value.get("publishedDateTime")
    moment = _moment(written) if written is not None else None
    if written is not None and moment is None:
        reader.poor((*path, "publishedDateTime"), f"{_shown(written)} is not a date; left out")
    return RelatedLink(
        title=title,
        url=url,
        excerpt=_text(value, "excerpt", reader, path=path),
        published=_utc(moment) if moment else None,
        type=_type(value, reader, path=path),
        quality=_whole(value, "quality", reader, path=path),
        provider=_provider(value, path, reader),
        images=_images(value, path, reader),
        amp_url=_soft_link(value, "ampWebUrl", path, reader),
        cdn_amp_url=_soft_link(value, "cdnAmpWebUrl", path, reader),
    )


def _shown(value: object) -> str:
    return repr(text.shorten(str(value), 60))
