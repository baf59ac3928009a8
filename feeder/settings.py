"""The settings: config/feeder.toml, then a secrets folder, then FEEDER_* variables, each over the one before.

A nested name joins its parts with two underscores: FEEDER_TARGETS__NEWSROOM__URL, or a file targets__newsroom__url in
the secrets folder. Whatever is wrong is reported at once, each with its place and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic_settings
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from feeder import slugs, text, websub
from feeder import targets as target_kinds
from feeder.errors import Problem, SettingsError
from feeder.models import FORMATS, TYPES, Channel, Site
from feeder.places import PREFIX, Places, near, variable
from feeder.selection import FeedRules, Feeds, TopicRules
from feeder.targets.base import Labels, Target
from feeder.urls import http_url
from feeder.websub import Hub

S = TypeVar("S", bound="_Layered")
M = TypeVar("M", bound=BaseModel)
_PLACES: ContextVar[Places] = ContextVar("places")

_SECRET = re.compile("url|token|secret|key|password")  # names of what an error message does not repeat
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def _base_url(value: str) -> str:
    return http_url(value).rstrip("/")


def _web_address(value: str) -> str:
    return http_url(value) if value else ""


def _slug(value: str) -> str:
    if value and not slugs.is_slug(value):
        raise ValueError("is no slug: lower-case letters, digits and single hyphens, and not a name that feeder uses")
    return value


def _authority(value: str) -> str:
    if not re.fullmatch(r"([A-Za-z0-9._-]+@)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?,\d{4}(-\d\d(-\d\d)?)?", value):
        raise ValueError(
            "is not an authority of RFC 4151: a domain that you own and a year in which you owned it, like example.org,2026"
        )
    return value


def _database_url(value: str) -> str:
    if not re.fullmatch(r"sqlite:///.+", value):
        raise ValueError("is not sqlite:/// and a path (sqlite:///var/feeder.db; four slashes for an absolute path)")
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
LANGUAGE = f"^{text.LANGUAGE}$"


class _Section(BaseModel):
    """A section of the settings that stands under a name of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FeedOptions(_Section):
    """A feed of its own, ``[feeds.NAME]``: which articles stand in it, and what it says of itself."""

    title: str = Field(min_length=1, description="What readers list it as.")
    description: str = Field("", description="A line about it.")
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
    title: str = Field("", description="What readers list it as; its label without.")
    description: str = Field("", description="A line about it.")
    image: WebAddress = Field("", description="Its picture's address.")
    language: str = Field("", pattern=f"{LANGUAGE}|^$", description="Its language; the site's without.")
    aliases: Labels = Field((), description="Other labels of the same topic, and slugs that it once had.")


class WebSubOptions(_Section):
    """Who is told at once that a feed has changed, ``[websub]``."""

    hubs: Labels = Field((), description="The addresses of WebSub hubs.")
    allow: Labels = Field((), description="Networks that they may be reached at and that are not of the internet.")
    allow_http: bool = Field(False, description="Whether they may be told without encryption.")


