"""Published documents in the store. Every function works within the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from feeder.models import Document
from feeder.store.tables import documents


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A document with what HTTP says of it."""

    path: str
    content_type: str
    body: bytes
    digest: str  # 32 hex digits of the body: its ETag
    modified: datetime  # whole seconds; later than that of every earlier body at this path


def put(connection: sa.Connection, document: Document, feed: str | None, now: datetime) -> bool:
    """Publish a document; False when it is there with these very bytes already."""
    digest = hashlib.sha256(document.body).hexdigest()[:32]
    query = sa.select(documents.c.digest, documents.c.modified, documents.c.content_type).where(
        documents.c.path == document.path
    )
    row = connection.execute(query).one_or_none()
    if row is not None and row.digest == digest and row.content_type == document.content_type:
        return False
    modified = now.replace(microsecond=0)
    if row is not None:
        modified = max(modified, row.modified + timedelta(seconds=1))
    values = {
        "feed": feed,
        "content_type": document.content_type,
        "digest": digest,
        "modified": modified,
        "body": document.body,
    }
    if row is None:
        connection.execute(sa.insert(documents).values(path=document.path, **values))
    else:
        connection.execute(sa.update(documents).where(documents.c.path == document.path).values(**values))
    return True


def get(connection: sa.Connection, path: str) -> Published | None:
    """The document at `path`."""
    row = connection.execute(_select().where(documents.c.path == path)).mappings().one_or_none()
    return None if row is None else Published(**row)


def tag(connection: sa.Connection, path: str) -> tuple[str, datetime] | None:
    """The digest and modification time of the document at `path`, without its body."""
    row = connection.execute(
        sa.select(documents.c.digest, documents.c.modified).where(documents.c.path == path)
    ).one_or_none()
    return None if row is None else (row.digest, row.modified)


def paths(connection: sa.Connection, feed: str | None = None) -> list[str]:
    """The paths of all documents, or of one feed's."""
    query = sa.select(documents.c.path).order_by(documents.c.path)
    return list(connection.execute(query if feed is None else query.where(documents.c.feed == feed)).scalars())


def feeds(connection: sa.Connection) -> set[str]:
    """The names of the feeds that have documents."""
    return set(
        connection.execute(sa.select(documents.c.feed).where(documents.c.feed.is_not(None)).distinct()).scalars()
    )


def remove(connection: sa.Connection, gone: Collection[str]) -> None:
    """Take documents away."""
    connection.execute(sa.delete(documents).where(documents.c.path.in_(gone)))


def _select() -> sa.Select[tuple[str, str, bytes, str, datetime]]:
    return sa.select(
        documents.c.path, documents.c.content_type, documents.c.body, documents.c.digest, documents.c.modified
    )
