"""The settings: config/feeder.toml, then a secrets folder, then FEEDER_* variables, each over the one before.

A nested name joins its parts with two underscores: FEEDER_TARGETS__NEWSROOM__URL, or a file targets__newsroom__url in
the secrets folder. Whatever is wrong is reported at once, each with its place and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic_settings
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from feeder import targets as target_kinds
from feeder.errors import Problem, SettingsError
from feeder.models import Site
from feeder.places import PREFIX, Places, near, variable
from feeder.targets.base import Target
from feeder.urls import http_url

S = TypeVar("S", bound="_Layered")
_PLACES: ContextVar[Places] = ContextVar("places")

_SECRET = re.compile("url|token|secret|key|password")  # names of what an error message does not repeat
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


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
    title: str = Field("Feeder", min_length=1, description="The publisher's name, in every feed's title.")
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        "http://127.0.0.1:8000", description="The address that readers reach the feeds at."
    )
    language: str = Field(
        "en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", description="The language of titles and articles."
    )
    id_authority: Annotated[str, AfterValidator(_authority)] = Field(
        "feeder.example,2026",
        description="A domain of yours and a year you owned it in: part of every entry's id. Never change it.",
    )
    interval: float = Field(
        60, ge=1, le=86_400, description="Seconds between two passes; a new file starts one at once."
    )
    limit: int = Field(50, ge=1, le=1_000, description="Entries in a feed.")
    include_unpublished: bool = Field(False, description="Whether articles with `published: false` are published too.")
    max_article_bytes: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="The size of the largest article's file."
    )
    host: str = Field("127.0.0.1", min_length=1, description="The address that the web server listens on.")
    port: int = Field(8000, ge=0, le=65_535, description="Its port.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, json elsewhere."
    )
    targets: dict[str, dict[str, Any]] = Field({}, description="The places headlines go, by name; see Targets.")

    @property
    def site(self) -> Site:
        """What all feeds have in common."""
        return Site(
            title=self.title,
            base_url=self.base_url,
            language=self.language,
            id_authority=self.id_authority,
            limit=self.limit,
        )


class _Targets(_Layered):
    """The targets alone, for when other settings are wrong too."""

    model_config = SettingsConfigDict(**{**Settings.model_config, "extra": "ignore"})

    targets: dict[str, dict[str, Any]] = {}


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
    config: Path | None  # the file they were read from


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
    try:
        raw = settings.targets if settings else _read(_Targets, places).targets
    except ValidationError:
        raw = {}  # reported above
    targets = _targets(raw, places, problems)
    if problems or settings is None:
        raise SettingsError(dict.fromkeys(problems))
    return Loaded(settings=settings.model_copy(update={"targets": {}}), targets=targets, config=places.config)


def articles_of(config: Path | None = None, secrets: Path | None = None) -> tuple[Path, int]:
    """The folder of articles and the size of the largest, as far as they can be told when other settings are wrong."""
    places = Places.found(config, secrets)
    try:
        found = _read(_Articles, places) if not places.unreadable() else _Articles.model_construct()
    except ValidationError:
        found = _Articles.model_construct()
    return found.source, found.max_article_bytes


def _targets(raw: Mapping[str, dict[str, Any]], places: Places, problems: list[Problem]) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for name, options in raw.items():
        path = ("targets", name)
        if not _NAME.fullmatch(name):
            problems.append(
                places.problem(path, "a target's name is made of lower-case letters, digits and single underscores")
            )
            continue
        kind = options.get("kind")
        if kind is None:
            nearest = near(name, (other for other in raw if other != name))
            problems.append(
                places.problem(path, f"has no kind; write one of {', '.join(target_kinds.kinds())}{nearest}")
            )
            continue
        try:
            target_class = target_kinds.target_class(str(kind))
        except KeyError:
            nearest = near(str(kind), target_kinds.kinds())
            reason = f"{str(kind)!r} is no kind of target; the kinds are {', '.join(target_kinds.kinds())}{nearest}"
            problems.append(places.problem((*path, "kind"), reason))
            continue
        try:
            found[name] = target_class.model_validate(options)
        except ValidationError as error:
            for one in error.errors():
                where = (*path, *map(str, one["loc"][:1]))  # what comes after says how pydantic tried
                hint = "" if one["loc"] else f"; a secret goes into {variable(path)}__… in the environment"
                problems.append(places.problem(where, _said(one) + hint, target_class.model_fields))
    return found


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
        where = f"{PREFIX}TARGETS (environment or secrets folder)"
        reason = "is not JSON; set the options one by one, like FEEDER_TARGETS__NEWSROOM__URL"
        raise SettingsError([Problem(where=where, reason=reason)]) from error
    finally:
        _PLACES.reset(token)