class _Layered(BaseSettings):
    """Settings from the places that `_read` names: the environment over the secrets folder over the config file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """pydantic-settings asks here."""
        places = _PLACES.get()
        layers = [env_settings]
        if places.secrets is not None:
            layers.append(
                NestedSecretsSettingsSource(
                    file_secret_settings,
                    secrets_dir=places.secrets,
                    secrets_prefix="",
                    secrets_nested_delimiter="__",
                )
            )
        if places.config is not None:
            layers.append(TomlConfigSettingsSource(settings_cls, toml_file=places.config))
        return tuple(layers)


class Settings(_Layered):
    """What an operator can set, apart from the targets' own options, which `Loaded` holds by name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    source: Path = Field(Path("seeds"), description="The folder of articles, read with all folders in it.")
    public: Path = Field(Path("public"), description="The folder that feeds and pages are written to.")
    database_url: Annotated[str, AfterValidator(_database_url)] = Field(
        "sqlite:///var/feeder.db", description="Where feeder remembers what it has published and sent."
    )
    title: str = Field("Feeder", min_length=1, description="The publisher's name, in every feed's title.")
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        "http://127.0.0.1:8000", description="The address that readers reach the feeds at."
    )
    language: str = Field("en", pattern=LANGUAGE, description="The language of titles and articles.")
    description: str = Field(
        "", description="A line about the publisher, in the feed of all articles and on the pages."
    )
    rights: str = Field("", description="Who may do what with the text, in every feed.")
    icon: WebAddress = Field("", description="The address of a small square picture, for readers to show.")
    logo: WebAddress = Field("", description="The address of a larger picture, twice as wide as high.")
    id_authority: Annotated[str, AfterValidator(_authority)] = Field(
        "feeder.example,2026",
        description="A domain of yours and a year you owned it in: part of every entry's id. Never change it.",
    )
    interval: float = Field(
        60, ge=1, le=86_400, description="Seconds between two passes; a new file starts one at once."
    )
    limit: int = Field(50, ge=1, le=1_000, description="Entries in a feed; older ones stand in its archives.")
    max_age: int = Field(
        60, ge=0, le=86_400, description="Seconds that readers and proxies may keep a document without asking."
    )
    provider_feeds: bool = Field(False, description="Whether each provider gets feeds too.")
    show_images: bool = Field(True, description="Whether pages show the articles' pictures, which other hosts serve.")
    include_unpublished: bool = Field(False, description="Whether articles with `published: false` are published too.")
    keep_deleted: bool = Field(False, description="Whether articles stay published when their files are deleted.")
    max_article_bytes: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="The size of the largest article's file."
    )
    host: str = Field("127.0.0.1", min_length=1, description="The address that the web server listens on.")
    port: int = Field(8000, ge=0, le=65_535, description="Its port.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, json elsewhere."
    )
    targets: dict[str, dict[str, Any]] = Field({}, description="The places headlines go, by name; see Targets.")

    feeds: dict[str, dict[str, Any]] = Field({}, description="Feeds of their own, by name; see Feeds.")
    topics: dict[str, dict[str, Any]] = Field({}, description="What topics are called, by label; see Feeds.")
    websub: dict[str, Any] = Field({}, description="Who is told that a feed has changed; see Feeds.")


class _Sections(_Layered):
    """The sections alone, for when other settings are wrong too."""

    model_config = SettingsConfigDict(**{**Settings.model_config, "extra": "ignore"})

    targets: dict[str, dict[str, Any]] = {}
    feeds: dict[str, dict[str, Any]] = {}
    topics: dict[str, dict[str, Any]] = {}
    websub: dict[str, Any] = {}


