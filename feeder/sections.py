"""The sections of the settings that stand under names of their own: targets, feeds, topics, hubs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from feeder import slugs, text, websub
from feeder import targets as target_kinds
from feeder.errors import Problem
from feeder.models import FORMATS, TYPES, Channel
from feeder.places import Places, near, variable
from feeder.selection import FeedRules, Feeds, TopicRules
from feeder.targets.base import Labels, Target
from feeder.urls import http_url
from feeder.websub import Hub

M = TypeVar("M", bound=BaseModel)

_SECRET = re.compile("url|token|secret|key|password")  # names of what an error message does not repeat
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def _web_address(value: str) -> str:
    return http_url(value) if value else ""


def _slug(value: str) -> str:
    if value and not slugs.is_slug(value):
        raise ValueError("is no slug: lower-case letters, digits and single hyphens, and not a name that feeder uses")
    return value


def _plain_text(value: str) -> str:
    if text.legal(value) != value:
        raise ValueError("holds a control character; take it out")
    return value


PlainText = Annotated[str, AfterValidator(_plain_text)]
"""Text that documents and pages show."""

WebAddress = Annotated[str, AfterValidator(_web_address)]
LANGUAGE = f"^{text.LANGUAGE}$"


class _Section(BaseModel):
    """A section of the settings that stands under a name of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FeedOptions(_Section):
    """A feed of its own, ``[feeds.NAME]``: which articles stand in it, and what it says of itself."""

    title: PlainText = Field(min_length=1, description="What readers list it as.")
    description: PlainText = Field("", description="A line about it.")
    image: WebAddress = Field("", description="Its picture's address.")
    language: str = Field("", pattern=f"{LANGUAGE}|^$", description="Its language; the site's without.")
    limit: int | None = Field(None, ge=1, le=1_000, description="Entries in it; the site's `limit` without.")
    formats: Annotated[Labels, Field(min_length=1)] = Field(FORMATS, description="Any of rss, atom, json.")
    topics: Labels = Field((), description="Articles with any of these topics.")
    providers: Labels = Field((), description="Articles of any of these providers, by name or domain.")
    types: Labels = Field((), description="Articles of any of these types: article, video.")
    min_quality: int | None = Field(None, description="Articles whose quality is at least this.")
    exclude: Labels = Field((), description="No articles with any of these words in title or excerpt.")

    def rules(self, name: str, limit: int) -> FeedRules:
        """The feed called `name`."""
        channel = Channel(
            name=name,
            title=self.title,
            description=self.description,
            image=self.image,
            language=self.language,
            formats=tuple(each for each in FORMATS if each in self.formats),
            limit=self.limit or limit,
        )
        return FeedRules(
            channel=channel,
            topics=self.topics,
            providers=self.providers,
            types=self.types,
            min_quality=self.min_quality,
            exclude=self.exclude,
        )


class TopicOptions(_Section):
    """What one topic is called, ``[topics."LABEL"]``, over what its label says."""

    slug: Annotated[str, AfterValidator(_slug)] = Field("", description="Its feeds' name in addresses.")
    title: PlainText = Field("", description="What readers list it as; its label without.")
    description: PlainText = Field("", description="A line about it.")
    image: WebAddress = Field("", description="Its picture's address.")
    language: str = Field("", pattern=f"{LANGUAGE}|^$", description="Its language; the site's without.")
    aliases: Labels = Field((), description="Other labels of the same topic, and slugs that it once had.")


class WebSubOptions(_Section):
    """Who is told at once that a feed has changed, ``[websub]``."""

    hubs: Labels = Field((), description="The addresses of WebSub hubs.")
    allow: Labels = Field((), description="Networks that they may be reached at and that are not of the internet.")
    allow_http: bool = Field(False, description="Whether they may be told without encryption.")


