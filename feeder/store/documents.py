"""Published documents in the store. Every function works within the caller's transaction."""

from __future__ import annotations

import gzip
import hashlib
from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct

from feeder.models import ALL, Document
from feeder.store.keys import plain_rows
from feeder.store.tables import MICROSECONDS, documents
from feeder.store.tables import feeds as feed_rows


class Published(Struct, frozen=True, kw_only=True):
    """A document with what HTTP says of it."""

    path: str
    content_type: str
    gzip: bytes  # the body, compressed
    digest: str  # 32 hex digits of the body: its ETag
    modified: datetime  # whole seconds; later than that of every earlier body at this path

    @property
    def body(self) -> bytes:
        """The document's bytes."""
        return gzip.decompress(self.gzip)


def digest(body: bytes) -> str:
    """What tells one body from another: 32 hex digits."""
    return hashlib.sha256(body).hexdigest()[:32]


def differs(connection: sa.Connection, document: Document) -> bool:
    """Whether other bytes than these, or none, are published at the document's path."""
    row = connection.execute(
        sa.select(documents.c.digest, documents.c.content_type).where(
            documents.c.path == document.path, documents.c.moved_to.is_(None)
        )
    ).one_or_none()
    return row is None or tuple(row) != (digest(document.body), document.content_type)


def next_modified(connection: sa.Connection, path: str, now: datetime) -> datetime:
    """When what is published at `path` now was modified: whole seconds, later than all that stood there before."""
    query = sa.select(documents.c.modified).where(documents.c.path == path)
    earlier: datetime | None = connection.execute(query).scalar()
    moment = now.replace(microsecond=0)
    return moment if earlier is None else max(moment, earlier + timedelta(seconds=1))


def put(connection: sa.Connection, document: Document, packed: bytes, feed: str | None, modified: datetime) -> None:
    """Publish a document of a feed, or of none.

    `packed` is its body, compressed with gzip; `modified` is what `next_modified` said.
    """
    values = {
        "feed": feed,
        "content_type": document.content_type,
        "digest": digest(document.body),
        "modified": modified,
        "gzip": packed,
        "moved_to": None,
    }
    if not connection.execute(sa.update(documents).where(documents.c.path == document.path).values(**values)).rowcount:
        connection.execute(sa.insert(documents).values(path=document.path, **values))


def get(connection: sa.Connection, path: str) -> Published | None:
    """The document at `path`."""
    query = sa.select(
        documents.c.path, documents.c.content_type, documents.c.gzip, documents.c.digest, documents.c.modified
    ).where(documents.c.path == path, documents.c.moved_to.is_(None))
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Published(**row)


def tag(connection: sa.Connection, path: str) -> tuple[str, datetime] | None:
    """The digest and modification time of the document at `path`, without its body."""
    query = sa.select(documents.c.digest, documents.c.modified).where(
        documents.c.path == path, documents.c.moved_to.is_(None)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.digest, row.modified)


def moved_to(connection: sa.Connection, path: str) -> str | None:
    """Where the document at `path` has moved to; empty when it was taken away; None when none ever was there."""
    found: str | None = connection.execute(sa.select(documents.c.moved_to).where(documents.c.path == path)).scalar()
    return found


def paths(connection: sa.Connection, feed: str | None = None) -> list[str]:
    """The paths of all documents, or of one feed's."""
    query = sa.select(documents.c.path).where(documents.c.moved_to.is_(None)).order_by(documents.c.path)
    return list(connection.execute(query if feed is None else query.where(documents.c.feed == feed)).scalars())


def times(connection: sa.Connection) -> dict[str, int]:
    """When each document was modified, in seconds since 1970, by its path."""
    query = sa.select(documents.c.path, documents.c.modified).where(documents.c.moved_to.is_(None))
    return {path: modified // MICROSECONDS for path, modified in plain_rows(connection, query)}


def feeds(connection: sa.Connection) -> set[str]:
    """The names of the feeds that have documents and entries; the feed of all articles has documents in any case."""
    # One look into the index for each feed: a list of all documents would be as long as the archives.
    is_there = sa.exists().where(documents.c.feed == feed_rows.c.name, documents.c.moved_to.is_(None))
    is_shown = sa.or_(feed_rows.c.emptied.is_(None), feed_rows.c.name == ALL)
    return set(connection.execute(sa.select(feed_rows.c.name).where(is_there, is_shown)).scalars())


def remove(connection: sa.Connection, path: str, moved_to: str, now: datetime) -> None:
    """Take the document at `path` away, or say where it has moved to; there need have been none."""
    change = {"moved_to": moved_to, "gzip": b"", "digest": ""}
    done = connection.execute(sa.update(documents).where(documents.c.path == path).values(change))
    if not done.rowcount:
        values = {"path": path, "content_type": "", "modified": now.replace(microsecond=0), **change}
        connection.execute(sa.insert(documents).values(values))