class _Articles(_Layered):
    """The settings that it takes to read articles."""

    model_config = SettingsConfigDict(**{**Settings.model_config, "extra": "ignore"})

    source: Path = Settings.model_fields["source"].default
    max_article_bytes: int = Settings.model_fields["max_article_bytes"].default


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Settings that are right in themselves."""

    settings: Settings
    targets: Mapping[str, Target]  # by name
    feeds: Feeds
    hubs: Mapping[str, Hub]  # WebSub hubs, by the names that they have among the targets
    config: Path | None  # the file they were read from

    @property
    def secrets(self) -> frozenset[str]:
        """What must never be shown."""
        return frozenset(secret for target in self.targets.values() for secret in target.secrets())

    @property
    def site(self) -> Site:
        """What all feeds have in common."""
        settings = self.settings
        return Site(
            title=settings.title,
            base_url=settings.base_url,
            language=settings.language,
            id_authority=settings.id_authority,
            description=settings.description,
            rights=settings.rights,
            icon=settings.icon,
            logo=settings.logo,
            max_age=settings.max_age,
            hubs=tuple(hub.url for hub in self.hubs.values()),
            images=settings.show_images,
        )


def load(config: Path | None = None, secrets: Path | None = None) -> Loaded:
    """The settings of this process. SettingsError holds all that is wrong with them.

    `config` defaults to FEEDER_CONFIG, then to config/feeder.toml if there is one; `secrets`, the folder, to
    FEEDER_SECRETS_DIR.
    """
    places = Places.found(config, secrets)
    if problems := places.unreadable():
        raise SettingsError(problems)
    problems += places.unknown_variables(Settings.model_fields)
    settings: Settings | None = None
    try:
        settings = _read(Settings, places)
    except ValidationError as error:
        problems += [
            places.problem(tuple(map(str, found["loc"])), _said(found), Settings.model_fields)
            for found in error.errors()
        ]
    sections: Settings | _Sections = settings or _Sections.model_construct()
    if settings is None:
        with suppress(ValidationError):  # reported above
            sections = _read(_Sections, places)
    found = _Options(places, problems)
    targets = found.targets(sections.targets)
    feeds = found.feeds(sections.feeds, sections.topics, settings)
    hubs = found.hubs(sections.websub)
    if problems or settings is None:
        raise SettingsError(dict.fromkeys(problems))
    bare = settings.model_copy(update={"targets": {}, "feeds": {}, "topics": {}, "websub": {}})
    return Loaded(settings=bare, targets=targets, feeds=feeds, hubs=hubs, config=places.config)


def exposed(config: Path | None = None, secrets: Path | None = None) -> list[Problem]:
    """Warnings of files with secrets in them that everyone on this machine can read."""
    places = Places.found(config, secrets)
    return [] if places.unreadable() else places.exposed()


def articles_of(config: Path | None = None, secrets: Path | None = None) -> tuple[Path, int]:
    """The folder of articles and the size of the largest, as far as they can be told when other settings are wrong."""
    places = Places.found(config, secrets)
    try:
        found = _read(_Articles, places) if not places.unreadable() else _Articles.model_construct()
    except ValidationError:
        found = _Articles.model_construct()
    return found.source, found.max_article_bytes


class _Options:
    """The sections that stand under names of their own, validated one by one, with all that is wrong with them."""

    def __init__(self, places: Places, problems: list[Problem]) -> None:
        self._places, self._problems = places, problems

    def targets(self, raw: Mapping[str, dict[str, Any]]) -> dict[str, Target]:
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
        self, feeds: Mapping[str, dict[str, Any]], topics: Mapping[str, dict[str, Any]], settings: Settings | None
    ) -> Feeds:
        limit = settings.limit if settings else Settings.model_fields["limit"].default
        return Feeds(
            limit=limit,
            providers=bool(settings and settings.provider_feeds),
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
        if (made := self._made(WebSubOptions, raw, ("websub",))) is None:
            return {}
        found = {}
        for url in made.hubs:
            try:
                hub = Hub(url=http_url(url), allow=made.allow, allow_http=made.allow_http)
            except ValidationError as error:
                for one in error.errors():
                    self._wrong(("websub", "allow" if one["loc"] == ("allow",) else "hubs"), f"{url!r}: {_said(one)}")
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
                self._wrong(where, _said(one) + secret, model.model_fields)
            return None

    def _wrong(self, path: tuple[str, ...], reason: str, known: Iterable[str] = ()) -> None:
        self._problems.append(self._places.problem(path, reason, known))


def _said(error: Any) -> str:
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


def _read(cls: type[S], places: Places) -> S:
    """An instance of `cls` from the places."""
    token = _PLACES.set(places)
    try:
        return cls()
    except pydantic_settings.SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        where = f"{PREFIX}{field[1].upper() if field else '…'} (environment or secrets folder)"
        reason = "is not JSON; set the options one by one, like FEEDER_TARGETS__NEWSROOM__URL"
        raise SettingsError([Problem(where=where, reason=reason)]) from error
    finally:
        _PLACES.reset(token)
