"""The settings: config/feeder.toml, then a secrets folder, then FEEDER_* variables, each over the one before.

A nested name joins its parts with two underscores: FEEDER_TARGETS__NEWSROOM__URL, or a file targets__newsroom__url in
the secrets folder. Whatever is wrong is reported at once, each with its place and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic_settings
from msgspec import Struct
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from feeder.errors import Problem, SettingsError
from feeder.models import Site
from feeder.places import PREFIX, Places
from feeder.sections import LANGUAGE, PlainText, Sections, WebAddress, said
from feeder.selection import Feeds
from feeder.targets.base import Target
from feeder.urls import http_url
from feeder.websub import Hub

S = TypeVar("S", bound="_Layered")
_PLACES: ContextVar[Places] = ContextVar("places")


def _base_url(value: str) -> str:
    return http_url(value).rstrip("/")


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
    title: PlainText = Field("Feeder", min_length=1, description="The publisher's name, in every feed's title.")
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        "http://127.0.0.1:8000", description="The address that readers reach the feeds at."
    )
    language: str = Field("en", pattern=LANGUAGE, description="The language of titles and articles.")
    description: PlainText = Field(
        "", description="A line about the publisher, in the feed of all articles and on the pages."
    )
    rights: PlainText = Field("", description="Who may do what with the text, in every feed.")
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
    max_gone: int = Field(
        0,
        ge=0,
        description="Articles that may lose their files at once; more are held. 0: 10, or a fifth where that is more.",
    )
    max_article_bytes: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="The size of the largest article's file."
    )
    yaml_parser: Literal["auto", "pyyaml"] = Field(
        "auto", description="auto: yaml-rs reads front matter that is plain, PyYAML the rest; pyyaml: PyYAML reads all."
    )
    host: str = Field("127.0.0.1", min_length=1, description="The address that the web server listens on.")
    port: int = Field(8000, ge=0, le=65_535, description="Its port.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, json elsewhere."
    )

    @property
    def fast_yaml(self) -> bool:
        """Whether yaml-rs reads front matter that is plain."""
        return self.yaml_parser == "auto"

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
    yaml_parser: str = Settings.model_fields["yaml_parser"].default


class Loaded(Struct, frozen=True, kw_only=True):
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
            places.problem(tuple(map(str, found["loc"])), said(found), Settings.model_fields)
            for found in error.errors()
        ]
    sections: Settings | _Sections = settings or _Sections.model_construct()
    if settings is None:
        with suppress(ValidationError):  # reported above
            sections = _read(_Sections, places)
    limit, providers = (
        (settings.limit, settings.provider_feeds) if settings else (Settings.model_fields["limit"].default, False)
    )
    found = Sections(places, problems)
    targets = found.targets(sections.targets)
    feeds = found.feeds(sections.feeds, sections.topics, limit=limit, providers=providers)
    hubs = found.hubs(sections.websub)
    if problems or settings is None:
        raise SettingsError(dict.fromkeys(problems))
    bare = settings.model_copy(update={"targets": {}, "feeds": {}, "topics": {}, "websub": {}})
    return Loaded(settings=bare, targets=targets, feeds=feeds, hubs=hubs, config=places.config)


def exposed(config: Path | None = None, secrets: Path | None = None) -> list[Problem]:
    """Warnings of files with secrets in them that everyone on this machine can read."""
    places = Places.found(config, secrets)
    return [] if places.unreadable() else places.exposed()


def articles_of(config: Path | None = None, secrets: Path | None = None) -> tuple[Path, int, bool]:
    """The folder of articles, the size of the largest, and whether yaml-rs may read them.

    As far as they can be told when other settings are wrong.
    """
    places = Places.found(config, secrets)
    try:
        found = _read(_Articles, places) if not places.unreadable() else _Articles.model_construct()
    except ValidationError:
        found = _Articles.model_construct()
    return found.source, found.max_article_bytes, found.yaml_parser == "auto"


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