class Sections:
    """The sections that stand under names of their own, validated one by one, with all that is wrong with them."""

    def __init__(self, places: Places, problems: list[Problem]) -> None:
        """What is wrong is added to `problems`."""
        self._places, self._problems = places, problems

    def targets(self, raw: Mapping[str, dict[str, Any]]) -> dict[str, Target]:
        """``[targets]``: those that are right, by name."""
        found: dict[str, Target] = {}
        for name, options in raw.items():
            path = ("targets", name)
            if not _NAME.fullmatch(name):
                self._wrong(path, "a target's name is made of lower-case letters, digits and single underscores")
            elif (target_class := self._target_class(path, options, raw)) is not None and (
                target := self._made(target_class, options, path)
            ):
                found[name] = target
        return found

    def _target_class(
        self, path: tuple[str, ...], options: Mapping[str, Any], raw: Iterable[str]
    ) -> type[Target] | None:
        kind = options.get("kind")
        if kind is None:
            nearest = near(path[-1], (other for other in raw if other != path[-1]))
            self._wrong(path, f"has no kind; write one of {', '.join(target_kinds.kinds())}{nearest}")
            return None
        try:
            return target_kinds.target_class(str(kind))
        except KeyError:
            nearest = near(str(kind), target_kinds.kinds())
            known = ", ".join(target_kinds.kinds())
            self._wrong((*path, "kind"), f"{str(kind)!r} is no kind of target; the kinds are {known}{nearest}")
            return None

    def feeds(
        self,
        feeds: Mapping[str, dict[str, Any]],
        topics: Mapping[str, dict[str, Any]],
        *,
        limit: int,
        providers: bool,
    ) -> Feeds:
        """``[feeds]`` and ``[topics]``."""
        return Feeds(
            limit=limit,
            providers=providers,
            configured=tuple(self._feeds(feeds, limit)),
            topics=tuple(self._topics(topics)),
        )

    def _feeds(self, raw: Mapping[str, dict[str, Any]], limit: int) -> Iterator[FeedRules]:
        for name, options in raw.items():
            path = ("feeds", name)
            if not slugs.is_slug(name):
                reserved = "is a name that feeder uses itself" if name in slugs.RESERVED else "is no slug"
                reason = f"{reserved}; a feed's name is made of lower-case letters, digits and single hyphens"
                self._wrong(path, reason)
            elif (made := self._made(FeedOptions, options, path)) is not None:
                for key, known in (("formats", FORMATS), ("types", TYPES)):
                    for value in getattr(made, key):
                        if value not in known:
                            self._wrong((*path, key), f"{value!r} is not one of {', '.join(known)}{near(value, known)}")
                yield made.rules(name, limit)

    def _topics(self, raw: Mapping[str, dict[str, Any]]) -> Iterator[TopicRules]:
        claimed: dict[str, str] = {}
        for label, options in raw.items():
            path = ("topics", label)
            if (made := self._made(TopicOptions, options, path)) is None:
                continue
            slug = made.slug or slugs.slug(label)
            for name in dict.fromkeys((slug, slugs.slug(label), *map(slugs.slug, made.aliases))):
                other = claimed.setdefault(name, label)
                if other != label:
                    self._wrong(path, f"its slug, label or alias {name!r} belongs to the topic {other!r} already")
            yield TopicRules(label=label, **{**made.model_dump(), "slug": slug})

    def hubs(self, raw: Mapping[str, Any]) -> dict[str, Hub]:
        """``[websub]``: its hubs, by the names that they have among the targets."""
        if (made := self._made(WebSubOptions, raw, ("websub",))) is None:
            return {}
        found = {}
        for url in made.hubs:
            try:
                hub = Hub(url=http_url(url), allow=made.allow, allow_http=made.allow_http)
            except ValidationError as error:
                for one in error.errors():
                    self._wrong(("websub", "allow" if one["loc"] == ("allow",) else "hubs"), f"{url!r}: {said(one)}")
            except ValueError as error:
                self._wrong(("websub", "hubs"), f"{url!r} {error}")
            else:
                found[websub.name(hub.url)] = hub
        return found

    def _made(self, model: type[M], options: Mapping[str, Any], path: tuple[str, ...]) -> M | None:
        try:
            return model.model_validate(options)
        except ValidationError as error:
            for one in error.errors():
                where = (*path, *map(str, one["loc"][:1]))  # what comes after says how pydantic tried
                secret = (
                    ""
                    if one["loc"] or path[0] != "targets"
                    else f"; a secret goes into {variable(path)}__… in the environment"
                )
                self._wrong(where, said(one) + secret, model.model_fields)
            return None

    def _wrong(self, path: tuple[str, ...], reason: str, known: Iterable[str] = ()) -> None:
        self._problems.append(self._places.problem(path, reason, known))


def said(error: Any) -> str:
    """The library's message as this project says things; a value only where it can be no secret."""
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "unknown key"
    message = str(error["msg"]).removeprefix("Value error, ")
    value = error["input"] if error["loc"][:1] != ("targets",) else None  # a target that is no table may be a secret
    shown = (
        f"{value!r}: "
        if isinstance(value, str | int | float) and error["loc"][-1:] and not _SECRET.search(str(error["loc"][-1]))
        else ""
    )
    return f"{shown}{message[0].lower()}{message[1:]}"
