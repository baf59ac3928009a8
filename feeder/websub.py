"""Telling WebSub hubs which documents have changed, so that subscribers need not ask.

https://www.w3.org/TR/websub/ leaves the publisher's request to its hubs; all of them take `hub.mode=publish` with the
address as `hub.url`, some call that `hub.topic`. Saying it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from msgspec.structs import replace

from feeder.models import Delivery, Ping, Site
from feeder.outbox import delivery_id
from feeder.targets.base import Endpoint, Steps, outcome_of, request

GATHER = timedelta(seconds=1)  # a document that changes again within this is told once
MARK = "@"  # in the subjects of deliveries to hubs, and in no other


class Hub(Endpoint):
    """A WebSub hub."""

    replay: ClassVar[timedelta | None] = timedelta(days=365)  # however often it hears the same

    kind: Literal["websub"] = "websub"
    url: str  # its name shows it, so that it may hold no secret

    def deliver(self, told: Ping, key: str) -> Steps:
        """One notification."""
        form = {"hub.mode": "publish", "hub.url": told.url, "hub.topic": told.url}
        response = yield request("POST", self.url, data=form)
        outcome = outcome_of(response)
        # It holds no credentials of ours, so that "gone" is no more than a refusal.
        return replace(outcome, kind="rejected") if outcome.kind == "gone" else outcome


def names(site: Site) -> list[str]:
    """What the site's hubs are called among the targets."""
    return [name(url) for url in site.hubs]


def name(hub: str) -> str:
    """What a hub is called: "hub:hub.example/publish"."""
    parts = urlsplit(hub)
    return f"hub:{parts.netloc}{parts.path.rstrip('/')}" + (f"?{parts.query}" if parts.query else "")


def subject(path: str, digest: str) -> str:
    """What a delivery about one version of the document at `path` is about."""
    return f"{path}{MARK}{digest}"


def is_about_document(subject: str) -> bool:
    """Whether a delivery with this subject tells a hub of a document, and not a target of an article."""
    return MARK in subject


def path_of(subject: str) -> str:
    """The path of the document that `subject` is about."""
    return subject.rpartition(MARK)[0]


def ping(subject: str, site: Site) -> Ping:
    """What a hub is told."""
    path = path_of(subject)
    return Ping(title=path, url=f"{site.base_url}/{path}")


def plan(
    changed: Mapping[str, str],
    hubs: Iterable[str],
    waiting: Mapping[tuple[str, str], datetime],
    now: datetime,
    gather: timedelta = GATHER,
) -> list[Delivery]:
    """The deliveries that tell every hub of the documents that `changed` (digests by path).

    `waiting` says when a hub would have been told of an earlier version (by path and hub): it is told of this one then,
    so that a document that changes all the time is told of all the same.
    """
    return [
        Delivery(
            id=delivery_id(subject(path, digest), hub),
            subject=subject(path, digest),
            target=hub,
            published=now,
            next_at=min(waiting.get((path, hub), now + gather), now + gather),
        )
        for path, digest in changed.items()
        for hub in hubs
    ]
